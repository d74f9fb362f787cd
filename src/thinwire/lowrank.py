"""Matrices by two thin factors: the plan of a frame, and the arithmetic of PowerSGD. Nothing here communicates.

Shapes: a stack holds `count` matrices of a × b; their factors are kept as rows, P (count, r, a) and Q (count, r, b), so
that every direction is contiguous and a matrix is Σ_k p_k q_kᵀ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from thinwire._check import call, fault
from thinwire.kernels.arith import largest, powers, root, tree_sum
from thinwire.kernels.draws import Draws
from thinwire.keys import Key, Purpose

ALIGNED = 16
"""Elements to whose multiples stacks and rows of them are laid out: the bits of a product depend on where it begins."""
PIECE = 1 << 15
"""Elements that are worked on at a time, so that they stay in cache."""
NEGLIGIBLE = 2.0**-16
"""A direction of which less than this is left beside the others is rounding: 2^7 float32 roundings of it."""
BLOCK = 1024
"""Elements of a block of draws."""


@dataclass(frozen=True)
class LowRank:
    """PowerSGD: each matrix travels as two thin factors, which are summed on their way, and what is lost is paid later.

    With M_i = G_i + E_i of worker i, a × b, and Q, b × r, of the step before:

        P = mean(M_i Q),  P ← orthonormal columns,  Q_i = M_iᵀ P,  Q = mean(Q_i)
        Ĝ = P Qᵀ,         E_i ← M_i − P Q_iᵀ

    Ĝ is the mean of the M_i, projected on r directions that each step turns towards its largest ones: one step of
    subspace iteration (warm start). E_i is worker i's own remainder. The paper and PyTorch's hook keep M_i − Ĝ instead:
    the mean of the memories, which is all that reaches a model, is the same, but theirs also adds up each worker's
    deviations from the mean for ever, while E_i = (I − PPᵀ) M_i never exceeds M_i.

    A matrix is a parameter of two dimensions or more, its first one by all others (a convolution's outputs by its
    inputs and offsets). What would not shrink, r (a + b) ≥ a b, and vectors travel in 32 bits beside the P.

    Two rounds of float32 sums: 8 r (a + b) (n − 1)/n bytes a worker and matrix, however many workers there are. It is
    biased, and differences need not be small for it, so it takes raw gradients; `momentum` may be added.

    Args:
        rank: r, the directions of each matrix.
        memory: whether what is lost is remembered. Without, small directions may never be learned.

    Raises:
        ValueError: a rank that is no positive whole number.

    Source: Vogels, Karimireddy, Jaggi, "PowerSGD" (NeurIPS 2019), algorithms 1 and 2; E_i as in their package
    epfml/powersgd.

    >>> import torch, thinwire as tw
    >>> tw.LowRank(4), tw.LowRank(1, memory=False), tw.LowRank(2).nbytes([(64, 32), (64,)])
    (LowRank(rank=4), LowRank(rank=1, memory=False), 1032)
    >>> model = torch.nn.Linear(64, 64)
    >>> model(torch.ones(1, 64)).sum().backward()  # a gradient of rank 1
    >>> tw.reduce_gradients_(model.named_parameters(), tw.LowRank(1), tw.LinkMemory(), tw.LocalGroup(1))
    >>> bool((model.weight.grad - 1).abs().max() < 1e-5)
    True
    """

    rank: int
    memory: bool = True

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            rule = "rank must be a whole number, at least 1"
            raise ValueError(fault(call("LowRank", rank=self.rank), rule, self.rank, "4 is usual."))

    def __repr__(self) -> str:
        return f"LowRank(rank={self.rank}{'' if self.memory else ', memory=False'})"

    def nbytes(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """Bytes of what a worker says of parameters of these shapes, in its two messages."""
        plan = Plan.of(self, shapes)
        return 4 * (plan.first + 1) + 4 * (plan.second + 1)


@dataclass(frozen=True)
class Stack:
    """Matrices of one shape: where they lie, one after another, in the memory of M, of all P and of all Q."""

    count: int
    a: int
    b: int
    rank: int
    at: int
    p_at: int
    q_at: int

    def matrices(self, x: Tensor) -> Tensor:
        """(width,) -> (count, a, b)."""
        return x[self.at : self.at + self.count * self.a * self.b].view(self.count, self.a, self.b)

    def left(self, x: Tensor) -> Tensor:
        """All P of a plan -> (count, r, a)."""
        return x[self.p_at : self.p_at + self.count * self.rank * self.a].view(self.count, self.rank, self.a)

    def right(self, x: Tensor) -> Tensor:
        """All Q of a plan -> (count, r, b)."""
        return x[self.q_at : self.q_at + self.count * self.rank * self.b].view(self.count, self.rank, self.b)

    def pieces(self) -> Iterator[tuple[slice, slice]]:
        """Its parts that fit into a cache: several matrices, or some rows of one."""
        if self.a * self.b < PIECE:
            few = PIECE // (self.a * self.b)
            for start in range(0, self.count, few):
                yield slice(start, min(start + few, self.count)), slice(0, self.a)
            return
        rows = max(PIECE // self.b, 1)
        for matrix in range(self.count):
            for start in range(0, self.a, rows):
                yield slice(matrix, matrix + 1), slice(start, min(start + rows, self.a))


@dataclass(frozen=True)
class Move:
    """One matrix: where it lies in the frame, and where in the memory of M."""

    frame: slice
    own: slice


@dataclass(frozen=True)
class Plan:
    """How a vector of parameters is cut: stacks of matrices, and what travels whole.

    Args:
        stacks: of the matrices that become thin factors, in the order in which their shapes first occur.
        moves: of these matrices, stack by stack.
        whole: what travels as it is, as parts of the vector.
        d: the vector's length.
        width: the length of M in memory: the matrices alone, aligned.
        first: elements of the first message, all P and then what is whole.
        second: elements of the second one, all Q.
    """

    stacks: tuple[Stack, ...]
    moves: tuple[tuple[Move, ...], ...]
    whole: tuple[slice, ...]
    d: int
    width: int
    first: int
    second: int

    @classmethod
    def of(cls, link: LowRank, shapes: Sequence[tuple[int, ...]]) -> Plan:
        """The plan of parameters of these shapes, end to end."""
        r, start = link.rank, 0
        whole: list[slice] = []
        by_shape: dict[tuple[int, int], list[slice]] = {}
        for shape in shapes:
            part = slice(start, start := start + prod(shape))
            a, b = (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, prod(shape))
            if r * (a + b) < a * b:
                by_shape.setdefault((a, b), []).append(part)
            else:
                whole.append(part)
        stacks: list[Stack] = []
        moves: list[tuple[Move, ...]] = []
        at = p_at = q_at = 0
        for (a, b), parts in by_shape.items():
            count = len(parts)
            stacks.append(Stack(count, a, b, r, at, p_at, q_at))
            moves.append(tuple(Move(p, slice(at + i * a * b, at + (i + 1) * a * b)) for i, p in enumerate(parts)))
            at = aligned(at + count * a * b)
            p_at, q_at = p_at + count * r * a, q_at + count * r * b
        first = p_at + sum(part.stop - part.start for part in whole)
        return cls(tuple(stacks), tuple(moves), tuple(whole), start, at, first, q_at)

    def gather(self, v: Tensor, error: Tensor | None, out: Tensor) -> None:
        """M ← v + E: v is (rows, d), the others (rows, width)."""
        for move in (move for moves in self.moves for move in moves):
            if error is None:
                out[:, move.own].copy_(v[:, move.frame])
            else:
                torch.add(v[:, move.frame], error[:, move.own], out=out[:, move.own])

    def scatter(self, m: Tensor) -> Tensor:
        """(rows, width) -> (rows, d), zeros where the vector travels whole."""
        out = torch.zeros(len(m), self.d, dtype=m.dtype, device=m.device)
        for move in (move for moves in self.moves for move in moves):
            out[:, move.frame] = m[:, move.own]
        return out

    def said_whole(self, v: Tensor) -> list[Tensor]:
        """What travels whole, as views of v, (…, d)."""
        return [v[..., part] for part in self.whole]

    def basis(self, key: Key, device: torch.device) -> Tensor:
        """All Q before the first step, (second,): uniform in (−1, 1), the same for all workers, exact in float32."""
        blocks = -(-self.second // BLOCK)
        stream = key.stream(Purpose.SELECT, shared=True)[:1].expand(blocks, 4)
        draws = Draws(stream, torch.arange(blocks)).halves(BLOCK)
        uniform = (2 * draws + 1 - (1 << 16)).to(torch.float32) / (1 << 16)
        return uniform.t().reshape(-1)[: self.second].contiguous().to(device)


def aligned(elements: int) -> int:
    """The next multiple of ALIGNED."""
    return -(-elements // ALIGNED) * ALIGNED


def orthonormal(p: Tensor) -> Tensor:
    """(count, r, a) -> the same with orthonormal rows; zeros for a row that is nothing beside those before it.

    Classical Gram–Schmidt, done twice, which is orthogonal to rounding (Giraud, Langou, Rozložník, van den Eshof,
    2005), in float32 operations of a fixed order, like the codes: all workers begin with the same bits, and end with
    the same, whatever their machines. (Of a library's QR each could get other bits, and models would drift.)

    >>> orthonormal(torch.tensor([[[3.0, 0.0, 4.0], [0.0, 2.0, 0.0], [6.0, 2.0, 8.0]]]))
    tensor([[[0.6000, 0.0000, 0.8000],
             [0.0000, 1.0000, 0.0000],
             [0.0000, 0.0000, 0.0000]]])
    """
    p = p * powers(_peaks(p))[0]
    out = torch.zeros_like(p)
    for k in range(p.shape[1]):
        row, before = p[:, k : k + 1], out[:, :k]
        length = root(_sums(row * row))
        if k:
            for _ in range(2):
                shadow = (_sums(before * row) * before).transpose(0, 1)
                row = row - tree_sum(shadow.reshape(k, -1)).view_as(row)
        left = root(_sums(row * row))
        kept = left > NEGLIGIBLE * length
        out[:, k : k + 1] = torch.where(kept, row / torch.where(kept, left, 1.0), 0.0)
    return out


def renewed(q: Tensor, p: Tensor, before: Tensor) -> Tensor:
    """The Q that the next step begins with, (count, r, b): q, each row by a power of two near 1.

    Only directions count, and so M Q is about as large as M. Where P had nothing, the row is what it was before: it
    will be tried again, and is not zero for ever.
    """
    found = (p != 0).any(dim=2, keepdim=True) & (q != 0).any(dim=2, keepdim=True)
    return torch.where(found, q * powers(_peaks(q))[0], before)


def _peaks(x: Tensor) -> Tensor:
    """(count, r, a) -> (count, r, 1): the bits of each row's largest magnitude."""
    return largest(x.reshape(-1, x.shape[2]).t()).view(*x.shape[:2], 1)


def _sums(x: Tensor) -> Tensor:
    """(count, k, a) -> (count, k, 1): sums by halving."""
    return tree_sum(x.reshape(-1, x.shape[2]).t()).view(*x.shape[:2], 1)


def add_products(p: Tensor, q: Tensor, out: Tensor) -> None:
    """out ← Σ_k p_k q_kᵀ, in the order of k, each product and each sum rounded: (n, r, a), (n, r, b) -> (n, a, b)."""
    torch.mul(p[:, 0, :, None], q[:, 0, None, :], out=out)
    for k in range(1, p.shape[1]):
        out.add_(p[:, k, :, None] * q[:, k, None, :])


def subtract_products(p: Tensor, q: Tensor, out: Tensor) -> None:
    """out ← out − Σ_k p_k q_kᵀ, in the order of k."""
    for k in range(p.shape[1]):
        out.sub_(p[:, k, :, None] * q[:, k, None, :])
