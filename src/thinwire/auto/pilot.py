"""What "auto" does beside the training: look at some steps, decide, watch, and decide anew.

Everything is counted in backward passes that DDP reduces, of which all workers have equally many, and whatever is
decided is decided by figures that all have been told: so all turn in the same step, by the same words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from torch import Tensor
from torch.futures import Future

from thinwire.advisor.facts import Workload
from thinwire.advisor.units import seconds_text
from thinwire.auto.candidates import candidates, predict, steps_needed
from thinwire.auto.decision import Decision, Watch, corrected, decide
from thinwire.auto.look import Place, look
from thinwire.auto.samples import Samples
from thinwire.auto.timing import StepTimer, Timed
from thinwire.auto.trials import Ways
from thinwire.auto.windows import Pace, Windows
from thinwire.comm import ProcessGroup
from thinwire.link import Link
from thinwire.probing.together import everyones
from thinwire.training.ddp import Wire
from thinwire.training.reducer import Settings
from thinwire.training.trained import Trained

Look = Callable[[ProcessGroup, Ways, int, Settings], Place]
"""Gives what there is, the same on all workers, for these ways and so many values."""


@dataclass
class _Kept:
    """What is decided, and saved with the wire's memory."""

    looking: bool = True
    passed: int = 0
    expected: float = 0.0
    strikes: int = 0
    chosen: bool = False
    corrections: dict[str, float] = field(default_factory=dict)


class AutoPilot:
    """The pilot of a wire that "auto" attaches.

    1. For some steps gradients go the way they go, at first whole, and the steps are timed. 2. The network and the
    processors are tried, and links on samples of the steps' gradients. 3. A step is predicted for each way, the workers
    agree, and the wire turns. 4. After each window of steps the slowest worker's median is compared with what was
    predicted; where it differs for two windows in a row a note says so, and it begins again with 1.

    Args:
        trained, settings: as for the wire.
        first: steps that are to be sent whole before a decision, if they are more than are measured.
        pace: in steps.
        look: how 2. is done.
        now: the clock of 1. and 4.
    """

    def __init__(
        self,
        trained: Trained,
        settings: Settings,
        *,
        first: int = 0,
        pace: Pace | None = None,
        look: Look = look,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._group, self._settings = trained.group, settings
        self._shapes = {name: tuple(p.shape) for name, p in trained.parameters.dense.items()}
        self._ways = candidates(settings, trained.values, trained.group.size)
        self._pace, self._first, self._look, self._now = pace or Pace(), first, look, now
        self._kept = _Kept()
        self._timer: StepTimer | None = None
        self._samples: Samples | None = None
        self._windows = Windows(self._pace, now)

    def begin(self, wire: Wire) -> None:
        """Time the step, and whenever it is time ask the others and decide. One worker has nothing to decide."""
        if self._group.size == 1:
            return
        if self._kept.looking:
            self._looking(wire)
        else:
            self._watching(wire)
        self._kept.passed += 1
        if self._timer is not None:
            self._timer.begin()
        if self._samples is not None:
            self._samples.begin()

    def ready(self, name: str, gradient: Tensor) -> None:
        """Time it, and keep a piece of it."""
        if self._timer is not None:
            self._timer.ready(name)
        if self._samples is not None:
            self._samples.take(name, gradient)

    def sent(self, bucket: Future[Tensor], *, last: bool) -> Future[Tensor]:
        """Time it."""
        return bucket if self._timer is None else self._timer.follow(bucket)

    def _looking(self, wire: Wire) -> None:
        looked_at = self._pace.skip + self._pace.measured
        last = max(looked_at, 0 if self._kept.chosen else self._first)
        if self._timer is None and self._kept.passed >= last - looked_at:
            self._timer = StepTimer([*self._shapes], self._group.device, self._pace.skip, self._now)
            self._samples = Samples(self._shapes)
        if self._timer is not None and self._kept.passed > last:
            timed, self._timer = self._timer.found(), None
            self._settle(wire, self._decided(wire, timed))
            self._samples = None

    def _watching(self, wire: Wire) -> None:
        took = self._windows.step()
        if took is None:
            return
        measured, kept = max(everyones(self._group, took)), self._kept
        watch = Watch(kept.expected, kept.strikes).after(measured)
        kept.strikes = watch.strikes
        if watch.drifted:
            told = f"{seconds_text(measured)} and not the {seconds_text(kept.expected)} predicted"
            wire.note(f"step {wire.steps}: auto: a step takes {told}: choosing anew")
            self._kept = _Kept(chosen=True, corrections=kept.corrections)
            self._looking(wire)

    def _decided(self, wire: Wire, timed: Timed | None) -> tuple[Decision, float] | None:
        """And what a step takes now: the same on all workers.

        None if nothing could be timed, as with a model none of whose gradients come.
        """
        everyone = everyones(self._group, None if timed is None else asdict(timed))
        if None in everyone:
            return None
        slowest = Timed(
            max(one["seconds"] for one in everyone),
            max(one["exposed"] for one in everyone),
            tuple(map(max, zip(*(one["ready"] for one in everyone), strict=True))),
        )
        compute = max(*slowest.ready, max(one["seconds"] - one["exposed"] for one in everyone))
        values = sum(map(prod, self._shapes.values()))
        place = self._look(self._group, self._ways, values, self._settings)
        work = self._workload(slowest.ready, compute, place)
        predicted = predict(self._ways, self._settings, self._group.size, place, work)
        if wire.way in predicted:
            self._kept.corrections[wire.way] = slowest.seconds / predicted[wire.way]
        expected = corrected(predicted, self._kept.corrections)
        needed = steps_needed(self._ways, self._group.size, values) | self._tried()
        mine = decide(expected, needed, wire.way, slowest.seconds, first=not self._kept.chosen)
        why = f"{mine.why}; compute alone {seconds_text(compute)}, {place.words}"
        return Decision(**everyones(self._group, asdict(Decision(mine.name, mine.seconds, why)))[0]), slowest.seconds

    def _tried(self) -> dict[str, float]:
        """Steps to the same loss, by links that were tried on the gradients of the timed steps."""
        assert self._samples is not None
        links = {name: way for name, way in self._ways.items() if isinstance(way, Link)}
        found = self._samples.extra(self._group, links, self._settings.momentum, self._pace.skip)
        return {name: extra.expected for name, extra in found.items()}

    def _workload(self, ready: tuple[float, ...], compute: float, place: Place) -> Workload:
        """Processors' seconds, where they compute: by the clock it takes longer if workers share them."""
        share = min(1.0, place.machine.cores) if place.on_host else 1.0
        shapes = tuple(self._shapes.values())
        return Workload(shapes, tuple(share * moment for moment in ready), share * compute, place.on_host)

    def _settle(self, wire: Wire, decided: tuple[Decision, float] | None) -> None:
        """Turn, unless the way that gradients go, which was loaded or asked for, does not let go, or the other is
        not to be had (`strict`): all workers are told the same, and go on as they are."""
        if decided is None:
            self._kept.passed = 0
            return
        decision, now = decided
        expected = decision.seconds
        try:
            wire.turn(self._ways.get(decision.name, decision.name), f"auto: {decision.why}")
        except ValueError as error:
            wire.note(f"step {wire.steps}: auto: {wire.way} stays: {error}")
            expected = now
        self._kept = _Kept(False, 0, expected, 0, True, self._kept.corrections)
        self._windows.restart()

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, as numbers."""
        return asdict(self._kept)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; a window, or the timing of steps, that was begun begins anew."""
        self._kept = _Kept(**state) if state else _Kept()
        self._kept.passed = 0
        self._timer, self._samples = None, None
        self._windows.restart()
