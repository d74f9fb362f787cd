"""Where groups and compressors meet, and nowhere else: the mean of compressed vectors, by three routes.

Every rank gets the same bits, since decoded vectors are summed in rank order (`rank_sum`), whatever moves the bytes.

- gather: everyone gets all payloads. A worker sends (n − 1) P for a payload of P bytes.
- allreduce: of summable payloads, whose elements are summed by the owner of each share and sent back as they are.
  A worker sends 2 (n − 1)/n P, as a ring all-reduce does.
- sharded: everyone owns a share of the coordinates, gets it from all, compressed, and sends its mean to all, compressed
  again by a downlink. A worker sends (n − 1)/n P up, and as much down: independent of n.

The functions are generators: each yields the collective it waits for and is sent its result, so that whoever drives
them can do other work meanwhile.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from thinwire.comm.base import Group, Lane, Pending
from thinwire.compressors import Compressor
from thinwire.compressors.base import Onto
from thinwire.kernels.arith import rank_mean
from thinwire.payload import Payload, view

ROUND_BYTES = 16_384
"""What one more collective costs, in bytes: about a millisecond at 100 Mb/s."""

T = TypeVar("T")
Steps = Generator[Pending, Tensor, T]


@dataclass(frozen=True)
class Heard:
    """What came of a round.

    Args:
        estimate: what `onto` made of the mean: one row, or one for each share.
        after: what it keeps.
        own: (rows, d), decoded from this process' payloads, where it was asked for.
        finite: whether all was.
    """

    estimate: Tensor
    after: Tensor | None
    own: Tensor | None
    finite: bool


def share(d: int, workers: int) -> int:
    """Coordinates that each worker owns; the last owners' may be fewer, or none."""
    return -(-d // workers)


def shards(x: Tensor, workers: int) -> Tensor:
    """(rows, d) -> (rows, workers, share), filled up with zeros."""
    padding = share(x.shape[1], workers) * workers - x.shape[1]
    return (torch.nn.functional.pad(x, (0, padding)) if padding else x).reshape(len(x), workers, -1)


def gather(
    group: Group, compressor: Compressor, payload: Payload, onto: Onto, dtype: torch.dtype, *, listen: bool
) -> Steps[Heard]:
    """1. All-gather the payloads; meanwhile decode what was sent, if asked to `listen`. 2. Average in rank order."""
    pending = group.all_gather(payload.data)
    own = compressor.decode(payload).to(dtype) if listen else None
    everyone = Payload((yield pending), payload.d, payload.key.of(range(group.size)))
    estimate, after = compressor.decode_mean(everyone, group.size, onto, dtype)
    return Heard(estimate, after, own, _finite(compressor, everyone))


def allreduce(
    group: Group, compressor: Compressor, payload: Payload, onto: Onto, dtype: torch.dtype, *, listen: bool
) -> Steps[Heard]:
    """1. All-to-all shares of the elements. 2. Each owner averages its share in rank order. 3. All-gather the means.

    The flag is an element like the others: a NaN in one of them is a NaN in the mean.
    """
    elements = view(payload.data, compressor.element)
    size = elements.shape[1]
    cut = shards(elements, group.size)
    shares = yield group.all_to_all(cut.view(torch.uint8))
    received = shares.view(compressor.element)
    means = rank_mean(received.to(dtype).transpose(0, 1))
    pending = group.all_gather(means.to(compressor.element).view(torch.uint8), Lane.OWNERS)
    own = compressor.decode(payload).to(dtype) if listen else None
    gathered = yield pending
    joined = gathered.view(compressor.element).reshape(1, -1)[:, :size].contiguous()
    together = Payload(joined.view(torch.uint8), payload.d, payload.key.of(group.ranks[:1]))
    estimate, after = compressor.decode_mean(together, 1, onto, dtype)
    return Heard(estimate, after, own, _finite(compressor, together))


def to_owners(
    group: Group, compressor: Compressor, payload: Payload, onto: Onto, dtype: torch.dtype, *, listen: bool
) -> Steps[Heard]:
    """The sharded route's way up. `payload` has rows · n shares of length ⌈d / n⌉, all shares of the first row first.

    The base of `onto`, and so the estimate, is (rows, share): the coordinates that this process' workers own.

    1. All-to-all; meanwhile decode what was sent, if asked to `listen` to it. 2. Each owner averages in rank order.
    """
    rows, n = len(group.ranks), group.size
    pending = group.all_to_all(payload.data.view(rows, n, -1))
    own = compressor.decode(payload).to(dtype).reshape(rows, -1) if listen else None
    received = yield pending
    senders = payload.key.of(range(n)).cut(group.ranks)
    arrived = Payload(received.transpose(0, 1).reshape(n * rows, -1), payload.d, senders)
    estimate, after = compressor.decode_mean(arrived, n, onto, dtype)
    return Heard(estimate, after, own, _finite(compressor, arrived))


def from_owners(
    group: Group, compressor: Compressor, payload: Payload, onto: Onto, dtype: torch.dtype, *, listen: bool
) -> Steps[Heard]:
    """The way down: (rows, share) payloads of the owners; the base of `onto`, and so the estimate, is (n, share)."""
    pending = group.all_gather(payload.data, Lane.OWNERS)
    own = compressor.decode(payload).to(dtype) if listen else None
    everyone = Payload((yield pending), payload.d, payload.key.of(range(group.size)))
    estimate, after = compressor.decode_mean(everyone, 1, onto, dtype)
    return Heard(estimate, after, own, _finite(compressor, everyone))


def _finite(compressor: Compressor, payload: Payload) -> bool:
    return not bool(compressor.flags(payload.data, payload.d).any())
