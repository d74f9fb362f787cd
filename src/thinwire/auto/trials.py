"""Each way tried by itself, on a vector: what no model of a network knows is in there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from torch import Tensor

from thinwire.comm import ProcessGroup
from thinwire.exchange import Exchange
from thinwire.link import Link
from thinwire.probing.together import slowest
from thinwire.rounds import finish_all
from thinwire.training.frames import FRAMES, SMALLEST_FRAME

FIRST_SAMPLE, LARGEST_SAMPLE = 1 << 18, 1 << 23
"""Elements of a first look at the wire, and the most that a trial sends."""
TRIAL = 0.25
"""Seconds that a trial's dense all-reduce is to take, if the model has so many elements."""
REPETITIONS = 3

Ways = Mapping[str, torch.dtype | Link]


def pieces(sample: int) -> int:
    """Frames that so many values are cut into.

    >>> pieces(1 << 16), pieces(1 << 19), pieces(1 << 23)
    (1, 2, 4)
    """
    return max(1, min(FRAMES, sample // SMALLEST_FRAME))


def try_ways(
    group: ProcessGroup, ways: Ways, values: int, *, down: Link | None = None, route: str | None = None
) -> tuple[int, dict[str, float]]:
    """How many values were sent, and the slowest worker's median seconds by each way.

    Rounds of all trials in turn, on all workers at once. All workers call this together.
    """
    dense = torch.zeros(min(values, FIRST_SAMPLE), device=group.device)
    with group.naming("a trial of auto"):
        mine = [min(_seconds(group, lambda: group.pg.allreduce([dense]).wait()) for _ in range(2))]
        first = slowest(group, mine)[0]
        sample = min(values, max(dense.numel(), min(LARGEST_SAMPLE, round(dense.numel() * TRIAL / first))))
        vector = torch.randn(1, sample, generator=torch.Generator().manual_seed(0)).to(group.device)
        trials = {name: _trial(group, way, vector, down, route) for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in trials}
        for repetition in range(REPETITIONS + 1):
            for name, trial in trials.items():
                seconds = _seconds(group, trial)
                if repetition:  # the first one warms up
                    times[name].append(seconds)
        found = slowest(group, [median(taken) for taken in times.values()])
    return sample, dict(zip(times, found, strict=True))


def _trial(
    group: ProcessGroup, way: torch.dtype | Link, vector: Tensor, down: Link | None, route: str | None
) -> Callable[[], object]:
    """An all-reduce of the vector; or of a link, its rounds on the vector in pieces, which overlap as in training."""
    if isinstance(way, torch.dtype):
        return lambda: group.pg.allreduce([vector.to(way, copy=True)]).wait()
    parts = vector.tensor_split(pieces(vector.shape[1]), dim=1)
    made = [Exchange(way, part.shape[1], group, down=down, route=route, tensor=i) for i, part in enumerate(parts)]
    outs = [torch.zeros(1, exchange.width, device=group.device) for exchange in made]

    def trial() -> object:
        return finish_all([x.round(part, 1, out=out) for x, part, out in zip(made, parts, outs, strict=True)])

    return trial


def _seconds(group: ProcessGroup, trial: Callable[[], object]) -> float:
    start = time.perf_counter()
    trial()
    if group.device.type == "cuda":
        torch.cuda.synchronize(group.device)
    return time.perf_counter() - start
