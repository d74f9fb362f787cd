"""What a comparison measured, and the table that follows from it.

A `Record` is one run of one row with one seed, as measured; a `Summary` is one row over all its seeds. All times that
are shown go through `Transport.seconds`, the one place where a modelled time is made.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Point:
    """One validation: after `step` steps, `seconds` of training as measured, `sent` bytes a worker, held-out loss."""

    step: int
    seconds: float
    sent: float
    loss: float


@dataclass(frozen=True)
class Record:
    """One run: its curve, its measured seconds a step, and where step times begin to count (`untimed` steps)."""

    name: str
    label: str
    seed: int
    ours: bool = False
    points: tuple[Point, ...] = ()
    step_seconds: tuple[float, ...] = ()
    untimed: int = 0
    failure: str | None = None
    log: tuple[str, ...] = ()
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def step_bytes(self) -> float:
        """Bytes that one worker sent a step, the untimed steps left out."""
        first = next(point for point in self.points if point.step == self.untimed)
        last = self.points[-1]
        return (last.sent - first.sent) / (last.step - first.step)

    @property
    def median_seconds(self) -> float:
        """The median measured step, the untimed steps left out."""
        return statistics.median(self.step_seconds[self.untimed :])


@dataclass(frozen=True)
class Transport:
    """How the bytes travelled: over shaped links, where times are measured, or over loopback, where they are modelled.

    `rate` is bits a second of each link, None where it is not limited; `why` says why there is no lab.

    >>> Transport(hosts=4, rate=100_000_000, modelled=True).seconds(0.05, 12_500_000)
    1.05
    """

    hosts: int
    rate: int | None
    modelled: bool = False
    why: str = ""

    def seconds(self, measured: float, sent: float) -> float:
        """What to show for `measured` seconds in which a worker sent `sent` bytes."""
        if not self.modelled or self.rate is None:
            return measured
        return measured + 8 * sent / self.rate

    @property
    def unit(self) -> str:
        """What a column of times is called: the word "modelled" is there if and only if they are.

        >>> Transport(4, 100_000_000).unit, Transport(4, 100_000_000, modelled=True).unit
        ('s', 's, modelled')
        """
        return "s, modelled" if self.modelled else "s"


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and the standard deviation around it (0 for one seed).

    >>> f"{Spread.over([1.0, 2.0, 3.0]):.1f}", f"{Spread.over([1.0]):.2f}"
    ('2.0 ± 1.0', '1.00')
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """The spread of one value a seed; at least one."""
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(statistics.fmean(values), deviation, len(values))

    def __format__(self, spec: str) -> str:
        text = format(self.mean, spec)
        return f"{text} ± {format(self.deviation, spec)}" if self.count > 1 else text


@dataclass(frozen=True)
class Summary:
    """One row of the final table; the factors are against the baseline, seed by seed, None where it has no run."""

    name: str
    label: str
    ours: bool
    loss: Spread
    seconds: Spread
    sent: Spread
    speed_up: Spread | None
    fewer_bytes: Spread | None


@dataclass(frozen=True)
class Results:
    """All that a demo found: the records, how they travelled, and what is needed to do it again."""

    transport: Transport
    baseline: str
    records: tuple[Record, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Results:
        """What `as_dict` gave, perhaps by way of JSON."""
        records = (
            Record(
                **{
                    **run,
                    "points": tuple(Point(**point) for point in run["points"]),
                    "step_seconds": tuple(run["step_seconds"]),
                    "log": tuple(run["log"]),
                }
            )
            for run in told["runs"]
        )
        about = {name: told[name] for name in told.keys() - {"schema", "transport", "baseline", "summary", "runs"}}
        return cls(Transport(**told["transport"]), told["baseline"], tuple(records), about)

    @property
    def failures(self) -> tuple[Record, ...]:
        """The runs that did not end."""
        return tuple(record for record in self.records if record.failure is not None)

    def of(self, name: str) -> tuple[Record, ...]:
        """The runs of a row that ended well, by seed."""
        found = [record for record in self.records if record.name == name and record.failure is None]
        return tuple(sorted(found, key=lambda record: record.seed))

    def summaries(self, names: Iterable[str] | None = None) -> list[Summary]:
        """The rows that have at least one good run, in the order of `names`, or as they first occur."""
        listed = names if names is not None else [record.name for record in self.records]
        return [self._summary(name) for name in dict.fromkeys(listed) if self.of(name)]

    def step_seconds(self, record: Record) -> float:
        """A run's median seconds a step, as shown."""
        return self.transport.seconds(record.median_seconds, record.step_bytes)

    def _summary(self, name: str) -> Summary:
        records = self.of(name)
        return Summary(
            name=name,
            label=records[0].label,
            ours=records[0].ours,
            loss=Spread.over([record.points[-1].loss for record in records]),
            seconds=Spread.over([self.step_seconds(record) for record in records]),
            sent=Spread.over([record.step_bytes for record in records]),
            speed_up=self._factor(records, self.step_seconds),
            fewer_bytes=self._factor(records, lambda record: record.step_bytes),
        )

    def _factor(self, records: Sequence[Record], quantity: Callable[[Record], float]) -> Spread | None:
        """The baseline's quantity over this row's, for the seeds that both have."""
        base = {record.seed: quantity(record) for record in self.of(self.baseline)}
        ratios = [base[r.seed] / quantity(r) for r in records if r.seed in base and quantity(r) > 0]
        return Spread.over(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "schema": 1,
            **self.about,
            "transport": asdict(self.transport),
            "baseline": self.baseline,
            "summary": [asdict(summary) for summary in self.summaries()],
            "runs": [asdict(record) for record in self.records],
        }


def reached(points: Sequence[Point], loss: float) -> Point | None:
    """Where a curve first comes down to `loss`, between two validations by straight interpolation; None if never.

    >>> reached([Point(0, 0.0, 0.0, 4.0), Point(10, 1.0, 8.0, 2.0)], 3.0)
    Point(step=5, seconds=0.5, sent=4.0, loss=3.0)
    """
    if points and points[0].loss <= loss:
        return points[0]
    for before, after in pairwise(points):
        if after.loss <= loss:
            part = (before.loss - loss) / (before.loss - after.loss)
            return Point(
                step=math.ceil(before.step + part * (after.step - before.step)),
                seconds=before.seconds + part * (after.seconds - before.seconds),
                sent=before.sent + part * (after.sent - before.sent),
                loss=loss,
            )
    return None
