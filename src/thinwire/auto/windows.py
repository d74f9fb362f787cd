"""What a step takes, in windows of steps: the medians that predictions are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Pace:
    """In steps: how many are measured before a decision, how many before them do not count, how long a window is."""

    measured: int = 4
    skip: int = 2
    window: int = 50


class Windows:
    """Medians of the seconds from one step's first gradient to the next one's, a window after the other.

    Args:
        pace: steps that do not count at first, in which all is touched for the first time, and those of a window.
        now: the clock.

    >>> clock = iter([0.0, 9.0, 10.0, 11.0, 13.0])
    >>> windows = Windows(Pace(skip=2, window=3), lambda: next(clock))
    >>> [windows.step() for _ in range(5)]
    [None, None, None, None, 1.0]
    """

    def __init__(self, pace: Pace, now: Callable[[], float]) -> None:
        self._pace, self._now = pace, now
        self.restart()

    def restart(self) -> None:
        """Begin anew, with the steps that do not count."""
        self._passed = 0
        self._last: float | None = None
        self._took: list[float] = []

    def step(self) -> float | None:
        """A step begins: the median of the window that ends with the one before, if one does."""
        now, before = self._now(), self._last
        self._passed, self._last = self._passed + 1, now
        if before is not None and self._passed > self._pace.skip:
            self._took.append(now - before)
        if len(self._took) < self._pace.window:
            return None
        took, self._took = self._took, []
        return median(took)
