"""Which runs a cell needs: the grid on one seed, a step beyond it where the best lies at its edge, then more seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """What a run is: all that its record depends on.

    >>> Config("cnn", "dense", 4, 0.05, 0, 1404).key
    'cnn dense n=4 rate=0.05 seed=0 steps=1404'
    """

    task: str
    method: str
    workers: int
    rate: float
    seed: int
    steps: int

    @property
    def key(self) -> str:
        """Its name among the records."""
        where = f"{self.task} {self.method} n={self.workers}"
        return f"{where} rate={self.rate:.3g} seed={self.seed} steps={self.steps}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """A task by a method on so many workers: its grid of learning rates and its seeds.

    With `like`, the learning rate is the best of that cell, whose grid it has.
    Losses nearer to the least than the fraction `tie` count as equal to it, and the lowest of their rates is taken:
    the one farthest from divergence, where one seed says little about the others.
    """

    task: str
    method: str
    workers: int
    steps: int
    grid: Sequence[float]
    seeds: int
    like: Cell | None = None
    tie: float = 0.0

    def config(self, rate: float, seed: int) -> Config:
        """One of its runs."""
        return Config(self.task, self.method, self.workers, rate, seed, self.steps)

    def trial(self, rate: float) -> Config:
        """The run that tells how good a rate is."""
        return self.config(rate, 0) if self.like is None else self.like.config(rate, 0)

    def missing(self, records: Mapping[str, Record]) -> Iterator[Config]:
        """The runs that can be begun now; after they are done, there may be more."""
        first = [self.trial(rate) for rate in self.rates(records)]
        undone = [config for config in first if config.key not in records]
        if undone:
            yield from undone
            return
        best = self.best(records)
        if best is not None:
            runs = (self.config(best, seed) for seed in range(self.seeds))
            yield from (config for config in runs if config.key not in records)

    def rates(self, records: Mapping[str, Record]) -> list[float]:
        """The grid, and the rate beyond the edge where the best of the grid lies there."""
        rates = sorted(self.grid)
        best = self._least(rates, records)
        if best is None or len(rates) < 3:
            return rates
        if best == rates[0] or math.isinf(self._loss(best, records) or 0.0):
            return [rates[0] ** 2 / rates[1], *rates]
        return [*rates, rates[-1] ** 2 / rates[-2]] if best == rates[-1] else rates

    def best(self, records: Mapping[str, Record]) -> float | None:
        """The rate with the least loss on the first seed; None while one is missing, or if all diverged."""
        best = self._least(self.rates(records), records)
        return None if best is None or math.isinf(self._loss(best, records) or 0.0) else best

    def _least(self, rates: Sequence[float], records: Mapping[str, Record]) -> float | None:
        losses = [self._loss(rate, records) for rate in rates]
        known = [loss for loss in losses if loss is not None]
        if len(known) < len(rates):
            return None
        enough = min(known) * (1 + self.tie)
        return next(rate for rate, loss in zip(rates, known, strict=True) if loss <= enough)

    def _loss(self, rate: float, records: Mapping[str, Record]) -> float | None:
        record = records.get(self.trial(rate).key)
        if record is None:
            return None
        return math.inf if record["score"] is None else float(record["score"]["loss"])

    def runs(self, records: Mapping[str, Record]) -> list[Record]:
        """The records at the best rate, one a seed, as far as they are there."""
        best = self.best(records)
        if best is None:
            return []
        keys = [self.config(best, seed).key for seed in range(self.seeds)]
        return [records[key] for key in keys if key in records]


def next_run(cells: Sequence[Cell], records: Mapping[str, Record], running: set[str]) -> Config | None:
    """The first missing run that is not under way; None if there is none now."""
    for cell in cells:
        for config in cell.missing(records):
            if config.key not in running:
                return config
    return None
