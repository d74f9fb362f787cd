"""What is trained: a net, its batches for n workers, its optimiser, and how good it is in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frontier_lib import images, nets
from thinwire.demo.model import Gpt, GptShape, next_byte_loss
from thinwire.demo.text import batch, held_out_batch, load_corpus

SETTLED_ON = 2048
"""Training images whose statistics batch normalisation is evaluated with."""
HELD_OUT = 512
"""Windows of the held-out text."""
MOMENTUM = 0.9
SHAPE = GptShape(context=32, width=96, layers=2, heads=3)
TEXT_BATCH = 16


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy on what was not trained on, and the percentage that is right (images)."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Data:
    """A task made ready for some workers and a seed: batches by step, (workers, b, …) each, and the score of a net."""

    batches: Callable[[int], tuple[Tensor, Tensor]]
    score: Callable[[nn.Module], Score]


@dataclass(frozen=True)
class Task:
    """One row of the plan.

    `grid` has the learning rates that every method is tried with, by whose momentum it is: "server" (the
    optimiser's own) or "local" (the workers' running averages; the optimiser has none). Losses within the fraction
    `tie` of the least count as equal. A task that is `tuned_as` another takes that one's rates.
    """

    name: str
    title: str
    metric: str
    steps: int
    model: Callable[[int], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[nn.Module, float, bool], torch.optim.Optimizer]
    data: Callable[[Path, int, int, int], Data]
    grid: Mapping[str, tuple[float, ...]]
    tie: float
    tuned_as: str | None = None


def schedule(step: int, steps: int) -> float:
    """The factor on the learning rate: up over the first twentieth, then along a cosine to zero.

    >>> [round(schedule(step, 100), 3) for step in (0, 4, 52, 99)]
    [0.2, 1.0, 0.502, 0.0]
    """
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (steps - rise)))


def _sgd(model: nn.Module, rate: float, server: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM if server else 0.0, weight_decay=5e-4)


def _adamw(model: nn.Module, rate: float, server: bool) -> torch.optim.Optimizer:
    betas = (MOMENTUM if server else 0.0, 0.95)
    return torch.optim.AdamW(model.parameters(), lr=rate, betas=betas, weight_decay=0.1, fused=True)


def _seeded(make: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    def made(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return make()

    return made


_images = cache(images.load)
_corpus = cache(load_corpus)


def _pictures(few_classes: bool, total: int) -> Callable[[Path, int, int, int], Data]:
    def data(folder: Path, workers: int, seed: int, steps: int) -> Data:
        found = _images(folder)
        (x, y), (test_x, test_y) = found.train, found.test
        rows = images.draws(images.deal(y, workers, seed, few_classes), total // workers, steps, seed)

        def score(model: nn.Module) -> Score:
            nets.settle(model, x[:SETTLED_ON])
            with torch.no_grad():
                out = torch.cat([model.eval()(part) for part in test_x.split(1000)])
            right = float((out.argmax(1) == test_y).float().mean())
            return Score(float(F.cross_entropy(out, test_y)), 100 * right)

        return Data(lambda step: (x[rows[step]], y[rows[step]]), score)

    return data


def _text(folder: Path, workers: int, seed: int, steps: int) -> Data:
    corpus = _corpus(None)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        each = TEXT_BATCH // workers
        parts = [batch(corpus.train, each, SHAPE.context, seed, step, rank) for rank in range(workers)]
        inputs, targets = zip(*parts, strict=True)
        return torch.stack(inputs), torch.stack(targets)

    def score(model: nn.Module) -> Score:
        inputs, targets = held_out_batch(corpus, HELD_OUT, SHAPE.context)
        with torch.no_grad():
            return Score(float(next_byte_loss(model(inputs), targets)), None)

    return Data(batches, score)


_SGD_GRID = {"server": (0.032, 0.08, 0.2), "local": (0.32, 0.8, 2.0)}
_ADAM_GRID = {"server": (1.6e-3, 4e-3, 1e-2), "local": (8e-4, 1.8e-3, 4e-3)}
_EPOCH = 60_000

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            *("cnn", "CNN, Fashion-MNIST, SGD with momentum", "accuracy", 3 * _EPOCH // 256),
            *(_seeded(nets.Cnn), F.cross_entropy, _sgd, _pictures(few_classes=False, total=256), _SGD_GRID),
            tie=0.02,
        ),
        Task(
            *("gpt", "GPT, text, AdamW", "loss", 400),
            *(lambda seed: Gpt(SHAPE, seed), next_byte_loss, _adamw, _text, _ADAM_GRID),
            tie=0.002,
        ),
        Task(
            *("resnet", "ResNet with batch norm, Fashion-MNIST, SGD with momentum", "accuracy", _EPOCH // 128),
            *(_seeded(nets.ResNet), F.cross_entropy, _sgd, _pictures(few_classes=False, total=128), _SGD_GRID),
            tie=0.02,
            tuned_as="cnn",
        ),
        Task(
            *("skewed", "CNN, each worker sees few classes, SGD with momentum", "accuracy", 3 * _EPOCH // 256),
            *(_seeded(nets.Cnn), F.cross_entropy, _sgd, _pictures(few_classes=True, total=256), _SGD_GRID),
            tie=0.02,
            tuned_as="cnn",
        ),
    )
}
"""Every task by its name."""
