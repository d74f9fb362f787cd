"""Selectors: which coordinates travel. `select >> code` says how; a selector by itself sends float32."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from thinwire import kernels
from thinwire._check import call, fault
from thinwire.compressors.base import Compressor, Onto, whole
from thinwire.compressors.plain import Identity
from thinwire.kernels.arith import rank_sum
from thinwire.kernels.format import Blocks
from thinwire.kernels.pack import packed_size
from thinwire.keys import Key, Purpose
from thinwire.payload import Payload

if TYPE_CHECKING:
    from thinwire.compressors.combine import Chain

LARGEST_BLOCK = 1 << 16


class Picked(NamedTuple):
    """What a selector took from (rows, d)."""

    values: Tensor
    """(rows, kept(d))"""
    side: Tensor
    """(rows, side_bytes(d)) uint8"""
    bad: Tensor
    """(rows,) bool: which rows hold a NaN or an Inf, kept or not."""


class Selector(Compressor):
    """A compressor that keeps some coordinates, and can send them by any code."""

    @property
    def dense(self) -> bool:
        return False

    def bind(self, workers: int) -> Selector:
        return self

    @abstractmethod
    def kept(self, d: int) -> int:
        """How many values of a vector of length d travel."""

    def side_bytes(self, d: int) -> int:
        """Bytes that say which they are; 0 where the key says it."""
        return 0

    @abstractmethod
    def pick(self, x: Tensor, key: Key) -> Picked:
        """What travels of x (rows, d), and which rows of all of x are not finite."""

    @abstractmethod
    def place(self, values: Tensor, side: Tensor, d: int, key: Key, workers: int = 1) -> Tensor:
        """The values back at their coordinates, scaled as the selection asks: (rows, d).

        Of rows of several workers, all of the first worker's first, the sums over the workers, in rank order.
        """

    def _alone(self) -> Chain:
        return self >> Identity()  # type: ignore[return-value]  # a selector and a code make a chain

    @property
    def summable(self) -> bool:
        return self._alone().summable

    @property
    def element(self) -> torch.dtype:  # type: ignore[override]  # a class attribute everywhere else
        return torch.float32

    def nbytes(self, d: int) -> int:
        return self._alone().nbytes(d)

    def flag_at(self, d: int) -> int:
        return self._alone().flag_at(d)

    def pack(self, x: Tensor, key: Key) -> Tensor:
        return self._alone().pack(x, key)

    def unpack(self, payload: Payload) -> Tensor:
        return self._alone().unpack(payload)

    def decode_mean(
        self, payload: Payload, workers: int, onto: Onto, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        return self._alone().decode_mean(payload, workers, onto, dtype)


def count_of(k: float, of: int) -> int:
    """How many of `of` things k means, 1 or more: k of them if it is an int, the fraction k if it is a float."""
    wanted = k if isinstance(k, int) else round(k * of)
    return max(1, min(int(wanted), of)) if of else 0


def check_count(cls: str, k: float) -> None:
    """Raise ValueError unless k is a positive int or a fraction in (0, 1]."""
    good = (k >= 1) if isinstance(k, int) else (0 < k <= 1)
    if isinstance(k, bool) or not good:
        raise ValueError(fault(call(cls, k=k), "k is a positive number of coordinates, or a fraction in (0, 1]", k))


def _nothing(x: Tensor) -> Tensor:
    """The side information of a selector whose key says everything."""
    return x.new_empty(len(x), 0, dtype=torch.uint8)


def equal_blocks(d: int, block: int) -> Blocks:
    """d cut into as few equal blocks as `block` allows, the last one filled up with zeros."""
    count = -(-d // block)
    return Blocks(d, count, -(-d // count) if count else 0)


@dataclass(frozen=True, repr=False)
class RandK(Selector):
    """Keep k coordinates chosen uniformly at random, times d / k. The key tells which: no index travels.

    `k` counts coordinates (int) or is a fraction of d (float). With `block` > 1 whole runs of `block` consecutive
    coordinates are kept or not: about three times faster on large vectors, with the same ω. With `shared=True` all
    workers keep the same coordinates: payloads can be summed on the wire, but errors no longer average out.

    ω = d / k − 1, tight. Source: Stich et al., "Sparsified SGD with memory" (NeurIPS 2018), scaled to be unbiased.

    >>> import torch, thinwire as tw
    >>> C = tw.RandK(2)
    >>> C.decode(C.encode(torch.ones(1, 4), tw.Key())).sum().item(), C.omega(4), C.nbytes(4)
    (4.0, 1.0, 12)
    """

    k: float
    block: int = 1
    shared: bool = False

    unbiased = True

    def __post_init__(self) -> None:
        check_count("RandK", self.k)
        whole("RandK", "block", self.block, 1, LARGEST_BLOCK)

    def _counts(self, d: int) -> tuple[Blocks, int]:
        blocks = equal_blocks(d, self.block)
        k = self.k if isinstance(self.k, float) else max(1, round(self.k / max(blocks.size, 1)))
        return blocks, count_of(k, blocks.count)

    def omega(self, d: int) -> float | None:
        blocks, keep = self._counts(d)
        return blocks.count / keep - 1 if d else 0.0

    def kept(self, d: int) -> int:
        blocks, keep = self._counts(d)
        return keep * blocks.size

    def _which(self, key: Key, d: int) -> Tensor:
        """(rows, keep): the numbers of the runs that are kept, ascending."""
        blocks, keep = self._counts(d)
        return kernels.smallest_draws(key.stream(Purpose.SELECT, shared=self.shared), keep, blocks.count)

    def pick(self, x: Tensor, key: Key) -> Picked:
        d = x.shape[1]
        values, bad = kernels.pick_runs(x, self._which(key, d).to(x.device), self._counts(d)[0])
        return Picked(values, _nothing(x), bad)

    def place(self, values: Tensor, side: Tensor, d: int, key: Key, workers: int = 1) -> Tensor:
        blocks, keep = self._counts(d)
        which = self._which(key, d).to(values.device)
        return kernels.place_runs(values, which, blocks, blocks.count / max(keep, 1), workers)


@dataclass(frozen=True, repr=False)
class PermK(Selector):
    """A random permutation, drawn by all alike, deals the coordinates out: each worker sends its share, times n.

    The mean is exact when all workers' vectors are equal: ω = n − 1 for each, but only
    E‖mean C(x_i) − x̄‖² ≤ mean‖x_i‖² − ‖x̄‖² together. With more workers than coordinates each sends one, times d.
    Source: Szlendak, Tyurin, Richtárik, "Permutation compressors" (ICLR 2022).

    `workers` is filled in by the group that uses it.

    >>> import torch, thinwire as tw
    >>> C = tw.PermK(workers=3)
    >>> C.decode(C.encode(torch.ones(3, 7), tw.Key(ranks=range(3)))).mean(0)
    tensor([1., 1., 1., 1., 1., 1., 1.])
    """

    workers: int | None = None

    unbiased = True

    def __post_init__(self) -> None:
        if self.workers is not None:
            whole("PermK", "workers", self.workers, 1, 1 << 23)

    def bind(self, workers: int) -> PermK:
        return replace(self, workers=workers)

    @property
    def n(self) -> int:
        """The number of workers, or an error that says who knows it."""
        if self.workers is None:
            raise ValueError(
                fault("PermK()", "it needs the number of workers", None, "A group fills it in; or PermK(workers=n).")
            )
        return self.workers

    def omega(self, d: int) -> float | None:
        return float(max(min(self.n, d) - 1, 0))

    def mean_variance(self, d: int, workers: int) -> float:
        return d * -(-self.n // d) / self.n if self.n > d > 0 else float(d > 0)

    def kept(self, d: int) -> int:
        return -(-d // self.n)

    def _where(self, key: Key, d: int) -> Tensor:
        """(rows, kept) coordinates of each worker; d, one past the end, where its share is one short.

        Worker i takes the permuted positions i + u, i + u + n, …, with a turn u that is drawn as well: without it the
        first workers would have one coordinate more than the others whenever n does not divide d.
        """
        order = kernels.ranked_draws(key.of(range(1)).stream(Purpose.SELECT, shared=True), d)
        dealt, kept = min(self.n, d), self.kept(d)
        turn = int(key.uniform(Purpose.OWNER) * dealt)
        rank = torch.arange(key.ranks.start, key.ranks.stop, key.ranks.step)
        if kept * dealt > d:
            order = torch.nn.functional.pad(order, (0, kept * dealt - d), value=d)
        return order.view(-1, kept, dealt)[:, :, (rank + turn) % dealt].permute(2, 0, 1).flatten(0, 1)

    def pick(self, x: Tensor, key: Key) -> Picked:
        d = x.shape[1]
        if not d:
            return Picked(x, _nothing(x), kernels.nonfinite(x))
        where = self._where(key, d).to(x.device)
        last = where[:, -1:]
        short = last == d
        last.clamp_(max=d - 1)
        values = x.gather(1, where)
        values[:, -1:].masked_fill_(short, 0.0)
        return Picked(values, _nothing(x), kernels.nonfinite(x))

    def place(self, values: Tensor, side: Tensor, d: int, key: Key, workers: int = 1) -> Tensor:
        out = values.new_zeros(len(values), d + 1)
        if d:
            out.scatter_(1, self._where(key, d).to(values.device), values * float(min(self.n, d)))
        return out[:, :d] if workers == 1 else rank_sum(out[:, :d].reshape(workers, -1, d))


@dataclass(frozen=True, repr=False)
class TopK(Selector):
    """Keep the k largest magnitudes, as they are: biased, δ = k / d. On a tie the lower coordinate.

    Vectors longer than `block` are cut into equal blocks, each of which keeps its own share: selection stays in cache
    and an index takes ⌈log2 block⌉ bits. `k` counts coordinates of the whole vector (int) or is a fraction (float).
    Source: Alistarh et al., "The convergence of sparsified gradient methods" (NeurIPS 2018).

    >>> import torch, thinwire as tw
    >>> C = tw.TopK(1)
    >>> C.decode(C.encode(torch.tensor([[1.0, -5.0, 2.0]]), tw.Key()))
    tensor([[ 0., -5.,  0.]])
    """

    k: float
    block: int = 4096

    def __post_init__(self) -> None:
        check_count("TopK", self.k)
        whole("TopK", "block", self.block, 1, LARGEST_BLOCK)

    def _counts(self, d: int) -> tuple[Blocks, int]:
        blocks = equal_blocks(d, self.block)
        k = self.k if isinstance(self.k, float) else -(-self.k // max(blocks.count, 1))
        return blocks, count_of(k, blocks.size)

    def omega(self, d: int) -> float | None:
        return None

    def delta(self, d: int) -> float | None:
        blocks, keep = self._counts(d)
        return keep / blocks.size if d else 1.0

    def kept(self, d: int) -> int:
        blocks, keep = self._counts(d)
        return blocks.count * keep

    def side_bytes(self, d: int) -> int:
        blocks, keep = self._counts(d)
        return blocks.count * packed_size(keep, kernels.index_bits(blocks))

    def pick(self, x: Tensor, key: Key) -> Picked:
        return Picked(*kernels.pick_largest(x, *self._counts(x.shape[1])))

    def place(self, values: Tensor, side: Tensor, d: int, key: Key, workers: int = 1) -> Tensor:
        return kernels.place_largest(values, side, *self._counts(d), workers)
