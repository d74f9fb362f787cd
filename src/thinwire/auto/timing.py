"""What a training step takes, looked at from a wire: when gradients are there, and when they are back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor
from torch.futures import Future

Moment = float | torch.cuda.Event


@dataclass(frozen=True)
class Timed:
    """One step, or the median of several, in seconds from the end of the one before it.

    Args:
        seconds: until the last gradient was back.
        exposed: of these, those after the last gradient was there.
        ready: until each gradient was there.
    """

    seconds: float
    exposed: float
    ready: tuple[float, ...]

    @property
    def compute(self) -> float:
        """Seconds of the same step without communication."""
        return self.seconds - self.exposed


@dataclass
class _Step:
    ready: dict[str, Moment] = field(default_factory=dict)
    back: list[Moment] = field(default_factory=list)


class StepTimer:
    """Times step after step: `begin`, `ready` for each gradient, `follow` for each bucket.

    Args:
        names: of the parameters.
        device: where their gradients are; on a GPU moments are events in its streams.
        skip: steps that do not count: in the first ones DDP makes its buckets, and memory is new.
        now: the processor's clock.
    """

    def __init__(
        self, names: Sequence[str], device: torch.device, skip: int, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._names, self._device, self._skip, self._now = names, device, skip, now
        self._steps: list[_Step] = []

    def begin(self) -> None:
        """A step's first gradient is there."""
        self._steps.append(_Step())

    def ready(self, name: str) -> None:
        """A gradient is there; what is said again of it does not count."""
        if self._steps:
            self._steps[-1].ready.setdefault(name, self._moment())

    def follow(self, bucket: Future[Tensor]) -> Future[Tensor]:
        """Note when it is done; what is given back takes its place."""
        if not self._steps:
            return bucket
        back = self._steps[-1].back

        def done(averaged: Future[Tensor]) -> Tensor:
            value = averaged.value()
            back.append(self._moment())
            return value

        return bucket.then(done)

    def found(self) -> Timed | None:
        """The median of the steps that count; None if none does."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        timed = [one for pair in pairwise(self._steps[self._skip :]) if (one := self._timed(*pair)) is not None]
        if not timed:
            return None
        ready = zip(*(one.ready for one in timed), strict=True)
        return Timed(
            median(one.seconds for one in timed), median(one.exposed for one in timed), tuple(map(median, ready))
        )

    def _timed(self, before: _Step, step: _Step) -> Timed | None:
        if not before.back or not step.back or not step.ready:
            return None
        start = max(before.back, key=lambda moment: _between(before.back[0], moment))
        back = max(_between(start, moment) for moment in step.back)
        there = {name: max(0.0, _between(start, moment)) for name, moment in step.ready.items()}
        last = max(there.values())
        return Timed(back, max(0.0, back - last), tuple(there.get(name, last) for name in self._names))

    def _moment(self) -> Moment:
        if self._device.type != "cuda":
            return self._now()
        mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        mark.record()
        return mark


def _between(one: Moment, other: Moment) -> float:
    if isinstance(one, float) and isinstance(other, float):
        return other - one
    assert isinstance(one, torch.cuda.Event)
    assert isinstance(other, torch.cuda.Event)
    return float(one.elapsed_time(other)) / 1000
