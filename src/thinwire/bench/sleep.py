"""Compute that sleeps: it stands for an accelerator, whose work costs the host's cores nothing.

    forward: layer 0, 1, …, L − 1          a third of the time
    backward: layer L − 1, …, 1, 0         two thirds; each layer's gradient is there when its part is over

Each layer takes a part of the time in proportion to its parameters. Parts end at fixed times after the forward pass
began, as on a device that does not wait for its host: a host that was late sleeps less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thinwire.bench.workload import Workload

FORWARD = 1 / 3
SPARE = 1 << 20
"""Noise beyond the largest layer's size: where a gradient begins in it changes with layer and step."""


class Accelerator:
    """The clock of one model: when each part of a step is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = 0.0

    def begin(self) -> None:
        """A step begins now."""
        self._began = time.perf_counter()

    def finish(self, part: float) -> None:
        """Sleep until this part of the step, 0 to 1, is over."""
        left = self._began + part * self.seconds - time.perf_counter()
        if left > 0:
            time.sleep(left)


class _Layer(torch.autograd.Function):
    """Nothing but time: forward hands its input on, backward gives the weight a gradient from the noise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, owner: Sleeper, number: int) -> Tensor:
        ctx.owner, ctx.number = owner, number
        owner.accelerator.finish(FORWARD * owner.until[number + 1])
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        owner, number = ctx.owner, ctx.number
        owner.accelerator.finish(FORWARD + (1 - FORWARD) * (1 - owner.until[number]))
        return gradients[0], owner.gradient(number), None, None


class Sleeper(nn.Module):
    """A model with parameters of these shapes, whose layers, one for each parameter, sleep.

    >>> sleeper = Sleeper([(4, 4), (4, 12)], seconds=0.0, seed=0)
    >>> sleeper().backward()
    >>> sleeper.until, [tuple(parameter.grad.shape) for parameter in sleeper.parameters()]
    ([0.0, 0.25, 1.0], [(4, 4), (4, 12)])
    """

    def __init__(self, shapes: Sequence[Sequence[int]], seconds: float, seed: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.zeros(*shape) for shape in shapes)
        sizes = [weight.numel() for weight in self.weights]
        self.until = [sum(sizes[:number]) / sum(sizes) for number in range(len(sizes) + 1)]
        self.accelerator = Accelerator(seconds)
        self._noise = torch.randn(max(sizes) + SPARE, generator=torch.Generator().manual_seed(seed))
        self._start = torch.zeros(1)
        self._step = 0

    def forward(self) -> Tensor:
        """A number whose backward pass gives every parameter a gradient, layer after layer."""
        self.accelerator.begin()
        self._step += 1
        x = self._start
        for number, weight in enumerate(self.weights):
            x = _Layer.apply(x, weight, self, number)  # type: ignore[no-untyped-call]
        return x.sum()

    def gradient(self, number: int) -> Tensor:
        """This step's gradient of a layer: a copy of a piece of the noise, another one in each step.

        A copy, since autograd keeps what it is given and DDP writes the mean into it.
        """
        weight = self.weights[number]
        at = (self._step * 7919 + number * 104_729) % SPARE
        return self._noise[at : at + weight.numel()].view_as(weight).clone()


class Sleeping(Workload):
    """A workload's parameters without its computing; there is no optimiser, whose work would be the accelerator's."""

    def __init__(self, of: Workload, seconds: float, seed: int) -> None:
        self._shapes = [tuple(parameter.shape) for parameter in of.model().parameters()]
        self._seconds, self._seed = seconds, seed
        self.batch = of.batch

    def model(self) -> nn.Module:
        return Sleeper(self._shapes, self._seconds, self._seed)

    def optimizer(self, model: nn.Module, momentum: float | None) -> None:
        return None

    def rate(self, step: int) -> float:
        return 0.0

    def loss(self, model: nn.Module, step: int, rank: int) -> Tensor:
        value: Tensor = model()
        return value

    def held_out(self, model: nn.Module) -> float | None:
        return None
