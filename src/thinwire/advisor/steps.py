"""How a step goes with each way to communicate: what DDP, its hooks and thinwire's engine do, and when."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from thinwire.advisor.facts import VALUE
from thinwire.advisor.host import CORES, WIRE, Host
from thinwire.advisor.plan import COPY, SUM, FramePlan, plan_frames
from thinwire.advisor.schedule import Process, Signal, Work
from thinwire.link import Link

BUCKET, FIRST_BUCKET = 25 << 20, 1 << 20
"""Bytes at which DDP closes a bucket, and its first one."""


class Way(ABC):
    """A way to average gradients: what the threads of one step do."""

    @abstractmethod
    def begin(self, host: Host) -> None:
        """Start them."""

    def memory(self, host: Host) -> float:
        """Bytes that it keeps from step to step, beyond DDP's own."""
        return 0.0

    def notes(self, host: Host) -> tuple[str, ...]:
        """What there is to say of the figures."""
        return ()


def _nothing() -> Process:
    yield from ()


@dataclass(frozen=True)
class Alone(Way):
    """No communication at all."""

    def begin(self, host: Host) -> None:
        host.schedule.start(host.compute(lambda _: _nothing(), _nothing))


def buckets(sizes: Sequence[int], limit: int = BUCKET) -> list[list[int]]:
    """DDP's buckets: parameters from the last on, until a bucket has `limit` bytes, the first one less.

    >>> buckets([1 << 20, 7 << 20, 1 << 18, 1 << 10])
    [[3, 2], [1], [0]]
    """
    made: list[list[int]] = [[]]
    held, full = 0, min(FIRST_BUCKET, limit)
    for number in reversed(range(len(sizes))):
        made[-1].append(number)
        held += VALUE * sizes[number]
        if held >= full:
            made.append([])
            held, full = 0, limit
    return [bucket for bucket in made if bucket]


class Bucketed(Way):
    """DDP and hooks: each bucket is averaged as soon as its gradients are there, while the backward pass goes on."""

    @property
    def limit(self) -> int:
        """Bytes of a bucket."""
        return BUCKET

    @abstractmethod
    def hooked(self, host: Host, values: int) -> Work:
        """What the training thread does with a full bucket before it goes on."""

    @abstractmethod
    def averaged(self, host: Host, values: int) -> Process:
        """What happens beside it, until the bucket has its average."""

    def begin(self, host: Host) -> None:
        sizes = host.site.workload.sizes
        filled = buckets(sizes, self.limit)
        place = {number: at for at, bucket in enumerate(filled) for number in bucket}
        missing, done = [len(bucket) for bucket in filled], [Signal() for _ in filled]

        def average(at: int, values: int) -> Process:
            yield from self.averaged(host, values)
            host.schedule.set(done[at])

        def on_gradient(number: int) -> Process:
            yield host.memory(COPY * sizes[number])
            at = place[number]
            missing[at] -= 1
            if not missing[at]:
                values = sum(sizes[one] for one in filled[at])
                yield self.hooked(host, values)
                host.schedule.start(average(at, values))

        def after() -> Process:
            for at, bucket in enumerate(filled):
                yield done[at]
                yield host.memory(COPY * sum(sizes[number] for number in bucket))

        host.schedule.start(host.compute(on_gradient, after))


@dataclass(frozen=True)
class AllReduce(Bucketed):
    """Ring all-reduces of values of 4 bytes (DDP's own) or 2 (the float16 hook)."""

    width: int = VALUE

    def hooked(self, host: Host, values: int) -> Work:
        narrow = 0 if self.width == VALUE else VALUE + 3 * self.width  # a cast, and a division in place
        return host.memory(narrow * values)

    def averaged(self, host: Host, values: int) -> Process:
        size, site = self.width * values, host.site
        if site.local > 1:
            yield host.halve(size)
        yield host.ring(size / site.local, site.machines, site.network, WIRE)
        if site.local > 1:
            yield host.halve(size)
        if self.width < VALUE:
            yield host.memory((self.width + VALUE) * values)


@dataclass(frozen=True)
class PowerSgd(Bucketed):
    """PyTorch's PowerSGD hook: one bucket, since with more it aborts on Gloo; it begins when all gradients are there.

    Its matrix products are counted as the passes over the gradient that they are at a small rank.
    """

    rank: int = 1

    @property
    def limit(self) -> int:
        return 1 << 62

    def hooked(self, host: Host, values: int) -> Work:
        """The error is added, a copy is kept, P = M Q."""
        return host.memory((SUM + COPY + VALUE) * values)

    def averaged(self, host: Host, values: int) -> Process:
        """All-reduces of what is not compressed, of P, and of Q = Mᵀ P; then M̂ = P Qᵀ and the error."""
        site, whole, left, right = host.site, 0, 0, 0
        for shape in site.workload.shapes:
            n, rest = math.prod(shape[:1]), math.prod(shape[1:])  # a scalar is 1 by 1
            rank = min(n, rest, self.rank)
            if (n + rest) * rank * 2 < n * rest:
                left, right = left + n * rank, right + rest * rank
            else:
                whole += n * rest
        parts = [(whole, 0), (left, VALUE), (right, VALUE + SUM)]
        for count, passes in parts:
            if site.local > 1:
                yield host.halve(VALUE * count)
            yield host.ring(VALUE * count / site.local, site.machines, site.network, WIRE)
            if site.local > 1:
                yield host.halve(VALUE * count)
            yield host.memory(passes * values)

    def memory(self, host: Host) -> float:
        return 2.0 * VALUE * host.site.workload.values


@dataclass
class _UnderWay:
    frame: FramePlan
    stage: int
    pending: Signal


@dataclass(frozen=True)
class ByLink(Way):
    """thinwire: frames, and one thread that does all the talking (`training.engine`), on two lanes."""

    link: Link
    route: str | None = None
    momentum: bool = False

    def frames(self, host: Host) -> list[FramePlan]:
        """The rounds of a step, in the order in which they begin."""
        if host.frames is None:
            site = host.site
            host.frames = plan_frames(
                site.workload.shapes,
                self.link,
                site.machine,
                site.machines,
                parts=site.local,
                route=self.route,
                momentum=self.momentum,
            )
        return host.frames

    def memory(self, host: Host) -> float:
        return sum(frame.memory for frame in self.frames(host))

    def notes(self, host: Host) -> tuple[str, ...]:
        frames = self.frames(host)
        routes = ", ".join(dict.fromkeys(frame.route for frame in frames))
        costs = [note for frame in frames for note in frame.notes]
        return (f"{len(frames)} frames by {routes}", *dict.fromkeys(costs))

    def begin(self, host: Host) -> None:
        frames, sizes = self.frames(host), host.site.workload.sizes
        engine = _Engine(host, frames)
        place = {number: at for at, frame in enumerate(frames) for number in frame.members}
        missing = [len(frame.members) for frame in frames]

        def on_gradient(number: int) -> Process:
            yield host.memory(2 * COPY * sizes[number])  # into the frame, and by DDP into its bucket
            at = place[number]
            missing[at] -= 1
            if not missing[at]:
                engine.submit(at)

        def after() -> Process:
            yield engine.over
            yield host.memory(COPY * sum(sizes))

        host.schedule.start(host.compute(on_gradient, after))
        host.schedule.start(engine.run())


class _Engine:
    """The thread: whatever can be done without waiting, the one that brings bytes on the wire soonest first."""

    def __init__(self, host: Host, frames: list[FramePlan]) -> None:
        self._host, self._frames = host, frames
        self._waiting: set[int] = set()
        self._next = self._finished = 0
        self._backlog: deque[int] = deque()
        self._up: deque[_UnderWay] = deque()
        self._down: deque[_UnderWay] = deque()
        self._news = Signal()
        self.over = Signal()

    def submit(self, number: int) -> None:
        """A frame has its gradients; frames leave in their order."""
        if self._host.site.local > 1:
            self._host.schedule.start(self._gathered(number))
        else:
            self._arrived(number)

    def _gathered(self, number: int) -> Process:
        yield self._host.halve(VALUE * self._frames[number].values * self._host.site.local)
        self._arrived(number)

    def _arrived(self, number: int) -> None:
        self._waiting.add(number)
        while self._next in self._waiting:
            self._backlog.append(self._next)
            self._next += 1
        self._host.schedule.set(self._news)

    def run(self) -> Process:
        """Until all frames are back."""
        while self._finished < len(self._frames):
            if self._up and self._up[0].pending.done:
                yield from self._resume(self._up)
            elif self._backlog:
                yield from self._advance(self._frames[self._backlog.popleft()], 0, self._up)
            elif self._down and self._down[0].pending.done:
                yield from self._resume(self._down)
            else:
                self._news = Signal()
                yield self._news
        self._host.schedule.set(self.over)

    def _resume(self, lane: deque[_UnderWay]) -> Process:
        under_way = lane.popleft()
        yield from self._advance(under_way.frame, under_way.stage + 1, self._down)

    def _advance(self, frame: FramePlan, number: int, lane: deque[_UnderWay]) -> Process:
        if number == len(frame.stages):
            yield from self._busy("decode", frame.after)
            if self._host.site.local > 1:
                yield self._host.halve(VALUE * frame.values * self._host.site.local)
            self._finished += 1
            return
        stage = frame.stages[number]
        yield from self._busy("decode" if number else "encode", stage.before)
        pending = self._host.direct(stage.size, self._host.site.machines)
        yield from self._busy("decode" if number else "encode", stage.meanwhile)
        lane.append(_UnderWay(frame, number, pending))
        self._host.schedule.start(self._told(pending))

    def _busy(self, what: str, seconds: float) -> Process:
        began = self._host.schedule.now
        yield Work(CORES, seconds)
        self._host.spent[what] += self._host.schedule.now - began

    def _told(self, pending: Signal) -> Process:
        yield pending
        self._host.schedule.set(self._news)
