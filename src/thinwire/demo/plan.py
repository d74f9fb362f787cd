"""What the demo runs: the named rows that it compares, and the arguments that all rows share."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from thinwire._check import call, fault, in_range, one_of
from thinwire.demo.model import GptShape

BASELINE = "ddp"
"""The row that speed-ups and byte factors are measured against."""


@dataclass(frozen=True)
class Run:
    """One row of the comparison.

    `method` names a builder in `thinwire.baselines`; `link` is the text of a thinwire link; with `momentum` the
    worker keeps a running average of its gradients and sends that, and Adam's own β₁ is 0.
    """

    name: str
    label: str
    method: str
    link: str | None = None
    momentum: float | None = None
    default: bool = True
    ours: bool = False
    note: str = ""


RUNS: dict[str, Run] = {
    run.name: run
    for run in (
        Run("ddp", "PyTorch DDP", "ddp", note="float32 gradients, PyTorch's default buckets"),
        Run("fp16", "DDP, fp16 hook", "fp16", note="PyTorch's fp16_compress_hook, default buckets"),
        Run(
            "powersgd",
            "DDP, PowerSGD hook",
            "powersgd",
            note="PyTorch's powerSGD_hook, rank 4, one bucket for the whole model (with more, it aborts on Gloo), "
            "dense for its first steps as the hook demands",
        ),
        Run(
            "thinwire",
            "thinwire, 3 bits",
            "thinwire",
            link="dcgd(rotated(3))",
            ours=True,
            note="the default: rotated 3-bit code, the optimiser as it was",
        ),
        Run(
            "thinwire-max",
            "thinwire, 1 bit + momentum",
            "thinwire",
            link="diana(rotated(1))",
            momentum=0.8,
            ours=True,
            note="rotated 1-bit code of what changed in each worker's running average (local momentum 0.8, β₁ = 0)",
        ),
        Run(
            "ddp-momentum",
            "DDP, local momentum",
            "ddp",
            momentum=0.8,
            default=False,
            note="the optimiser of the 1-bit row, run dense: it tells compression from momentum",
        ),
    )
}
"""Every row there is, by name; those with `default` are run when none is asked for."""

DEFAULT_RUNS: tuple[str, ...] = tuple(name for name, run in RUNS.items() if run.default)


def choose_runs(names: str) -> tuple[Run, ...]:
    """The rows of a comma-separated list of names; raises ValueError naming all rows if one is unknown.

    >>> [run.label for run in choose_runs("ddp, fp16")]
    ['PyTorch DDP', 'DDP, fp16 hook']
    """
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if not listed:
        raise ValueError(fault("demo", "runs must name at least one run", names, f"There are: {', '.join(RUNS)}."))
    for name in listed:
        one_of("demo", "runs", name, RUNS)
    return tuple(RUNS[name] for name in dict.fromkeys(listed))


@dataclass(frozen=True)
class Training:
    """How every row trains alike; the learning rate is near the best for dense AdamW at these sizes.

    `batch` is sequences a worker and step; `warm_up` is the steps over which the learning rate rises; it falls along
    a cosine to a tenth after that.
    """

    steps: int = 100
    batch: int = 2
    learning_rate: float = 2e-3
    warm_up: int = 10
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    held_out: int = 128
    every: int = 10
    shape: GptShape = field(default_factory=GptShape)

    def __post_init__(self) -> None:
        where = call("Training", steps=self.steps)
        in_range(where, "steps", self.steps, 3, 100_000)

    @property
    def untimed(self) -> int:
        """The first steps, left out of the step times and of the bytes a step: buckets are built, hooks warm up."""
        return min(10, self.steps // 3)

    @property
    def marks(self) -> tuple[int, ...]:
        """The steps after which the model is validated; 0 is before the first.

        >>> Training(steps=25).marks
        (0, 8, 10, 20, 25)
        """
        return tuple(sorted({*range(0, self.steps + 1, self.every), self.untimed, self.steps}))


@dataclass(frozen=True)
class Plan:
    """One demo: which rows, on how many hosts, over which links, with which seeds."""

    runs: tuple[Run, ...] = tuple(RUNS[name] for name in DEFAULT_RUNS)
    hosts: int = 4
    rate: str = "100mbit"
    seeds: int = 1
    text: Path | None = None
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        where = call("demo", hosts=self.hosts, seeds=self.seeds)
        in_range(where, "hosts", self.hosts, 2, 64)
        in_range(where, "seeds", self.seeds, 1, 100)

    def order(self) -> Iterable[tuple[int, Run]]:
        """Every (seed, row), the rows of each seed in an order drawn from that seed, so that none is favoured."""
        for seed in range(self.seeds):
            yield from ((seed, run) for run in random.Random(seed).sample(self.runs, len(self.runs)))
