"""Matrices by two thin factors, as in PowerSGD: what is asked for, and how a frame is cut. Nothing here communicates.

Shapes: a stack holds `count` matrices of a × b; their factors are P (count, r, a) and Q (count, r, b), see
`kernels.factors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from thinwire._check import call, fault
from thinwire.kernels import factors
from thinwire.kernels.draws import Draws
from thinwire.keys import Key, Purpose

ALIGNED = 16
"""Elements to whose multiples stacks and rows of them are laid out: the bits of a product depend on where it begins."""
PIECE = 1 << 16
"""Elements that a CPU works on at a time, so that they stay in cache."""
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

    @property
    def small(self) -> bool:
        """Whether several of its matrices make a piece."""
        return 2 * self.a * self.b <= PIECE

    def pieces(self) -> Iterator[tuple[slice, slice]]:
        """Its parts that fit into a cache: several matrices, or some rows of one."""
        if self.small:
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

    def said_first(self, v: Tensor, m: Tensor, basis: Tensor) -> Tensor:
        """The first message, (rows, first): all P_i = M_i Q, then what travels whole."""
        out = torch.empty(len(v), aligned(self.first), device=v.device)
        for own, row in zip(m, out, strict=True):
            for stack in self.stacks:
                factors.left_factors(stack.matrices(own), stack.right(basis), stack.left(row))
        at = self.first
        for part in reversed(self.whole):
            start = at - (part.stop - part.start)
            out[:, start:at] = v[:, part]
            at = start
        return out[:, : self.first]

    def orthonormal(self, first: Tensor) -> Tensor:
        """All P, orthonormal, of the mean of the first messages."""
        return torch.cat([factors.orthonormal(stack.left(first)).view(-1) for stack in self.stacks])

    def said_second(self, m: Tensor, left: Tensor) -> Tensor:
        """The second message, (rows, second): all Q_i = M_iᵀ P."""
        out = torch.empty(len(m), aligned(self.second), device=m.device)
        for own, row in zip(m, out, strict=True):
            for stack in self.stacks:
                factors.right_factors(stack.matrices(own), stack.left(left), stack.right(row))
        return out[:, : self.second]

    def join(self, first: Tensor, left: Tensor, right: Tensor, out: Tensor) -> None:
        """The estimate: P Qᵀ where each matrix lies, and what travelled whole."""
        room = torch.empty(2, max(PIECE, *(stack.b for stack in self.stacks)), device=out.device)
        for stack, moves in zip(self.stacks, self.moves, strict=True):
            p, q = stack.left(left), stack.right(right)
            for which, rows in stack.pieces():
                shape = which.stop - which.start, rows.stop - rows.start, stack.b
                spare, made = (part[: prod(shape)].view(shape) for part in room)
                if not stack.small:
                    made = out[moves[which.start].frame].view(1, stack.a, stack.b)[:, rows]
                factors.products(p[which, :, rows], q[which], made, spare)
                if stack.small:
                    for move, matrix in zip(moves[which], made, strict=True):
                        out[move.frame] = matrix.view(-1)
        at = self.first
        for part in reversed(self.whole):
            start = at - (part.stop - part.start)
            out[part] = first[start:at]
            at = start

    def subtract(self, left: Tensor, right: Tensor, m: Tensor) -> None:
        """M_i ← M_i − P Q_iᵀ, (rows, width), with all Q_i of `said_second`."""
        for own, row in zip(m, right, strict=True):
            for stack in self.stacks:
                p, q, matrices = stack.left(left), stack.right(row), stack.matrices(own)
                for which, rows in stack.pieces():
                    factors.subtract_products(p[which, :, rows], q[which], matrices[which, rows])

    def renewed(self, left: Tensor, right: Tensor, before: Tensor) -> Tensor:
        """All Q that the next step begins with."""
        parts = [factors.renewed(stack.right(right), stack.left(left), stack.right(before)) for stack in self.stacks]
        return torch.cat([part.view(-1) for part in parts])

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
