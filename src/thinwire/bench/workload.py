"""What `thinwire bench step` trains: a perceptron that learns from a teacher, or the demo's GPT."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinwire.demo.model import Gpt, next_byte_loss
from thinwire.demo.plan import Training
from thinwire.demo.text import batch, held_out_batch, load_corpus
from thinwire.demo.train import learning_rate

MODELS = ("mlp", "gpt")
HELD_OUT = 1024
"""Samples of the perceptron's task that the loss is told on."""


class Workload(ABC):
    """A training task: all of it a function of its arguments, so that every contender sees the same."""

    batch: int
    """Samples a worker and step."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model with the same weights each time."""

    @abstractmethod
    def optimizer(self, model: nn.Module, momentum: float | None) -> torch.optim.Optimizer | None:
        """Its optimiser, without momentum of its own if gradients come averaged; None: weights stay as they are."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of a step."""

    @abstractmethod
    def loss(self, model: nn.Module, step: int, rank: int) -> Tensor:
        """The loss of one worker's batch at a step."""

    @abstractmethod
    def held_out(self, model: nn.Module) -> float | None:
        """The loss on samples that are not trained on; None where nothing is learned."""


class Mlp(nn.Module):
    """Square layers without biases, ReLU between them.

    >>> sum(parameter.numel() for parameter in Mlp(width=1024, layers=7, seed=0).parameters())
    7340032
    """

    def __init__(self, width: int, layers: int, seed: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=math.sqrt(2 / width), generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, one for each output, of inputs (B, width)."""
        for number, layer in enumerate(self.layers):
            x = layer(F.relu(x) if number else x)
        return x


@dataclass(frozen=True)
class Teaching(Workload):
    """Classification of points that lie near a plane of few dimensions, as a fixed random linear teacher labels them.

    z ~ N(0, I) of `latent` dimensions; the input is z A for a fixed random A, the label argmax z T for a fixed random T
    with `classes` columns. Cross-entropy over all of the model's outputs, SGD; the learning rate falls along a line to
    nothing over `steps`.

    >>> task = Teaching(steps=80, params=20_000)
    >>> task.width, task.batch
    (56, 8)
    """

    steps: int
    params: int = 7 * 1024**2
    seed: int = 0
    batch: int = 8
    layers: int = 7
    latent: int = 16
    classes: int = 10
    learning_rate: float = 0.03

    @property
    def width(self) -> int:
        """The multiple of 8 that brings the model nearest to `params`."""
        return max(16, 8 * round(math.sqrt(self.params / self.layers) / 8))

    def model(self) -> nn.Module:
        return Mlp(self.width, self.layers, self.seed)

    def optimizer(self, model: nn.Module, momentum: float | None) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.learning_rate)

    def rate(self, step: int) -> float:
        return self.learning_rate * max(0.0, 1 - step / self.steps)

    def loss(self, model: nn.Module, step: int, rank: int) -> Tensor:
        inputs, labels = self.samples(self.batch, step, rank)
        return F.cross_entropy(model(inputs), labels)

    def held_out(self, model: nn.Module) -> float | None:
        inputs, labels = self.samples(HELD_OUT, 0, 1 << 20)  # no worker has this rank
        with torch.no_grad():
            return float(F.cross_entropy(model(inputs), labels))

    def samples(self, count: int, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Inputs (count, width) and labels (count,) of one worker at one step."""
        teacher, draw = np.random.default_rng(self.seed), np.random.default_rng((self.seed, step, rank))
        plane = teacher.standard_normal((self.latent, self.width), dtype=np.float32) / math.sqrt(self.latent)
        judge = teacher.standard_normal((self.latent, self.classes), dtype=np.float32)
        points = draw.standard_normal((count, self.latent), dtype=np.float32)
        return torch.from_numpy(points @ plane), torch.from_numpy((points @ judge).argmax(axis=1))


class Writing(Workload):
    """The demo's GPT on the demo's text, by AdamW; the learning rate rises and falls over `steps`."""

    def __init__(self, steps: int, seed: int = 0) -> None:
        self._training, self._seed = Training(steps=steps), seed
        self._corpus = load_corpus()
        self.batch = self._training.batch

    def model(self) -> nn.Module:
        return Gpt(self._training.shape, self._seed)

    def optimizer(self, model: nn.Module, momentum: float | None) -> torch.optim.Optimizer:
        training = self._training
        betas = (training.beta1 if momentum is None else 0.0, training.beta2)
        return torch.optim.AdamW(model.parameters(), betas=betas, weight_decay=training.weight_decay, fused=True)

    def rate(self, step: int) -> float:
        return learning_rate(self._training, step)

    def loss(self, model: nn.Module, step: int, rank: int) -> Tensor:
        context = self._training.shape.context
        inputs, targets = batch(self._corpus.train, self.batch, context, self._seed, step, rank)
        return next_byte_loss(model(inputs), targets)

    def held_out(self, model: nn.Module) -> float | None:
        inputs, targets = held_out_batch(self._corpus, self._training.held_out, self._training.shape.context)
        with torch.no_grad():
            return float(next_byte_loss(model(inputs), targets))
