"""What is kept of a row, and where: plain torch on any device, the oracle of the compiled make."""

from __future__ import annotations

import torch
from torch import Tensor

from thinwire.kernels.arith import rank_sum
from thinwire.kernels.draws import Draws
from thinwire.kernels.format import Blocks
from thinwire.kernels.pack import pack, packed_size, unpack


def nonfinite(x: Tensor) -> Tensor:
    """(rows,) bool: which rows of a floating matrix hold a NaN or an Inf."""
    return ~x.isfinite().all(dim=1)


def smallest_draws(stream: Tensor, count: int, of: int) -> Tensor:
    """(rows, count) int64, ascending: the numbers below `of` whose 32-bit draws are smallest, the lower on a tie.

    Draw number i is element i mod 1024 of block i // 1024, at 32 bits an element.
    """
    return ranked_draws(stream, of)[:, :count].sort(dim=1).values


def ranked_draws(stream: Tensor, of: int) -> Tensor:
    """(rows, of) int64: the numbers below `of` in the order of their 32-bit draws, a random permutation of each row."""
    rows, blocks = len(stream), -(-of // 1024)
    number = torch.arange(rows * blocks, device=stream.device)
    draws = Draws(stream[number // max(blocks, 1)], number % max(blocks, 1)).words(1024)
    return draws.t().reshape(rows, blocks * 1024)[:, :of].argsort(dim=1, stable=True)


def pick_runs(x: Tensor, which: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """The blocks of each row of x whose numbers are `which` (rows, keep), ascending; and `nonfinite` of all of x.

    Gives (rows, keep · size), the last block filled up with zeros, and (rows,) bool.
    """
    return _padded(x, blocks).gather(1, _coordinates(which, blocks)), nonfinite(x)


def place_runs(values: Tensor, which: Tensor, blocks: Blocks, scale: float, workers: int = 1) -> Tensor:
    """Rows of values · scale where `pick_runs` took them from and zeros elsewhere; the sums over the workers.

    Row w · groups + g is worker w's for group g: gives the (groups, d) sums of `rank_sum`, with one worker the rows.
    """
    out = values.new_zeros(len(values), blocks.count * blocks.size)
    return _summed(out.scatter_(1, _coordinates(which, blocks), values * scale)[:, : blocks.d], workers)


def pick_largest(x: Tensor, blocks: Blocks, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` largest magnitudes of each block of each row, ascending in their indices, the lower index on a tie.

    Gives the values (rows, count · keep), the packed indices, and `nonfinite` of x. Magnitudes are compared in float32,
    a NaN above all others.
    """
    cut = _padded(x, blocks).reshape(len(x) * blocks.count, blocks.size)
    where = largest_elements(cut.to(torch.float32), keep)
    values, side = cut.gather(1, where), pack(where.t(), index_bits(blocks)).t()
    return values.view(len(x), blocks.count * keep), side.reshape(len(x), blocks.count * side.shape[1]), nonfinite(x)


def place_largest(values: Tensor, side: Tensor, blocks: Blocks, keep: int, workers: int = 1) -> Tensor:
    """Rows of the values where `pick_largest` took them from and zeros elsewhere, summed as in `place_runs`.

    An index that reaches past a block is taken as its last.
    """
    out = values.new_zeros(len(values) * blocks.count, blocks.size)
    packed = side.reshape(len(out), packed_size(keep, index_bits(blocks))).t()
    where = unpack(packed, keep, index_bits(blocks)).t().clamp(max=blocks.size - 1).to(torch.int64)
    out.scatter_(1, where, values.reshape(len(out), keep))
    return _summed(out.view(len(values), blocks.count * blocks.size)[:, : blocks.d], workers)


def largest_elements(blocks: Tensor, count: int) -> Tensor:
    """(c, count) int64, ascending: where each float32 block has its `count` largest magnitudes, the lower on a tie."""
    size = blocks.shape[1]
    magnitude = (blocks.view(torch.int32) & 0x7FFFFFFF).to(torch.int64)
    order = magnitude << 32 | size - 1 - torch.arange(size, device=blocks.device)
    return order.topk(count, dim=1, sorted=False).indices.sort(dim=1).values


def index_bits(blocks: Blocks) -> int:
    """Bits of an index within a block, on the wire.

    >>> index_bits(Blocks(d=10, count=1, size=10)), index_bits(Blocks(d=3, count=3, size=1))
    (4, 1)
    """
    return max(blocks.size - 1, 1).bit_length()


def _padded(x: Tensor, blocks: Blocks) -> Tensor:
    return torch.nn.functional.pad(x, (0, blocks.padding)) if blocks.padding else x


def _coordinates(which: Tensor, blocks: Blocks) -> Tensor:
    within = torch.arange(blocks.size, device=which.device)
    return (which[:, :, None] * blocks.size + within).flatten(1)


def _summed(rows: Tensor, workers: int) -> Tensor:
    return rows if workers == 1 else rank_sum(rows.reshape(workers, len(rows) // workers, rows.shape[1]))
