"""A step's predicted seconds beside those that it then takes, of a training whose link is given."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from thinwire._check import call, fault
from thinwire.advisor.units import seconds_text
from thinwire.auto.decision import Watch
from thinwire.auto.windows import Pace, Windows
from thinwire.training.ddp import Wire
from thinwire.training.stats import Tally

LOGGER = logging.getLogger("thinwire")


class Expectation:
    """Holds a wire's steps against the seconds that one was predicted to take.

    After each window of 50 steps (`Windows`) their median is compared. Where it is off by 30 % in two windows in a row,
    a note of `stats()` says so, in the log as well, and rank 0 tells the logger "thinwire". What is measured is then
    what is expected, so that nothing is said again until it changes. Workers wait for each other in each step, so each
    takes its own time: nothing is sent for it, and nothing saved. Once the wire is turned another way, nothing more is
    said: it is not what was predicted.

    Args:
        seconds: of a step.
        first: steps of the training that do not count, beside those that never do.
        pace, now: as for `Windows`.

    Raises:
        ValueError: seconds that are no number above 0.
    """

    def __init__(
        self, seconds: float, *, first: int = 0, pace: Pace | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            rule = "the seconds that a step is expected to take are a number above 0"
            raise ValueError(fault(call("attach", expected=seconds), rule, seconds, "Leave it out to expect none."))
        self.seconds = seconds
        self._first, self._way = first, ""
        self._watch, self._windows = Watch(seconds), Windows(pace or Pace(), now)
        self._before = Tally()

    def begin(self, wire: Wire) -> None:
        """A step's first gradient is there."""
        self._way = self._way or wire.way
        if wire.steps < self._first or wire.way != self._way:
            return
        measured = self._windows.step()
        if measured is None:
            return
        self._watch = self._watch.after(measured)
        total = wire.stats().total
        if self._watch.drifted:
            said = f"step {wire.steps}: {self._said(measured, total)}"
            wire.note(said)
            if wire.group.ranks.start == 0:
                LOGGER.warning("%s", said)
            self._watch = Watch(measured)
        self._before = total

    def _said(self, measured: float, total: Tally) -> str:
        steps, before = total.steps - self._before.steps, self._before
        waits = total.exposed - total.exposed_work - (before.exposed - before.exposed_work)
        adds = f", in {seconds_text(waits / steps)} of which it waits for the wire" if steps and waits > 0 else ""
        expected = seconds_text(self._watch.expected)
        way_out = "probe again, and ask thinwire advise"
        return f"a step takes {seconds_text(measured)}{adds}, and not the {expected} expected: {way_out}"
