"""What "auto" decides: the wire as it is, measured, says whether compression pays here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.distributed as dist
from torch import Tensor

from thinwire.comm.base import Group
from thinwire.compressors import Dither, Rotated
from thinwire.exchange import Exchange
from thinwire.link import Link
from thinwire.presets import dcgd
from thinwire.rounds import finish_all

FIRST_SAMPLE, LARGEST_SAMPLE = 1 << 18, 1 << 23
"""Elements of a first look at the wire, and the most that a trial sends."""
TRIAL = 0.25
"""Seconds that a trial's dense all-reduce is to take, if the model has so many elements."""
REPETITIONS = 3
FRAMES = 4
"""Vectors that a link's trial is cut into, so that they overlap as in training."""
MARGIN = 1.05
"""What is simpler is taken if it is no slower than the fastest by this factor."""


@dataclass(frozen=True)
class Choice:
    """What was chosen: a dtype for DDP's own all-reduce, or a link; and the seconds of each trial.

    >>> Choice(torch.float32, {"float32": 0.25, "dcgd(Rotated(bits=3))": 0.5}, 1000).reason
    'auto, by trials of 1000 values: float32 0.2500 s, dcgd(Rotated(bits=3)) 0.5000 s'
    """

    what: torch.dtype | Link
    seconds: dict[str, float]
    sample: int

    @property
    def reason(self) -> str:
        """The trials in words."""
        trials = ", ".join(f"{name} {seconds:.4f} s" for name, seconds in self.seconds.items())
        return f"auto, by trials of {self.sample} values: {trials}"


def choose(group: Group, pg: dist.ProcessGroup, d: int) -> Choice:
    """Try what may be best, from the simplest on: DDP's all-reduce of float32 and bfloat16, then links of 4 and 3 bits.

    Rounds of all trials in turn, on all workers at once; a trial's time is the slowest worker's median, so that all
    decide alike. All workers call this together.
    """
    dense = torch.zeros(min(d, FIRST_SAMPLE), device=group.device)
    first = _slowest(group, [min(_seconds(group, lambda: pg.allreduce([dense]).wait()) for _ in range(2))])[0]
    sample = min(d, max(dense.numel(), min(LARGEST_SAMPLE, round(dense.numel() * TRIAL / first))))
    vector = torch.randn(1, sample, generator=torch.Generator().manual_seed(0)).to(group.device)
    trials: dict[str, tuple[torch.dtype | Link, Callable[[], object]]] = {
        "float32": (torch.float32, lambda: pg.allreduce([vector.clone()]).wait()),
        "bfloat16": (torch.bfloat16, lambda: pg.allreduce([vector.to(torch.bfloat16)]).wait()),
    }
    for link in (dcgd(Dither(bits=4)), dcgd(Rotated(bits=3))):
        trials[repr(link)] = link, _frames(link, group, vector)
    times: dict[str, list[float]] = {name: [] for name in trials}
    for repetition in range(REPETITIONS + 1):
        for name, (_, trial) in trials.items():
            seconds = _seconds(group, trial)
            if repetition:  # the first one warms up
                times[name].append(seconds)
    slowest = _slowest(group, [median(times[name]) for name in trials])
    limit = MARGIN * min(slowest)
    what = next(what for (what, _), seconds in zip(trials.values(), slowest, strict=True) if seconds <= limit)
    return Choice(what, dict(zip(trials, slowest, strict=True)), sample)


def _frames(link: Link, group: Group, vector: Tensor) -> Callable[[], object]:
    """A trial of a link: the vector in pieces, whose rounds overlap."""
    pieces = vector.tensor_split(min(FRAMES, vector.shape[1]), dim=1)
    exchanges = [Exchange(link, piece.shape[1], group, tensor=i) for i, piece in enumerate(pieces)]
    outs = [torch.zeros(1, exchange.width, device=group.device) for exchange in exchanges]

    def trial() -> object:
        parts = zip(exchanges, pieces, outs, strict=True)
        return finish_all([exchange.round(piece, 1, out=out) for exchange, piece, out in parts])

    return trial


def _seconds(group: Group, trial: Callable[[], object]) -> float:
    start = time.perf_counter()
    trial()
    if group.device.type == "cuda":
        torch.cuda.synchronize(group.device)
    return time.perf_counter() - start


def _slowest(group: Group, mine: list[float]) -> list[float]:
    """Each figure's largest over all workers."""
    row = torch.tensor([mine], dtype=torch.float64, device=group.device)
    everyone = group.all_gather(row.view(torch.uint8)).wait().view(torch.float64)
    return [float(figure) for figure in everyone.max(dim=0).values]
