"""When things happen in a training step, on the device that does them."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch

Mark = float | torch.cuda.Event
"""A moment: seconds of this process' clock, or on a GPU where its stream was by then."""


def mark(device: torch.device) -> Mark:
    """This moment. On a GPU nothing waits for it."""
    if device.type != "cuda":
        return perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def between(earlier: Mark, later: Mark) -> float:
    """Seconds from one to the other, below 0 if they are in the other order; waits for a GPU.

    >>> between(1.0, 3.5)
    2.5
    """
    if isinstance(earlier, torch.cuda.Event) and isinstance(later, torch.cuda.Event):
        earlier.synchronize()
        later.synchronize()
        return float(earlier.elapsed_time(later)) / 1e3
    assert isinstance(earlier, float)  # all marks are of one device
    assert isinstance(later, float)
    return later - earlier


@dataclass
class Lap:
    """One step of training: its begin, when gradients were there, and what came back from the others, and when."""

    begin: Mark
    ready: dict[str, Mark] = field(default_factory=dict)
    back: list[Mark] = field(default_factory=list)
    end: Mark | None = None

    def seconds_until_ready(self, names: list[str]) -> list[float]:
        """Of each parameter; one that had no gradient in this step counts as the last."""
        moments = {name: between(self.begin, at) for name, at in self.ready.items()}
        last = max(moments.values())
        return [moments.get(name, last) for name in names]

    @property
    def compute(self) -> float:
        """Seconds of the whole step, without those in which it had all gradients and waited for others."""
        assert self.end is not None  # the step is over
        last = max(between(self.begin, at) for at in self.ready.values())
        back = max((between(self.begin, at) for at in self.back), default=0.0)
        return between(self.begin, self.end) - max(0.0, back - last)
