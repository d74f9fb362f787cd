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

from thinwire.comm.base import Group, Pending
from thinwire.compressors import Compressor
from thinwire.kernels.arith import rank_sum
from thinwire.keys import Key
from thinwire.payload import Payload, view

ROUND_BYTES = 16_384
"""What one more collective costs, in bytes: about a millisecond at 100 Mb/s."""

T = TypeVar("T")
Steps = Generator[Pending, Tensor, T]


@dataclass(frozen=True)
class Heard:
    """What came of a round: `own` (rows, d) decoded from this process' payloads, the `mean`, whether all was finite.

    Both are of the dtype that the route was asked for: means of float32 values in float64 are as good as exact.
    """

    own: Tensor | None
    mean: Tensor
    finite: bool


def share(d: int, workers: int) -> int:
    """Coordinates that each worker owns; the last owners' may be fewer, or none."""
    return -(-d // workers)


def shards(x: Tensor, workers: int) -> Tensor:
    """(rows, d) -> (rows, workers, share), filled up with zeros."""
    padding = share(x.shape[1], workers) * workers - x.shape[1]
    return (torch.nn.functional.pad(x, (0, padding)) if padding else x).reshape(len(x), workers, -1)


def gather(group: Group, compressor: Compressor, payload: Payload, dtype: torch.dtype) -> Steps[Heard]:
    """1. All-gather the payloads. 2. Decode all of them. 3. Average in rank order."""
    gathered = yield group.all_gather(payload.data)
    everyone = Payload(gathered, payload.d, payload.key.of(range(group.size)))
    decoded = compressor.decode(everyone).to(dtype)
    own = decoded[group.ranks.start : group.ranks.stop]
    return Heard(own, rank_sum(decoded) / group.size, not bool(compressor.flags(everyone.data, payload.d).any()))


def allreduce(group: Group, compressor: Compressor, payload: Payload, dtype: torch.dtype) -> Steps[Heard]:
    """1. All-to-all shares of the elements. 2. Each owner averages its share in rank order. 3. All-gather the means.

    The flag is an element like the others: a NaN in one of them is a NaN in the mean.
    """
    elements = view(payload.data, compressor.element)
    size = elements.shape[1]
    cut = shards(elements, group.size)
    shares = yield group.all_to_all(cut.view(torch.uint8))
    received = shares.view(compressor.element)
    means = torch.stack([rank_sum(row.to(dtype)) for row in received]) / group.size
    gathered = yield group.all_gather(means.to(compressor.element).view(torch.uint8))
    joined = gathered.view(compressor.element).reshape(1, -1)[:, :size].contiguous()
    together = Payload(joined.view(torch.uint8), payload.d, payload.key.of(group.ranks[:1]))
    finite = not bool(compressor.flags(together.data, payload.d).any())
    return Heard(compressor.decode(payload).to(dtype), compressor.decode(together)[0].to(dtype), finite)


def to_owners(group: Group, compressor: Compressor, x: Tensor, key: Key, *, listen: bool) -> Steps[Heard]:
    """The sharded route's way up: `mean` is (rows, share), that of the coordinates which this process' workers own.

    The dtype is that of x.

    1. Encode each share by itself. 2. All-to-all; meanwhile decode what was sent, if asked to `listen` to it.
    3. Each owner decodes its n payloads and averages in rank order.
    """
    rows, n, d = len(x), group.size, x.shape[1]
    payload = compressor.encode(shards(x, n).reshape(rows * n, -1), key.cut(range(n)))
    pending = group.all_to_all(payload.data.view(rows, n, -1))
    own = compressor.decode(payload).to(x.dtype).reshape(rows, -1)[:, :d] if listen else None
    received = yield pending
    arrived = Payload(received.transpose(0, 1).reshape(n * rows, -1), payload.d, key.of(range(n)).cut(group.ranks))
    means = rank_sum(compressor.decode(arrived).to(x.dtype).reshape(n, rows, arrived.d)) / n
    return Heard(own, means, not bool(compressor.flags(arrived.data, arrived.d).any()))


def from_owners(group: Group, compressor: Compressor, payload: Payload, dtype: torch.dtype) -> Steps[Heard]:
    """The way down: (rows, share) payloads of the owners -> `mean` (n, share), what everyone decodes."""
    gathered = yield group.all_gather(payload.data)
    everyone = Payload(gathered, payload.d, payload.key.of(range(group.size)))
    decoded = compressor.decode(everyone).to(dtype)
    own = decoded[group.ranks.start : group.ranks.stop]
    return Heard(own, decoded, not bool(compressor.flags(everyone.data, payload.d).any()))
