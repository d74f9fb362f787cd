"""What a wire's gradients go by, which may change between two steps: a link, or DDP's own all-reduce (`plain`)."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future

from thinwire.link import Kept, Link
from thinwire.training.carriers import Carrier
from thinwire.training.delivery import Bucket, Delivery
from thinwire.training.engine import Engine
from thinwire.training.log import facts_of
from thinwire.training.rates import Rates
from thinwire.training.reducer import Listener, Reducer
from thinwire.training.stats import Tally


class Way(ABC):
    """How gradients get from DDP's buckets to all workers and back."""

    listener: Listener | None
    rates: Rates

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called: a link's text, or a dtype's name."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps that counted, those before it too."""

    @property
    @abstractmethod
    def tallies(self) -> tuple[Tally, Tally]:
        """Of the last step, and of all that went by it."""

    @property
    @abstractmethod
    def routes(self) -> tuple[str, ...]:
        """What travels how, in words."""

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether no step is under way; after a failure none is."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a log's header says of it."""

    @abstractmethod
    def take(self, name: str, gradient: Tensor, scale: Tensor | None) -> None:
        """A gradient is complete, before its bucket is."""

    @abstractmethod
    def receive(self, bucket: GradBucket, named: Sequence[tuple[str, Tensor]], scale: Tensor | None) -> Future[Tensor]:
        """Take a bucket from DDP, and its gradients by name: views of its buffer, into which what comes back goes."""

    @abstractmethod
    def owed(self) -> dict[str, Tensor]:
        """What this worker has yet to say, by parameter name, so that the mean over all of it is what is owed."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What it remembers: copies."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on from a `state_dict`; all workers together."""

    @abstractmethod
    def close(self) -> None:
        """End what runs beside the backward pass."""


class ByLink(Way):
    """A reducer's frames, and the thread that sends them.

    A frame leaves when its last gradient has been computed, which is earlier than the bucket that DDP puts it in; a
    bucket is done when the last of its parameters is back.
    """

    def __init__(self, reducer: Reducer, sparse: Sequence[str], pg: torch.distributed.ProcessGroup) -> None:
        self.reducer, self._pg = reducer, pg
        last = len(reducer.frames) - 1
        self._place = {slot.name: i for i, frame in enumerate(reducer.frames) for slot in frame.slots}
        self._place |= dict.fromkeys(sparse, last)
        self._frames = [Delivery(frame) for frame in reducer.frames[:last]]
        self._frames.append(Delivery(reducer.frames[last], waits_for=sparse))
        self._engine = Engine(reducer)
        weakref.finalize(self, self._engine.end)  # the thread of a wire that is dropped without `close`

    @property
    def name(self) -> str:
        return str(self.reducer.settings.policy)

    @property
    def steps(self) -> int:
        return self.reducer.steps

    @property
    def tallies(self) -> tuple[Tally, Tally]:
        return self.reducer.last, self.reducer.total

    @property
    def routes(self) -> tuple[str, ...]:
        return self.reducer.routes

    @property
    def idle(self) -> bool:
        """What a step that failed had led to is not kept: then too the memory is that of the last whole step."""
        return self._engine.error is not None or all(frame.idle for frame in self._frames)

    @property
    def listener(self) -> Listener | None:
        return self.reducer.listener

    @listener.setter
    def listener(self, heard: Listener | None) -> None:
        self.reducer.listener = heard

    @property
    def rates(self) -> Rates:  # type: ignore[override]
        return self.reducer.rates

    def facts(self) -> dict[str, Any]:
        return facts_of(self.reducer)

    def turn(self, link: Link) -> None:
        """Go on by another link; `Reducer.turn` says how."""
        self.reducer.turn(link)

    def receive(self, bucket: GradBucket, named: Sequence[tuple[str, Tensor]], scale: Tensor | None) -> Future[Tensor]:
        buffer = bucket.buffer()
        waiting = Bucket(buffer, len(named))
        for name, gradient in named:
            self.take(name, gradient, scale)
            if not buffer.is_sparse:
                self._frames[self._place[name]].claim(name, gradient, waiting, scale)
        return allreduce_hook(self._pg, bucket) if buffer.is_sparse else waiting.future

    def take(self, name: str, gradient: Tensor, scale: Tensor | None) -> None:
        """Take a gradient for its frame, unless it was taken before; a frame that is full leaves.

        A sparse gradient travels by itself, but the last frame waits until it was seen: if it is not finite, neither is
        that frame, so that the step is one for nobody.
        """
        number = self._place[name]
        frame = self._frames[number]
        if name in frame.missing:
            if not gradient.is_sparse:
                self.reducer.put(name, gradient.detach(), scale=scale)
            elif not bool(gradient._values().isfinite().all()):
                frame.hurt = True
            frame.missing.discard(name)
            if not frame.missing:
                if frame.hurt:
                    self.reducer.spoil(number)
                self._engine.submit(number, frame.done, frame.failed)

    def owed(self) -> dict[str, Tensor]:
        """e_i, and of what this worker owes as an owner n times as much: its part of a mean over n."""
        made = {}
        for frame, carrier in zip(self.reducer.frames, self.reducer.carriers, strict=True):
            vector = _owed(carrier, self.reducer.group.size, self.reducer.group.ranks.start)
            if vector is not None:
                made.update({slot.name: vector[slot.part].view(slot.shape) for slot in frame.slots})
        return made

    def state_dict(self) -> dict[str, Any]:
        return self.reducer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        self.reducer.load_state_dict(state, strict=strict)

    def close(self) -> None:
        self._engine.close()


def _owed(carrier: Carrier, workers: int, rank: int) -> Tensor | None:
    """(d,), or None where nothing is ever owed."""
    parts, total = carrier.state_dict(), None
    for name, (kind, _) in carrier.kept().items():
        if kind not in (Kept.DEBT, Kept.OWED):
            continue
        part = parts[name]
        assert isinstance(part, Tensor)
        if kind is Kept.OWED:
            share = part.shape[1]
            spread = part.new_zeros(share * workers)
            spread[rank * share : (rank + 1) * share] = part[0] * workers
            part = spread[None, : carrier.d]
        total = part[0].clone() if total is None else total + part[0]
    return total
