"""n workers in this process: a simulation, or the oracle that real groups are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire._check import call, in_range
from thinwire.comm.base import Group, Lane, Pending

CPU = torch.device("cpu")


@dataclass(frozen=True)
class LocalGroup(Group):
    """All `size` workers as rows of one matrix.

    >>> import torch, thinwire as tw
    >>> v = torch.randn(8, 100)
    >>> estimate = tw.all_reduce(v, tw.dcgd(tw.Identity()), tw.LinkMemory(), group=tw.LocalGroup(8))
    >>> bool(torch.allclose(estimate, v.mean(0), atol=1e-6))
    True
    """

    size: int
    device: torch.device = CPU

    def __post_init__(self) -> None:
        in_range(call("LocalGroup", size=self.size), "size", self.size, 1, 1 << 20)

    @property
    def ranks(self) -> range:  # type: ignore[override]  # a plain attribute elsewhere
        return range(self.size)

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        return Pending(lambda: data)

    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        return Pending(lambda: data.transpose(0, 1).contiguous())
