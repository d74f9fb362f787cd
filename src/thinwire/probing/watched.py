"""What all workers saw of a training, put together: the same on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import numpy as np
import torch
from torch import Tensor

from thinwire.advisor.facts import Workload
from thinwire.advisor.findings import Candidate, Gradients
from thinwire.comm import ProcessGroup
from thinwire.probing.clock import Lap
from thinwire.probing.gradients import Estimate, Scatter
from thinwire.probing.sample import Sample
from thinwire.probing.together import cores_each, everyones
from thinwire.probing.trials import Asked, Trials

UNEVEN = 1.2
"""A worker that computes so many times as long as the median one is named, and steps that differ by so much."""

WARMUP = 1 / 3
"""The part of the sampled steps with which links begin, and that does not count in their errors."""


@dataclass(frozen=True)
class Watched:
    """What was found.

    Args:
        workload: the median over steps and workers; where the host computes, in processor seconds.
        gradients: what they are like.
        names: of the parameters, in the workload's order.
        notes: what is in doubt.
    """

    workload: Workload
    gradients: Gradients
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class Look:
    """One worker's gradient in one step: its sample, ‖g_i‖² by parameter, and ‖ḡ‖² by bucket."""

    sample: Tensor
    own: dict[str, Tensor] = field(default_factory=dict)
    mean: list[Tensor] = field(default_factory=list)

    def squares(self) -> tuple[float, float]:
        """‖g_i‖² and ‖ḡ‖²."""
        return sum(float(one) for one in self.own.values()), sum(float(one) for one in self.mean)


def workload_of(
    laps: Sequence[Lap], shapes: Mapping[str, tuple[int, ...]], group: ProcessGroup, *, quiet: bool
) -> tuple[Workload, list[str]]:
    """The step of the median worker, and what there is to say of it. All workers call this together.

    Where hosts share processors, what is measured by the clock is turned into processor seconds.
    """
    names, on_host = list(shapes), group.device.type == "cpu"
    ready = np.median([lap.seconds_until_ready(names) for lap in laps], axis=0)
    computes = [lap.compute for lap in laps]
    low, middle, high = np.quantile(computes, (0.25, 0.5, 0.75))
    said = everyones(group, [ready.tolist(), middle, (high - low) / middle])
    part = min(1.0, cores_each(group)) if on_host else 1.0
    compute = median(compute for _, compute, _ in said)
    moments = np.median([moments for moments, _, _ in said], axis=0).clip(0.0, compute) * part
    shaped = tuple(tuple(shape) for shape in shapes.values())
    workload = Workload(shaped, tuple(moments.tolist()), max(compute * part, float(moments.max())), on_host)
    notes = []
    if not quiet:
        notes.append("steps were timed while gradients were averaged: where hosts do both, compute is taken too long")
    slow = max(range(len(said)), key=lambda rank: said[rank][1])
    if said[slow][1] > UNEVEN * compute:
        times = f"{said[slow][1] / compute:.2g} times"
        notes.append(f"worker {slow} computes {times} as long as the median one: the others wait for it")
    spread = median(spread for _, _, spread in said)
    if spread > UNEVEN - 1:
        notes.append(f"steps differ: what lies between the quartiles of their compute is {spread:.0%} of the median")
    return workload, notes


def gradients_of(
    looks: Sequence[Look],
    sample: Sample,
    group: ProcessGroup,
    candidates: Sequence[Asked],
    samples_per_step: int | None,
    *,
    seed: int = 0,
) -> tuple[Gradients, list[str]]:
    """What the gradients are like, and what there is to say of it. All workers call this together.

    1. Norms, then samples, step by step, are gathered.
    2. Worker r tries candidates r, r + n, r + 2n, …. The first third of the steps does not count in their errors.
    3. What became of them is gathered: everyone has the same figures, each from one worker.

    Raises:
        ValueError: too few steps were finite.
    """
    n, rank = group.size, group.ranks.start
    squares = torch.tensor(everyones(group, [look.squares() for look in looks]), dtype=torch.float64)
    scatter, mine = Scatter(sample, n), list(range(rank, len(candidates), n))
    asked = [candidates[number] for number in mine]
    trials = Trials(sample, n, asked, warmup=int(WARMUP * len(looks)), seed=seed)
    for step, look in enumerate(looks):
        told = group.all_gather(look.sample[None].view(torch.uint8)).wait()
        gathered = told.view(torch.float32).cpu()
        scatter.add(gathered, own=squares[:, step, 0], mean=float(squares[0, step, 1]))
        trials.add(gathered)
    found = scatter.found()
    made = dict(zip(mine, map(asdict, trials.found()), strict=True))
    everything = {int(number): one for part in everyones(group, made) for number, one in part.items()}
    tried = tuple(Candidate(**everything[number]) for number in range(len(candidates)))
    gradients = Gradients(
        found.steps, samples_per_step, sample.size, found.signal, found.noise, found.heterogeneity, tried
    )
    return gradients, _doubts(found, len(looks), sample, tried)


def _doubts(found: Estimate, looks: int, sample: Sample, tried: Sequence[Candidate]) -> list[str]:
    notes = []
    if not found.clear:
        share = f"{found.share:.2%} ± {found.share_error:.2%}"
        notes.append(
            f"noise hides the gradient: of one worker's squared norm {share} is signal. More steps, or larger batches, "
            "would tell"
        )
    if lost := looks - found.steps:
        notes.append(f"{lost} steps had gradients that were not finite, and were left out")
    cut = [piece.name for piece in sample.pieces if not piece.whole and len(piece.shape) > 1]
    if cut and any(one.link.startswith("lowrank") for one in tried):
        notes.append(f"lowrank was tried on parts of {len(cut)} matrices: of whole ones its error is larger")
    return notes
