"""thinwire without DDP: one tensor, or a model's gradients, in any training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
from thinwire.spec import parse_link, parse_sender, to_text
from thinwire.training import state
from thinwire.training.frames import Frame, Slot
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
    _facts: dict[str, object] = field(default_factory=dict, repr=False)
    _given: tuple[Mapping[str, Any] | None, bool] | None = field(default=None, repr=False)

    def met(self, group: Group | None) -> Group:
        """The group that is given; otherwise the one of the first call, made of all processes."""
        if group is None:
            group = self.group or ProcessGroup()
        self.group = group
        return group

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints, per process: a copy."""
        if self._given is not None and self._given[0] is not None:
            return dict(self._given[0])
        kept: dict[str, Any] = {"plain": True, "steps": 0}  # nothing has been reduced yet
        if self.reducer is not None:
            kept = self.reducer.state_dict()
        elif self.exchange is not None:
            kept = state.of(_alone(self.exchange, self.step), self.met(None), self._facts)
        return {"seed": self.seed, "memory": kept}

    def load_state_dict(self, given: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on from `state_dict`, at the next use: only then is it known what this is the memory of.

        As for `Wire.load_state_dict`, another number of workers may go on from it, each with the state of another old
        one or with None. What does not fit is refused at the next use, and each one after it.
        """
        self.exchange = self.reducer = None
        self._given = given, strict
        self.seed = self.seed if given is None else given["seed"]

    def begin(self, fresh: Callable[[], Exchange], group: Group, facts: dict[str, object]) -> Exchange:
        """Remember for such an exchange from here on, after what was given to go on from, if anything was."""
        loaded = _alone(fresh(), self.step)
        if self._given is not None:
            given, strict = self._given
            group.agree(facts)
            kept = None if given is None else given["memory"]
            loaded = state.load(lambda: _alone(fresh(), 0), group, facts, kept, strict=strict)
            loaded.warn()
        carrier = loaded.carriers[0]
        assert isinstance(carrier, Exchange)
        self.exchange, self.step, self._facts, self._given = carrier, loaded.steps, facts, None
        return carrier

    def begin_with(self, reducer: Reducer) -> Reducer:
        """Remember for this reducer from here on, likewise."""
        if self._given is not None:
            given, strict = self._given
            reducer.load_state_dict(None if given is None else given["memory"], strict=strict)
        self.reducer, self._given = reducer, None
        return reducer


def _alone(exchange: Exchange, step: int) -> state.Memory:
    """An exchange's memory is that of a frame of one parameter without a name."""
    return state.Memory(step, [Frame((Slot("", 0, (exchange.d,)),), None)], [exchange])


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
    known = memory.exchange
    if known is None:
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        d, seed = vectors.shape[1], memory.seed
        texts = {"link": to_text(link), "down": None if down is None else to_text(down)}
        known = memory.begin(
            lambda: Exchange(link, d, group, down=down, route=route, seed=seed, dtype=dtype),
            group,
            {**texts, "seed": seed},
        )
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
    geometry: float | None = None,
    scaler: GradScaler | None = None,
    optimizer: Optimizer | Iterable[Optimizer] = (),
) -> None:
    """Replace each parameter's `.grad` by the estimate of its mean over all workers: training without DDP.

    Args:
        parameters: `model.named_parameters()`; a missing gradient counts as zeros, as does that of a parameter that was
            frozen after the first call, which is left alone.
        link: what they travel by, as for `attach`.
        memory, group: as for `all_reduce`; the group holds one worker in each process.
        momentum, geometry, scaler, optimizer: as for `attach`. With a scaler call this before `scaler.unscale_` and
            `scaler.step`, so that all workers find the same.

    Raises:
        ValueError: a gradient is sparse, or a parameter was frozen in the first call.

    >>> import torch, thinwire as tw
    >>> model = torch.nn.Linear(64, 64)
    >>> model(torch.ones(1, 64)).sum().backward()
    >>> tw.reduce_gradients_(model.named_parameters(), "dcgd(rotated(bits=4))", tw.LinkMemory(), tw.LocalGroup(1))
    >>> bool((model.weight.grad - 1).abs().max() < 0.6)
    True
    """
    given = list(parameters)
    listed, by_name = [(name, p) for name, p in given if p.requires_grad], dict(given)
    reducer = memory.reducer
    link = parse_sender(link) if isinstance(link, str) else link
    settings = Settings(link=link, momentum=momentum, geometry=geometry, seed=memory.seed)
    if reducer is None:
        reducer = memory.begin_with(Reducer(listed, settings, memory.met(group)))
    elif (now := _words(settings)) != (then := _words(reducer.settings)):
        rule, given_now = f"this memory is of {then}", now
        raise ValueError(fault("reduce_gradients_(…, memory)", rule, given_now, "Each link has a memory of its own."))
    if new := [name for name, _ in listed if name not in reducer.shapes]:
        way_out = "Go on with a new LinkMemory, which may load this one's state with strict=False."
        raise ValueError(fault("reduce_gradients_", "the parameters are those of the first call", new, way_out))
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
            if not parameter.requires_grad:  # frozen since the first call: an optimiser would move it by a gradient
                continue
            part = estimate[slot.part].view_as(parameter)
            part = part if scale is None else part * scale
            parameter.grad = part.to(parameter.dtype, copy=True)  # the estimate's memory is the next step's


def _words(settings: Settings) -> str:
    """What a memory is of."""
    return f"{settings.policy} with momentum {settings.momentum} and geometry {settings.geometry}"


def _gradient(name: str, parameter: Parameter) -> Tensor:
    if parameter.grad is None or not parameter.requires_grad:
        return torch.zeros_like(parameter)
    if parameter.grad.is_sparse:
        way_out = "Leave the parameter out, and reduce its gradient by torch.distributed.all_reduce."
        raise ValueError(fault("reduce_gradients_", "gradients are dense", f"a sparse one of {name}", way_out))
    return parameter.grad
