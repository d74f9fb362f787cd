"""A few rounds of one way on the real rows, and what they say of all the rounds that it would need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from thinwire.convex.methods.base import Method
from thinwire.convex.wire import NotFinite
from thinwire.planner.setting import Setting
from thinwire.planner.ways import Way

LOOKS = 20
"""The gap is looked at each 1/LOOKS of the rounds so far."""
AWAY = 10.0
"""A gap so many times the first one: the step is too long."""
LEAST = 8
"""Rounds before anything is said of a rate."""


@dataclass
class Trial:
    """One way, as far as it has been tried.

    Args:
        setting: where.
        way: what.
        optimum: min P, nearly.
        whole: P(x⁰) − min P.

    `gaps` has (round, relative gap), the first being (0, 1); `failed`: it diverged.
    """

    setting: Setting
    way: Way
    optimum: float
    whole: float
    gaps: list[tuple[int, float]] = field(default_factory=lambda: [(0, 1.0)])
    failed: bool = False
    method: Method | None = None

    @property
    def rounds(self) -> int:
        """So far."""
        return self.gaps[-1][0]

    @property
    def gap(self) -> float:
        """The last one seen."""
        return self.gaps[-1][1]

    def advance(self) -> None:
        """On to the next look."""
        if self.method is None:
            self.method = self.setting.start(self.way)
        k = self.rounds
        due = k + max(1, k // LOOKS)
        with np.errstate(over="ignore", invalid="ignore"):  # what diverges is told as such
            try:
                while k < due:
                    self.method.round(k)
                    k += 1
            except NotFinite:
                self.failed = True
                return
        gap = (self.setting.value(self.method.x) - self.optimum) / self.whole
        if not gap < AWAY:
            self.failed = True
            return
        self.gaps.append((k, max(gap, float(np.finfo(float).eps))))

    def rounds_to(self, tol: float) -> float:
        """Rounds to a relative gap of `tol`: seen, or by the rate of the later half of what was seen.

        Never more than theory promises for the rest, where its step was taken. Infinite where nothing can be said.
        """
        if self.failed:
            return math.inf
        for (before, above), (k, gap) in zip(self.gaps, self.gaps[1:], strict=False):
            if gap <= tol:
                part = math.log(above / tol) / math.log(above / gap)
                return max(1.0, before + part * (k - before))
        if self.rounds < LEAST:
            return self._promised(tol)
        half, there = next(pair for pair in self.gaps if pair[0] >= self.rounds / 2)
        fallen = math.log(there / self.gap)
        by_rate = (self.rounds - half) * math.log(self.gap / tol) / fallen if fallen > 0 else math.inf
        return min(self.rounds + by_rate, self._promised(tol))

    def _promised(self, tol: float) -> float:
        plan = self.setting.plan(self.way)
        return self.rounds + (plan.rounds(min(tol / self.gap, 0.5)) or math.inf)
