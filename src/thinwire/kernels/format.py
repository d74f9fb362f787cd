"""The formats a block code can have, and the bytes they take: what every make of a kernel agrees on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thinwire.kernels.pack import TRITS, packed_size

SMALLEST_ROTATION = 128


class Kind(Enum):
    """How a block of values becomes codes; docs/wire-format.md has each one's arithmetic to the bit."""

    DITHER = "dither"
    SIGN = "sign"
    NATURAL = "natural"
    NATURAL_DITHER = "natural dither"
    ROTATED = "rotated"


@dataclass(frozen=True)
class Blocks:
    """A vector of `d` elements cut into `count` equal blocks of `size`, the last one filled up with zeros."""

    d: int
    count: int
    size: int

    @property
    def padding(self) -> int:
        return self.count * self.size - self.d


@dataclass(frozen=True)
class Format:
    """One block code: `bits` per element on the wire (0: base 3, five to a byte), one float32 per block if `scaled`."""

    kind: Kind
    bits: int
    block: int
    levels: int = 0
    euclidean: bool = False
    """The scale is the block's Euclidean norm, not its largest magnitude."""
    nearest: bool = False
    least_error: bool = False

    @property
    def scaled(self) -> bool:
        return self.kind is not Kind.NATURAL

    def blocks(self, d: int) -> Blocks:
        """Equal blocks, as few as `block` allows; their size is a multiple of 8 unless there is only one.

        >>> Format(Kind.SIGN, 1, block=1024).blocks(1500)
        Blocks(d=1500, count=2, size=752)
        """
        count = -(-d // self.block)
        if self.kind is Kind.ROTATED:
            size = self.block if count > 1 else min(self.block, max(SMALLEST_ROTATION, 1 << max(d - 1, 0).bit_length()))
        else:
            size = min(self.block, -(-d // (8 * count)) * 8) if count > 1 else d
        return Blocks(d, count, size)

    def body(self, size: int) -> int:
        """Bytes of the codes of one block."""
        return packed_size(size, self.bits) if self.bits else -(-size // len(TRITS))

    def nbytes(self, d: int) -> int:
        """Bytes of one row: a float32 for each block, the codes of each block, one flag."""
        blocks = self.blocks(d)
        return blocks.count * (4 * self.scaled + self.body(blocks.size)) + 1
