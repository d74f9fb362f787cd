"""Randomness as a counter: every draw is a function of (seed, step, tensor, rank or "shared", purpose).

No global generator is ever touched, so a payload is a pure function of (x, key), a receiver can redo any draw of any
sender, and a run that is resumed draws what it would have drawn. The generator is Philox4x32-10 (Salmon, Moraes, Dror,
Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): stateless, random access, the same on every device.

A key names a stream of draws by 128 derived bits: Philox of the counter (step, tensor, share, rank and purpose) under
the seed. The first two words become the key of the stream's own draws, the other two the high words of
their counters; the low words count draws inside a block and blocks inside a vector (see docs/wire-format.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thinwire._check import call, fault

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
SHARED = 0xFFFFFF
"""The rank that stands for "all workers alike"."""

Words = npt.NDArray[np.uint64]


class Purpose(IntEnum):
    """What a stream is for; streams of one key with different purposes are independent."""

    CODE = 0
    SELECT = 1
    COIN = 2
    OWNER = 3


@dataclass(frozen=True)
class Key:
    """The counter behind the randomness of one message per row.

    Args:
        seed: the run's seed, 64 bits.
        step: the optimisation step, 32 bits.
        tensor: which vector of the step, 32 bits.
        ranks: the workers whose rows these are, in order.
        shares: the shares of each worker's vector, in order; rows run over ranks, then over shares.
        level: which of several compressions of the same vector, see `child`.

    >>> key = Key(seed=0, step=3, tensor=1, ranks=range(2))
    >>> key.stream(Purpose.CODE).shape
    torch.Size([2, 4])
    >>> bool((key.stream(Purpose.CODE)[1] == key.of(range(1, 2)).stream(Purpose.CODE)[0]).all())
    True
    """

    seed: int = 0
    step: int = 0
    tensor: int = 0
    ranks: range = range(1)
    shares: range = range(1)
    level: int = 0

    def __post_init__(self) -> None:
        for name, bits in (("seed", 64), ("step", 32), ("tensor", 32), ("level", 5)):
            value = getattr(self, name)
            if not 0 <= value < 2**bits:
                raise ValueError(
                    fault(call("Key", **{name: value}), f"{name} must fit in {bits} bits, unsigned", value)
                )
        if len(self.ranks) and not 0 <= min(self.ranks) <= max(self.ranks) < SHARED:
            raise ValueError(fault(call("Key", ranks=self.ranks), f"ranks must be 0 to {SHARED - 1}", self.ranks))
        if len(self.shares) and not 0 <= min(self.shares) <= max(self.shares) <= MASK:
            raise ValueError(fault(call("Key", shares=self.shares), f"shares must be 0 to {MASK}", self.shares))

    @property
    def rows(self) -> int:
        """How many rows the key is for."""
        return len(self.ranks) * len(self.shares)

    def of(self, ranks: range) -> Key:
        """The same key for other workers."""
        return replace(self, ranks=ranks)

    def cut(self, shares: range) -> Key:
        """The same key for these shares of each worker's vector."""
        return replace(self, shares=shares)

    def child(self) -> Key:
        """An independent key, for a second compression of the same step (a downlink, the second part of Induced)."""
        return replace(self, level=self.level + 1)

    def stream(self, purpose: Purpose, *, shared: bool = False) -> Tensor:
        """The 4 words (key, key, counter 2, counter 3) of each row's stream: int64 of shape (rows, 4)."""
        return torch.from_numpy(_streams(self, purpose, shared).astype(np.int64))

    def uniform(self, purpose: Purpose) -> float:
        """One number in [0, 1) that all workers draw alike."""
        return float(_streams(self.of(range(1)).cut(range(1)), purpose, True)[0, 0]) / 2**32


def philox(counter: Words, key: Words) -> Words:
    """Philox4x32-10 on 32-bit words held in uint64: counter (..., 4), key (..., 2) -> (..., 4).

    The two halves of a round lie side by side, (…, 2): with few rows the number of operations is what costs.
    """
    multipliers, weyl = np.array(MULTIPLIERS, np.uint64), np.array(WEYL, np.uint64)
    mask, shift = np.uint64(MASK), np.uint64(32)
    even, odd = counter[..., 0::2], counter[..., 1::2]
    for _ in range(ROUNDS):
        product = multipliers * even
        even = (product >> shift)[..., ::-1] ^ odd ^ key
        odd = (product & mask)[..., ::-1]
        key = (key + weyl) & mask
    return np.stack((even, odd), axis=-1).reshape(counter.shape)


def philox_one(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """The same of one counter, in Python's own integers: for a few rows NumPy's calls cost more than its work.

    >>> [hex(word) for word in philox_one((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & MASK, p0 >> 32 ^ c3 ^ k1, p0 & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3


FEW = 16
"""Rows up to which the streams are made one by one."""


@lru_cache(maxsize=256)
def _streams(key: Key, purpose: Purpose, shared: bool) -> Words:
    seed = key.seed & MASK, key.seed >> 32
    if key.rows <= FEW:
        words = np.array(
            [
                philox_one(
                    (key.step, key.tensor, share, (SHARED if shared else rank) << 8 | key.level << 3 | purpose), seed
                )
                for rank in key.ranks
                for share in key.shares
            ],
            np.uint64,
        ).reshape(key.rows, 4)
    else:
        who = np.repeat(np.array(key.ranks, np.uint64), len(key.shares))
        if shared:
            who[:] = SHARED
        counter = np.empty((key.rows, 4), np.uint64)
        counter[:, 0] = key.step
        counter[:, 1] = key.tensor
        counter[:, 2] = np.tile(np.array(key.shares, np.uint64), len(key.ranks))
        counter[:, 3] = (who << np.uint64(8)) | np.uint64(key.level << 3 | purpose)
        words = philox(counter, np.broadcast_to(np.array(seed, np.uint64), (key.rows, 2)))
    words.flags.writeable = False
    return words
