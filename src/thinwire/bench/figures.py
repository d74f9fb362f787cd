"""Medians with their quartiles, and ratios of what was measured side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quartiles:
    """The middle of some measurements, and the range that half of them lie in."""

    low: float
    median: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """The quartiles of at least one value.

        >>> Quartiles.of([1.0, 2.0, 3.0, 4.0, 9.0])
        Quartiles(low=2.0, median=3.0, high=4.0, count=5)
        """
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high, len(values))


def paired(values: Sequence[float], others: Sequence[float]) -> Quartiles:
    """The quartiles of value / other, round by round.

    >>> paired([2.0, 6.0], [1.0, 2.0]).median
    2.5
    """
    return Quartiles.of([value / other for value, other in zip(values, others, strict=True)])
