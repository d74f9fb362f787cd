"""What thinwire is compared with: how each method prepares a model, PyTorch's own hooks and thinwire alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import call, fault

ONE_BUCKET_MB = 1 << 14
POWERSGD_RANK = 4


def _nothing() -> None:
    return None


def _no_stats() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Prepared:
    """A model whose backward pass averages the gradients, and what else the training loop has to call."""

    model: DistributedDataParallel
    after_backward: Callable[[], None] = _nothing
    stats: Callable[[], Mapping[str, Any]] = _no_stats
    close: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Choice:
    """The arguments of a method.

    `dense_steps` is how long PowerSGD sends everything, `rank` that of its matrices; `group` is whom the method talks
    in (None: the default group), and after `timeout` seconds thinwire gives a collective up.
    """

    link: str | None = None
    momentum: float | None = None
    dense_steps: int = 10
    rank: int = POWERSGD_RANK
    group: dist.ProcessGroup | None = None
    timeout: float = 300.0


class RunningAverage:
    """m ← β·m + (1 − β)·g, and m / (1 − β^t) in place of each gradient, after it was averaged.

    By linearity this is the mean of the workers' own running averages, so it is local momentum run dense.
    """

    def __init__(self, model: nn.Module, beta: float) -> None:
        self._beta = beta
        self._step = 0
        self._averages: list[tuple[nn.Parameter, Tensor]] = [(p, torch.zeros_like(p)) for p in model.parameters()]

    def __call__(self) -> None:
        """Replace every gradient by its running average."""
        self._step += 1
        for parameter, average in self._averages:
            if parameter.grad is not None:
                average.lerp_(parameter.grad, 1 - self._beta)
                torch.div(average, 1 - self._beta**self._step, out=parameter.grad)


def _ddp(model: nn.Module, choice: Choice) -> Prepared:
    after = _nothing if choice.momentum is None else RunningAverage(model, choice.momentum)
    return Prepared(DistributedDataParallel(model, process_group=choice.group), after_backward=after)


def _fp16(model: nn.Module, choice: Choice) -> Prepared:
    _without_momentum("fp16", choice)
    ddp = DistributedDataParallel(model, process_group=choice.group)
    ddp.register_comm_hook(choice.group, default_hooks.fp16_compress_hook)
    return Prepared(ddp)


def _powersgd(model: nn.Module, choice: Choice) -> Prepared:
    """One bucket: with more, the hook's callbacks issue collectives in an order that differs between ranks on Gloo."""
    _without_momentum("powersgd", choice)
    ddp = DistributedDataParallel(model, process_group=choice.group, bucket_cap_mb=ONE_BUCKET_MB)
    state = powerSGD_hook.PowerSGDState(
        process_group=choice.group,
        matrix_approximation_rank=choice.rank,
        start_powerSGD_iter=max(2, choice.dense_steps),
    )
    ddp.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return Prepared(ddp)


def _thinwire(model: nn.Module, choice: Choice) -> Prepared:
    import thinwire

    if choice.link is None:
        raise ValueError(fault("method 'thinwire'", "a link is needed", way_out="Pass --link 'dcgd(rotated(3))'."))
    ddp = DistributedDataParallel(model, process_group=choice.group)
    wire = thinwire.attach(ddp, choice.link, momentum=choice.momentum, timeout=choice.timeout)
    return Prepared(ddp, stats=lambda: wire.stats().as_dict(), close=wire.close)


def _without_momentum(method: str, choice: Choice) -> None:
    if choice.momentum is not None:
        where = call("method", name=method)
        way_out = "Leave --momentum out, or use method ddp or thinwire."
        raise ValueError(fault(where, "this hook has no local momentum", choice.momentum, way_out))


METHODS: Mapping[str, Callable[[nn.Module, Choice], Prepared]] = MappingProxyType(
    {"ddp": _ddp, "fp16": _fp16, "powersgd": _powersgd, "thinwire": _thinwire}
)
"""Every method by name."""
