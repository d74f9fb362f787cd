"""Draws of a block, in planes: which bits of which Philox words an element takes is part of the wire format.

A block of B elements with `bits` random bits each uses T = ceil(B · bits / 128) counters (t, block, s2, s3) for
t = start … start + T − 1. Their words lie word-major, W[j] with j = w·T + (t − start), and element e takes slice
⌊e / 4T⌋ (of `bits` bits, lowest first) of W[e mod 4T]: consecutive elements take the same slice of consecutive words,
so vector units need no shuffles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire.keys import MASK, MULTIPLIERS, ROUNDS, WEYL


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor, k1: Tensor) -> tuple[Tensor, ...]:
    """Philox4x32-10 on int64 tensors that hold 32-bit words and broadcast together."""
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = (p1 >> 32 & MASK) ^ (c1 ^ k0), (p0 >> 32 & MASK) ^ (c3 ^ k1)
        c1, c3 = p1 & MASK, p0 & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Draws:
    """The random bits of `c` blocks, side by side: element e of block b at [e, b].

    Args:
        stream: (c, 4) int64, from `Key.stream`.
        block: (c,) int64, the blocks' numbers in their vectors.
        signs: the words of two sets of sign bits, from `sign_words`, where they were drawn beforehand.
    """

    stream: Tensor
    block: Tensor
    signs: Tensor | None = None

    def _words(self, count: int) -> Tensor:
        """(4·count, c) words, word-major."""
        t = torch.arange(count, device=self.stream.device)[:, None].expand(count, len(self.block))
        k0, k1, s2, s3 = self.stream.t()
        return torch.cat(philox(t, self.block[None, :], s2, s3, k0, k1))

    def halves(self, size: int) -> Tensor:
        """(size, c) int32 in [0, 65536): 16 bits an element."""
        words = self._words(-(-size // 8))
        return torch.cat((words & 0xFFFF, words >> 16))[:size].to(torch.int32)

    def words(self, size: int) -> Tensor:
        """(size, c) int64 in [0, 2^32): 32 bits an element."""
        return self._words(-(-size // 4))[:size]

    def sign_words(self, size: int) -> Tensor:
        """(2, 4T, c) int32: the words behind the two sets of sign bits, set k of the counters kT … (k + 1)T − 1."""
        count = -(-size // 128)
        words = self._words(2 * count).to(torch.int32).view(4, 2, count, -1)
        return words.transpose(0, 1).reshape(2, 4 * count, -1)

    def sign_bits(self, size: int, which: int) -> Tensor:
        """(size, c) int32 whose top bit is random and whose other bits are 0; `which` is 0 or 1."""
        words = (self.sign_words(size) if self.signs is None else self.signs)[which]
        up = torch.arange(31, -1, -1, dtype=torch.int32, device=words.device)[:, None, None]
        return ((words << up) & -(2**31)).flatten(0, 1)[:size]

    def part(self, which: slice) -> Draws:
        """The draws of some of the blocks."""
        return Draws(self.stream[which], self.block[which], None if self.signs is None else self.signs[:, :, which])
