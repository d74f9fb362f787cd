"""A link's round on one frame, as amounts: what the communicating thread does and what it sends, in order.

It follows `Exchange.round`, and counts what the parts do that are no codec by the bytes that they read and write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import Parameter

from thinwire._check import fault, one_of
from thinwire.advisor.codecs import codec_of
from thinwire.advisor.facts import VALUE, Codec, Machine
from thinwire.compressors import Identity
from thinwire.exchange import default_down, route_bytes
from thinwire.link import Link, LinkState, Recursion
from thinwire.presets import dcgd
from thinwire.training.frames import cut_frames
from thinwire.training.policy import Policy

COPY = 2 * VALUE
"""Bytes that a copy of one value moves."""
SUM = 3 * VALUE
"""Bytes that an addition of two into a third moves."""


@dataclass(frozen=True)
class Stage:
    """The thread works, begins a collective that sends `size` bytes to each other worker, and works on meanwhile."""

    before: float
    size: float
    meanwhile: float = 0.0


@dataclass(frozen=True)
class FramePlan:
    """One frame's round.

    Args:
        members: the numbers of its parameters.
        values: its length.
        route: which one it takes.
        stages: in order: one for a gather, two for the other routes.
        after: processor seconds when the last collective is over.
        memory: bytes that it keeps from step to step.
        notes: what was put together for want of a measurement.
    """

    members: tuple[int, ...]
    values: int
    route: str
    stages: tuple[Stage, ...]
    after: float
    memory: float
    notes: tuple[str, ...] = ()

    @property
    def sent(self) -> float:
        """Bytes to each other worker."""
        return sum(stage.size for stage in self.stages)


def plan_frames(
    shapes: Sequence[Sequence[int]],
    link: Link,
    machine: Machine,
    workers: int,
    *,
    parts: int = 1,
    route: str | None = None,
    momentum: bool = False,
) -> list[FramePlan]:
    """The frames that thinwire cuts these parameters into, and the round of each.

    Each worker's exchange is of one of `parts` equal parts of every frame.

    Raises:
        ValueError: a link that does not suit, or a route that it cannot take.
    """
    named = [(str(i), Parameter(torch.empty(tuple(shape), device="meta"))) for i, shape in enumerate(shapes)]
    made = []
    for frame in cut_frames(named, Policy.usual(link)):
        members = tuple(int(slot.name) for slot in frame.slots)
        d = -(-frame.d // parts)
        sender = link.bind(workers)
        whole = frame.sender is None or sender.compressor.nbytes(d) >= VALUE * d
        if whole:
            sender = dcgd(Identity()).bind(workers)
        wanted = "allreduce" if frame.sender is None else route
        made.append(_Planned(sender, d, machine, workers, momentum).plan(members, wanted))
    return made


class _Planned:
    """The amounts of one frame, put together."""

    def __init__(self, link: Link, d: int, machine: Machine, workers: int, momentum: bool) -> None:
        self._link, self._d, self._machine, self._n = link, d, machine, workers
        self._down = default_down(link, d).bind(workers)
        self._momentum = momentum
        self._part = -(-d // workers)
        self._codec = codec_of(machine, link.compressor)

    def plan(self, members: tuple[int, ...], route: str | None) -> FramePlan:
        costs = route_bytes(self._link, self._down, self._d, self._n)
        route = route or min(costs, key=lambda name: (costs[name], name))
        if route not in costs:
            one_of(f"route of {self._link!r}", "route", route, ("allreduce", "gather", "sharded"))
            raise ValueError(fault(f"route of {self._link!r}", f"it can take {', '.join(costs)}", route))
        d, n = self._d, self._n
        recursion = self._link.recursion(self._part if route == "sharded" else d, n)
        before = self._machine.round + self._averaging() + self._speaking(recursion, self._codec, d)
        listening = self._listening(recursion, self._codec, d)
        hand_back = self._moved(COPY * d)
        notes = [self._codec.source] if " " in self._codec.source else []
        stages: tuple[Stage, ...]
        match route:
            case "gather":
                stages = (Stage(before, self._mixed(recursion, self._link.compressor.nbytes(d)), listening),)
                after = self._receiving(recursion, self._codec, d, n)
            case "allreduce":
                share = self._link.compressor.nbytes(d) / n
                adding = self._moved((n + 1) * share)
                stages = (Stage(before, share), Stage(adding, share, listening))
                after = self._receiving(recursion, self._codec, d, 1)
            case _:
                down, codec = self._down.recursion(self._part, 1), codec_of(self._machine, self._down.compressor)
                notes += [codec.source] if " " in codec.source else []
                between = self._receiving(recursion, self._codec, self._part, n)
                between += self._speaking(down, codec, self._part)
                answer = self._down.compressor.nbytes(self._part)
                stages = (
                    Stage(before, self._mixed(recursion, self._link.compressor.nbytes(self._part)), listening),
                    Stage(between, answer, self._listening(down, codec, self._part)),
                )
                after = self._receiving(down, codec, d, 1)
        memory = self._memory(recursion, route)
        return FramePlan(members, d, route, stages, after + hand_back, memory, tuple(dict.fromkeys(notes)))

    def _moved(self, size: float) -> float:
        return size * self._machine.memory

    def _averaging(self) -> float:
        """Local momentum: one interpolation of the whole vector."""
        return self._moved(SUM * self._d) if self._momentum else 0.0

    def _mixed(self, recursion: Recursion, payload: float) -> float:
        """Bytes to each other worker, in the mean over the link's coin: what is sent whole is all-reduced."""
        whole = 2 * VALUE * self._d / self._n
        return (1 - recursion.p) * payload + recursion.p * whole

    def _speaking(self, recursion: Recursion, codec: Codec, values: int) -> float:
        """`speak`: the difference, the payload, and h after it where that is one pass."""
        if recursion.plain:
            if codec.sender is not None:
                return values * codec.sender
            return values * (codec.encode + codec.decode) + self._moved((SUM + COPY + SUM) * values)
        passes = 0
        if recursion.cumulative or recursion.a < 1:
            passes += SUM
        if recursion.remembers and recursion.a > 0 and not recursion.cumulative:
            passes += SUM if recursion.a == 1 else SUM + COPY + SUM
        if recursion.zeta is not None:  # two sums of squares, and the choice
            passes += SUM + 2 * VALUE + COPY
        return values * codec.encode + self._moved(passes * values)

    def _listening(self, recursion: Recursion, codec: Codec, values: int) -> float:
        """What is said, decoded by who said it, and the memory of that."""
        if recursion.plain or not recursion.listens:
            return 0.0
        passes = SUM if recursion.cumulative else COPY + SUM
        if recursion.a < 1 or recursion.zeta is not None:
            passes += COPY
        return values * codec.decode + self._moved(passes * values)

    def _receiving(self, recursion: Recursion, codec: Codec, values: int, payloads: int) -> float:
        """`decode_mean`: of so many payloads, onto what is remembered; in one pass where a kernel does that."""
        remembered = codec.sender is None and recursion.remembers and not recursion.cumulative
        return values * (payloads * codec.receive + codec.onto) + self._moved((COPY + 2 * SUM) * values * remembered)

    def _memory(self, recursion: Recursion, route: str) -> float:
        """The frame's vector and its answer; the states, and for every h and h̄ the place of the next one."""
        d, part, n = self._d, self._part, self._n
        kept = (2 + self._momentum) * VALUE * d
        states = [recursion.start((1, d), (1, part if route == "sharded" else d), torch.float32, torch.device("meta"))]
        if route == "sharded":
            down = self._down.recursion(part, 1)
            states.append(down.start((1, part), (n, part), torch.float32, torch.device("meta")))
        return kept + sum(map(_state_bytes, states))


def _state_bytes(state: LinkState) -> float:
    twice = {"shift", "mean"}
    return sum(VALUE * tensor.numel() * (2 if name in twice else 1) for name, tensor in state.tensors().items())
