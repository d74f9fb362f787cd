"""What a kernel is compiled for: the format, the power of two that holds a block, and whether a block fills it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from thinwire.kernels.format import SMALLEST_ROTATION, Format, Kind
from thinwire.kernels.pack import fields
from thinwire.kernels.rotate import CENTROIDS

LARGEST_TILE = 4096
"""The largest block that a program holds in its registers."""
WARP_TILE = 512
"""How many elements of a block a warp holds, 16 for each thread: with 32, some kernels run out of registers."""


@dataclass(frozen=True)
class Plan:
    """Everything that is known when a kernel is compiled; one such constant is one build.

    `tile` is the power of two, 128 at least, that holds a block; `full`: blocks have that very size.
    """

    kind: str
    levels: int
    euclidean: bool
    nearest: bool
    least_error: bool
    scaled: bool
    bits: int
    fields: tuple[int, ...]
    centroids: tuple[float, ...]
    thresholds: tuple[float, ...]
    root: float
    tile: int
    dims: int
    full: bool
    counters: int
    """How many Philox counters a block's draws take, or room for so many."""

    @property
    def warps(self) -> int:
        return max(1, self.tile // WARP_TILE)


def tile(fmt: Format, d: int) -> int:
    """The power of two, 128 at least, that holds one block of a vector of length d.

    >>> tile(Format(Kind.SIGN, 1, block=1024), 1500)
    1024
    """
    return max(128, 1 << (fmt.blocks(d).size - 1).bit_length())


@lru_cache(maxsize=256)
def plan(fmt: Format, d: int) -> Plan:
    """The build for blocks of vectors of length d, which are not empty."""
    size, room = fmt.blocks(d).size, tile(fmt, d)
    rotated = fmt.kind is Kind.ROTATED
    drawn = fmt.kind is not Kind.SIGN and not fmt.nearest
    centroids = CENTROIDS[fmt.bits] if rotated else ()
    return Plan(
        kind=fmt.kind.value,
        levels=fmt.levels,
        euclidean=fmt.euclidean,
        nearest=fmt.nearest,
        least_error=fmt.least_error,
        scaled=fmt.scaled,
        bits=fmt.bits,
        fields=fields(fmt.bits),
        centroids=centroids,
        thresholds=tuple((low + high) / 2 for low, high in pairwise(centroids)),
        root=1.0 / math.sqrt(size),
        tile=room,
        dims=room.bit_length() - 1,
        full=size == room,
        counters=2 * room // SMALLEST_ROTATION if rotated else room // 8 if drawn else 1,
    )
