"""The draws of a run, as functions of (seed, round, rank): coins that all workers share, and each one's samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thinwire.convex.shards import Integers
from thinwire.keys import Key, Purpose, philox

ORACLE, METHOD, PRESENT = 1 << 20, 1 << 21, 1 << 22
"""The tensors, in keys, of draws that belong to no vector."""


@dataclass(frozen=True)
class Draws:
    """What a run draws.

    Args:
        seed: of the run.
        ranks: the workers held.
        largest: m, the samples of the largest shard of all.
        link_flips: whether the link has a coin of its own, by which vectors travel whole.

    >>> draws = Draws(0, range(2), 10)
    >>> draws.samples(3, np.array([10, 5]), 4).shape, draws.coin(3) == Draws(0, range(1, 2), 10).coin(3)
    ((2, 4), True)
    """

    seed: int
    ranks: range
    largest: int
    link_flips: bool = False

    def coin(self, k: int, tensor: int = ORACLE) -> float:
        """Uniform in [0, 1), the same for all workers."""
        return Key(self.seed, k, tensor).uniform(Purpose.COIN)

    def samples(self, k: int, counts: Integers, batch: int) -> Integers:
        """(rows, batch) sample numbers of each worker, with replacement: ⌊u · count⌋ of 32-bit draws u."""
        words = self._words(k, ORACLE, batch)
        return (words * counts.astype(np.uint64)[:, None] >> np.uint64(32)).astype(np.int64)

    def uniforms(self, k: int, tensor: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(rows,): one number in [0, 1) for each worker, of its own."""
        return self.many(k, tensor, 1)[:, 0]

    def many(self, k: int, tensor: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """(rows, count): so many numbers in [0, 1) for each worker, of its own."""
        return self._words(k, tensor, count) / 2.0**32

    def _words(self, k: int, tensor: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
        stream = Key(self.seed, k, tensor, self.ranks).stream(Purpose.SELECT).numpy().astype(np.uint64)
        blocks = -(-count // 4)
        counter = np.zeros((len(stream), blocks, 4), np.uint64)
        counter[..., 0] = np.arange(blocks, dtype=np.uint64)
        counter[..., 2:] = stream[:, None, 2:]
        key = np.broadcast_to(stream[:, None, :2], (len(stream), blocks, 2))
        return philox(counter, key).reshape(len(stream), -1)[:, :count]
