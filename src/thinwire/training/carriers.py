"""What carries one frame of gradients: the exchange that its sender asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from thinwire._check import fault
from thinwire.compressors import Identity
from thinwire.exchange import Exchange, Outcome, default_down, route_bytes
from thinwire.link import Link
from thinwire.lowrank import LowRank
from thinwire.presets import dcgd
from thinwire.training.lowrank import LowRankExchange
from thinwire.training.policy import Stages
from thinwire.training.scaled import Scaled

if TYPE_CHECKING:
    from torch import Tensor

    from thinwire.comm.base import Group
    from thinwire.link import Kept
    from thinwire.rounds import Round
    from thinwire.training.frames import Frame
    from thinwire.training.policy import Sender


class Carrier(Protocol):
    """One vector's way from each worker to all, step after step; `Exchange` says what each part does.

    `rounds` is how often it goes up to the owners and down again, in a step that is not dense.
    """

    d: int
    route: str
    rounds: int

    @property
    def width(self) -> int: ...

    def round(
        self, v: Tensor, step: int, *, dense: bool = False, out: Tensor | None = None, rescale: float | Tensor = 1.0
    ) -> Round[Outcome]: ...

    def commit(self, outcome: Outcome) -> None: ...

    def state_dict(self) -> dict[str, Tensor | bool]: ...

    def kept(self) -> dict[str, tuple[Kept, str]]: ...

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None: ...


def carrier(
    frame: Frame,
    number: int,
    group: Group,
    *,
    down: Link | None,
    route: str | None,
    geometry: float | None,
    seed: int,
) -> Carrier:
    """The carrier of a frame; stages begin with their first link, by the route that is best for the last one.

    Raises:
        ValueError: a link that does not suit the frame, or a route or a geometry that it, or a stage, cannot take.
    """
    sender = frame.sender
    if sender is None:
        return Exchange(dcgd(Identity()), frame.d, group, route="allreduce", seed=seed, tensor=number)
    if isinstance(sender, LowRank):
        if down is not None:
            rule = "sums come back as they are: it has no downlink"
            raise ValueError(fault(f"down of {sender!r}", rule, down, "Leave down out."))
        if route not in (None, LowRankExchange.route):
            rule = "its messages are summed: allreduce is its only route"
            raise ValueError(fault(f"route of {sender!r}", rule, route, "Leave route out."))
        if geometry is not None:
            rule = "it remembers what it still owes, and that would be in units that change from step to step"
            raise ValueError(fault(f"geometry of {sender!r}", rule, geometry, "Leave geometry out."))
        return LowRankExchange(sender, [slot.shape for slot in frame.slots], group, seed=seed, tensor=number)
    if isinstance(sender, Stages):
        route = route or _common_route(sender, down, frame.d, group.size)
        for link in sender.in_order[1:]:  # so that what cannot be done is said now, and not when its step comes
            later = Exchange(link, frame.d, group, down=down, route=route)
            if geometry is not None:
                Scaled(later, geometry)
        sender = sender.at(0)
    sizes = [slot.size for slot in frame.slots]
    exchange = Exchange(sender, frame.d, group, down=down, route=route, seed=seed, tensor=number, errors=sizes)
    return exchange if geometry is None else Scaled(exchange, geometry)


def at_step(carrier: Carrier, sender: Sender | None, step: int) -> Carrier:
    """The carrier of a step, which another stage's link may have taken over."""
    if isinstance(sender, Stages):
        assert isinstance(carrier, Exchange | Scaled)
        link = sender.at(step)
        if carrier.link != link.bind(carrier.group.size):
            return carrier.turned(link)
    return carrier


def payload_bytes(sender: Sender, frame: Frame, workers: int) -> int:
    """Bytes of what a worker says of a frame, in the end."""
    if isinstance(sender, LowRank):
        return sender.nbytes([slot.shape for slot in frame.slots])
    link = sender.in_order[-1] if isinstance(sender, Stages) else sender
    return link.bind(workers).compressor.nbytes(frame.d)


def _common_route(stages: Stages, down: Link | None, d: int, workers: int) -> str:
    costs = [route_bytes(link.bind(workers), down or default_down(link, d), d, workers) for link in stages.in_order]
    common = set.intersection(*(set(cost) for cost in costs))  # gather and sharded at least
    return min(common, key=lambda name: (costs[-1][name], name))
