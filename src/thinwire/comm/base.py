"""Who the workers are, and how their bytes move: two collectives, from which every route is made."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from thinwire._check import fault


class PeerError(RuntimeError):
    """A worker is gone, silent, or set up differently, or its bytes were damaged; the message names it.

    `step` is the step of training in which that was found, if it was in one; the message ends with it. Steps that were
    not finite are not counted, as in `state_dict`.

    >>> import thinwire as tw
    >>> raise tw.PeerError("thinwire: a collective failed: no answer from rank 2.")
    Traceback (most recent call last):
    thinwire.comm.base.PeerError: thinwire: a collective failed: no answer from rank 2.
    """

    step: int | None = None

    def __str__(self) -> str:
        return super().__str__() if self.step is None else f"{super().__str__()} This was in step {self.step}."


def _at_once(heard: Callable[[], None]) -> None:
    heard()


@dataclass(frozen=True)
class Pending:
    """A collective under way.

    Args:
        wait: gives its result, or raises PeerError at its time limit.
        done: whether `wait` would return, or raise, without waiting.
        notify: takes a function that is to be called when it is done, from whatever thread notices.
        look: raises PeerError if its time is over or another worker has given the group up.
    """

    wait: Callable[[], Tensor]
    done: Callable[[], bool] = lambda: True
    notify: Callable[[Callable[[], None]], None] = _at_once
    look: Callable[[], None] = lambda: None


class Lane(IntEnum):
    """Collectives of one lane are started by all processes in the same order; the lanes do not know of each other."""

    WORKERS = 0
    OWNERS = 1


class Group(ABC):
    """A fixed set of `size` workers, of which this process holds `ranks`.

    Worker-space tensors have one row for each rank held. Both collectives take and give uint8, start at once, and are
    to be waited for in any order; all processes must start those of one lane in the same order. What a group sends
    beside the bytes that it is given, a checksum of 4 bytes a block or the headers of TCP, is in nobody's count.

    >>> import torch, thinwire as tw
    >>> group = tw.LocalGroup(2)
    >>> group.all_gather(torch.tensor([[1], [2]], dtype=torch.uint8)).wait().tolist()
    [[1], [2]]
    >>> group.all_to_all(torch.tensor([[[1], [2]], [[3], [4]]], dtype=torch.uint8)).wait().tolist()
    [[[1], [3]], [[2], [4]]]
    """

    size: int
    ranks: range
    device: torch.device

    @abstractmethod
    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """Everyone gets what everyone has: (rows, B) -> (size, B), in rank order."""

    @abstractmethod
    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """Everyone gets what is addressed to it: (rows, size, B) -> (rows, size, B), out[r, i] from worker i."""

    def close(self) -> None:  # noqa: B027  # most groups hold nothing that would have to be given back
        """Use the group no more. All processes call this."""

    def agree(self, facts: Mapping[str, object]) -> None:
        """Raise PeerError unless all processes hold the same facts, naming the first that differs and who differs.

        1. A digest of the facts is gathered: 32 bytes. If all are equal, that is all.
        2. Otherwise the facts themselves are gathered, and compared with those of rank 0.
        """
        text = "\n".join(f"{name} = {value}" for name, value in facts.items())
        digests = self._tell(self._rows(hashlib.sha256(text.encode()).digest()))
        if bool((digests == digests[0]).all()):
            return
        length = torch.tensor([len(text.encode())], dtype=torch.int64).view(torch.uint8).numpy().tobytes()
        lengths = self._tell(self._rows(length)).view(torch.int64)[:, 0]
        padded = text.encode().ljust(int(lengths.max()), b"\0")
        everyone = self._tell(self._rows(padded)).numpy()
        said = [bytes(row).rstrip(b"\0").decode(errors="replace").split("\n") for row in everyone]
        for rank, lines in enumerate(said):
            for ours, theirs in zip(said[0] + [""] * len(lines), lines + [""] * len(said[0]), strict=False):
                if ours != theirs:
                    rule = f"rank 0 has {ours or 'nothing more'!r}, rank {rank} has {theirs or 'nothing more'!r}"
                    way_out = "All workers must run the same program with the same arguments."
                    raise PeerError(fault("thinwire: the workers differ", rule, None, way_out))
        raise PeerError(fault("thinwire: the workers differ", "their configuration digests differ"))

    def _tell(self, data: Tensor) -> Tensor:
        return self.all_gather(data).wait().cpu()

    def _rows(self, data: bytes) -> Tensor:
        one = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device)
        return one.repeat(len(self.ranks), 1)
