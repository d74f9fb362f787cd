"""Rounds, certificates between them, and the reason to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field

import numpy as np

from thinwire.convex.certificate import Certificate, Examiner
from thinwire.convex.checkpoint import Checkpoint
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.shards import Array
from thinwire.convex.solution import Moment, Status
from thinwire.convex.wire import NotFinite

Callback = Callable[[Moment, Array], bool | None]
SHARE = 40
"""Certificates are made each 1/SHARE of the rounds so far."""
GROWN, RISEN = 1e8, 10.0
"""A gradient mapping so many times the first, at a value so many times the first, means divergence. Near the optimum
the mapping alone may grow much before the link has learnt the gradients."""
STALLED = 0.9
"""The last half of a run has stalled if it brought less than the missing tenth."""


@dataclass
class Loop:
    """One run, from its first certificate to its last.

    Args:
        run, rule, method: what is run.
        examine: makes certificates.
        tol, check_every, optimum, callback, checkpoint: as `solve` takes them.
    """

    run: Run
    rule: Rule
    method: Method
    examine: Examiner
    tol: float
    check_every: int | None
    optimum: float | None
    callback: Callback | None
    checkpoint: Checkpoint | None
    history: list[Moment] = field(default_factory=list)
    seconds: float = 0.0
    certificate: Certificate = field(init=False)

    def __call__(self, max_rounds: int) -> Status:
        """Run to the end, and say why it is the end."""
        k, began = self._resumed(), time.perf_counter() - self.seconds
        if not self.history:
            self._check(k, began)
            if self._stops():
                return Status.STOPPED
        while not (status := self._verdict()):
            if k >= max_rounds:
                return self._advice()
            due = k + (self.check_every or max(1, k // SHARE))
            with np.errstate(over="ignore", invalid="ignore"):  # what diverges is told by its status
                while k < min(due, max_rounds):
                    try:
                        self.method.round(k)
                    except NotFinite:
                        return Status.DIVERGED
                    if self.rule.answers:
                        self.run.traffic.down += self.run.x.nbytes
                    k += 1
                self._check(k, began)
            if self.checkpoint:
                self.checkpoint.save(k, {**self._record(), "method": self.method.state_dict()})
            if self._stops():
                return Status.STOPPED
        return status

    def _stops(self) -> bool:
        """What rank 0's callback answers: if one stops, all do."""
        if self.callback is None:
            return False
        answer = self.callback(self.history[-1], self.method.x.copy())
        return bool(self.examine.exact.first([float(bool(answer))])[0])

    def _check(self, k: int, began: float) -> None:
        self.certificate = self._examined()
        self.seconds = time.perf_counter() - began
        self.history.append(Moment.of(k, self.seconds, self.run.traffic, self.certificate))

    def _examined(self) -> Certificate:
        """Rank 0's: unlike machines round unlike, and all must come to the same verdict."""
        found = self.examine(self.method.x)
        told = [math.nan if number is None else number for number in astuple(found)]
        value, mapping, gap, distance = map(float, self.examine.exact.first(told))
        return Certificate(value, mapping, None if math.isnan(gap) else gap, None if math.isnan(distance) else distance)

    def _verdict(self) -> Status | None:
        first, last = self.history[0], self.history[-1]
        grown = last.mapping > GROWN * first.mapping and last.value > RISEN * (1 + abs(first.value))
        if not math.isfinite(last.value) or grown:
            return Status.DIVERGED
        return Status.CONVERGED if self._left(last) <= self.tol else None

    def _left(self, moment: Moment) -> float:
        """What is compared with `tol`: 1 at the beginning, or more."""
        first = self.history[0]
        if self.optimum is not None:
            whole, gap = first.value - self.optimum, moment.value - self.optimum
        elif moment.gap is not None:
            gap = moment.gap
            whole = first.value - moment.value + gap  # no less than gap if P fell
            if whole <= 0:
                return math.inf
        else:
            whole, gap = first.mapping, moment.mapping
        return gap / whole if whole > 0 else 0.0 if gap <= 0 else math.inf

    def _advice(self) -> Status:
        """Why the rounds were not enough: by theory, and by whether the last half of them brought anything."""
        half = self.history[-1].round / 2
        early, late = (
            min((self._left(moment) for moment in self.history if (moment.round > half) == side), default=math.inf)
            for side in (False, True)
        )
        if self.run.plan.floor:
            return Status.FLOOR
        if late < STALLED * early or (self.run.plan.rounds(min(self.tol, 0.5)) or 0) > self.history[-1].round:
            return Status.SPENT
        return Status.ROUNDING if self.run.x.dtype == np.float32 else Status.STALLED

    def _record(self) -> dict[str, object]:
        return {"history": list(self.history), "traffic": self.run.traffic.copy(), "seconds": self.seconds}

    def _resumed(self) -> int:
        found = self.checkpoint.load() if self.checkpoint else None
        if found is None:
            return 0
        k, state = found
        self.method.load_state_dict(state["method"])
        self.history, self.seconds = list(state["history"]), state["seconds"]
        self.run.traffic.__dict__.update(state["traffic"].__dict__)
        self.certificate = self._examined()
        return k
