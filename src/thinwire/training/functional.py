"""thinwire without DDP: one tensor, or a model's gradients, in any training loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn import Parameter
from torch.optim import Optimizer

from thinwire._check import fault
from thinwire.comm import Group, ProcessGroup
from thinwire.exchange import Exchange
from thinwire.link import Link
from thinwire.rounds import finish, finish_all
from thinwire.spec import parse_link, parse_sender
from thinwire.training.policy import Policy, Sender
from thinwire.training.rates import rates_of
from thinwire.training.reducer import Reducer, Settings


@dataclass
class LinkMemory:
    """What a link remembers between calls of `all_reduce` or `reduce_gradients_`: empty at first, filled by them.

    One memory for each tensor, or each model, that is reduced again and again.

    >>> import torch, thinwire as tw
    >>> memory = tw.LinkMemory()
    >>> for _ in range(60):
    ...     mean = tw.all_reduce(torch.tensor([[1.0, 2.0]]), tw.diana(tw.RandK(1)), memory, group=tw.LocalGroup(1))
    >>> bool((mean - torch.tensor([1.0, 2.0])).abs().max() < 1e-3)
    True
    """

    exchange: Exchange | None = None
    reducer: Reducer | None = None
    group: Group | None = None
    step: int = 0
    seed: int = 0

    def met(self, group: Group | None) -> Group:
        """The group that is given; otherwise the one of the first call, made of all processes."""
        if group is None:
            group = self.group or ProcessGroup()
        self.group = group
        return group

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints, per process."""
        part = self.exchange or self.reducer
        return {"step": self.step, "seed": self.seed, "memory": None if part is None else part.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`. Call the function that uses this memory once before, so that its shape is known.

        Raises:
            ValueError: nothing has been reduced with this memory yet, or the state does not fit.
        """
        part = self.exchange or self.reducer
        if state["memory"] is not None:
            if part is None:
                raise ValueError(fault("LinkMemory.load_state_dict", "the memory must have been used once", None))
            part.load_state_dict(state["memory"])
        self.step, self.seed = state["step"], state["seed"]


def all_reduce(
    tensor: Tensor,
    link: Link | str,
    memory: LinkMemory,
    group: Group | None = None,
    *,
    down: Link | None = None,
    route: str | None = None,
) -> Tensor:
    """The estimate of the mean of all workers' tensors: the same bits on every rank.

    Args:
        tensor: this worker's tensor of any shape; with a group that holds several workers in this process, one row
            (first dimension) for each.
        link: what it travels by.
        memory: what the link remembers from call to call.
        group: the workers; None is all processes of torch.distributed.
        down, route: as for `attach`.

    Returns:
        The mean, of the tensor's shape (without the rows) and dtype. NaN throughout if any worker's was not finite.

    Raises:
        ValueError: the memory belongs to another shape or link.

    >>> import torch, thinwire as tw
    >>> memory, group = tw.LinkMemory(), tw.LocalGroup(4)
    >>> x = torch.arange(8.0).reshape(4, 2)
    >>> tw.all_reduce(x, tw.dcgd(tw.Identity()), memory, group)
    tensor([3., 4.])
    """
    group = memory.met(group)
    link = parse_link(link) if isinstance(link, str) else link
    rows = len(group.ranks)
    several = rows > 1 or not isinstance(group, ProcessGroup)
    shape = tensor.shape[1:] if several else tensor.shape
    if several and (tensor.ndim == 0 or len(tensor) != rows):
        rule = f"a group that holds {rows} workers takes one row for each"
        raise ValueError(fault("all_reduce(tensor, …)", rule, tuple(tensor.shape)))
    vectors = tensor.detach().reshape(rows, -1)
    if memory.exchange is None:
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        memory.exchange = Exchange(link, vectors.shape[1], group, down=down, route=route, seed=memory.seed, dtype=dtype)
    known = memory.exchange
    if known.d != vectors.shape[1] or known.link != link.bind(group.size):
        rule = f"this memory is of {known.link!r} on {known.d} values; each tensor has a memory of its own"
        raise ValueError(fault("all_reduce(…, memory)", rule, f"{link!r} on {vectors.shape[1]} values"))
    outcome = finish(known.round(vectors, memory.step))
    if outcome.finite:  # otherwise the step leaves no trace, and its number is used again
        known.commit(outcome)
        memory.step += 1
    return outcome.estimate.to(tensor.dtype).view(shape)


def reduce_gradients_(
    parameters: Iterable[tuple[str, Parameter]],
    link: Sender | Policy | str,
    memory: LinkMemory,
    group: Group | None = None,
    *,
    momentum: float | None = None,
    scaler: GradScaler | None = None,
    optimizer: Optimizer | Iterable[Optimizer] = (),
) -> None:
    """Replace each parameter's `.grad` by the estimate of its mean over all workers: training without DDP.

    Args:
        parameters: `model.named_parameters()`; a missing gradient counts as zeros.
        link: what they travel by, as for `attach`.
        memory, group: as for `all_reduce`; the group holds one worker in each process.
        momentum, scaler, optimizer: as for `attach`. With a scaler call this before `scaler.unscale_` and
            `scaler.step`, so that all workers find the same.

    Raises:
        ValueError: a gradient is sparse.

    >>> import torch, thinwire as tw
    >>> model = torch.nn.Linear(64, 64)
    >>> model(torch.ones(1, 64)).sum().backward()
    >>> tw.reduce_gradients_(model.named_parameters(), "dcgd(rotated(bits=4))", tw.LinkMemory(), tw.LocalGroup(1))
    >>> bool((model.weight.grad - 1).abs().max() < 0.6)
    True
    """
    listed = [(name, p) for name, p in parameters if p.requires_grad]
    if memory.reducer is None:
        link = parse_sender(link) if isinstance(link, str) else link
        settings = Settings(link=link, momentum=momentum, seed=memory.seed)
        memory.reducer = Reducer(listed, settings, memory.met(group))
    reducer, by_name = memory.reducer, dict(listed)
    reducer.rates.now = rates_of(optimizer, {id(p): name for name, p in listed})
    scale = None
    if scaler is not None and scaler.is_enabled():
        scale = scaler.scale(torch.ones((), device=reducer.group.device))
    rounds = []
    for number, frame in enumerate(reducer.frames):
        for slot in frame.slots:
            reducer.put(slot.name, _gradient(slot.name, by_name[slot.name]).detach(), scale=scale)
        rounds.append(reducer.reduce(number))
    for frame, estimate in zip(reducer.frames, finish_all(rounds), strict=True):
        for slot in frame.slots:
            parameter = by_name[slot.name]
            part = estimate[slot.part].view_as(parameter)
            parameter.grad = (part if scale is None else part * scale).to(parameter.dtype)


def _gradient(name: str, parameter: Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    if parameter.grad.is_sparse:
        way_out = "Leave the parameter out, and reduce its gradient by torch.distributed.all_reduce."
        raise ValueError(fault("reduce_gradients_", "gradients are dense", f"a sparse one of {name}", way_out))
    return parameter.grad
