"""What "auto" decides: the wire as it is, measured, says whether compression pays here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.distributed as dist

from thinwire.comm.base import Group
from thinwire.compressors import Rotated
from thinwire.exchange import Exchange
from thinwire.link import Link
from thinwire.presets import dcgd
from thinwire.rounds import finish

LARGEST_SAMPLE = 1 << 20
"""Elements that a trial sends."""
PATIENCE = 1.0
"""Seconds of trials after which there are no more repetitions, once there were `LEAST`."""
LEAST, MOST = 2, 7
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
    """Try what may be best, from the simplest on: float32 and bfloat16 by DDP's all-reduce, and 3 bits by our link.

    Rounds of all trials in turn, on all workers at once; a trial's time is the slowest worker's median, so that all
    decide alike. All workers call this together.
    """
    link, sample = dcgd(Rotated(bits=3)), min(d, LARGEST_SAMPLE)
    vector = torch.randn(1, sample, generator=torch.Generator().manual_seed(0)).to(group.device)
    exchange = Exchange(link, sample, group)
    trials: dict[str, tuple[torch.dtype | Link, Callable[[], object]]] = {
        "float32": (torch.float32, lambda: pg.allreduce([vector.clone()]).wait()),
        "bfloat16": (torch.bfloat16, lambda: pg.allreduce([vector.to(torch.bfloat16)]).wait()),
        repr(link): (link, lambda: finish(exchange.round(vector, 0))),
    }
    times: dict[str, list[float]] = {name: [] for name in trials}
    begin = time.perf_counter()
    for repetition in range(MOST + 1):
        for name, (_, trial) in trials.items():
            start = time.perf_counter()
            trial()
            if group.device.type == "cuda":
                torch.cuda.synchronize(group.device)
            if repetition:  # the first one connects and warms up
                times[name].append(time.perf_counter() - start)
        spent = _slowest(group, [time.perf_counter() - begin])[0]
        if repetition >= LEAST and spent > PATIENCE:
            break
    slowest = _slowest(group, [median(times[name]) for name in trials])
    seconds = dict(zip(trials, slowest, strict=True))
    limit = MARGIN * min(slowest)
    what = next(what for name, (what, _) in trials.items() if seconds[name] <= limit)
    return Choice(what, seconds, sample)


def _slowest(group: Group, mine: list[float]) -> list[float]:
    """Each figure's largest over all workers."""
    row = torch.tensor([mine], dtype=torch.float64, device=group.device)
    everyone = group.all_gather(row.view(torch.uint8)).wait().view(torch.float64)
    return [float(figure) for figure in everyone.max(dim=0).values]
