"""Which values of a model's gradient are looked at: a piece of each parameter, the same in every step, on all workers.

Shapes: S is the length of a sample, P the number of its pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thinwire._check import call, fault
from thinwire.training.policy import SMALL

SHORT = 256
"""Values at most of a parameter that travels uncompressed, of which only norms are of interest."""
BLOCK = 256
"""Values to whose multiples rows are shortened, so that blocks lie in them as they do in training."""
FEWEST_ROWS = 16
"""Rows that a piece has at least, if its matrix has them: one of fewer would be of low rank whatever the gradient."""
LEAST = FEWEST_ROWS * BLOCK
"""The least share: of so many values, a matrix is compressed as in training."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """A part of one parameter: some rows of its matrix, evenly spread, and the first columns of each.

    Args:
        name: the parameter's.
        shape: of the whole parameter. Its matrix is its first dimension by all others; a vector's has one column.
        rows, columns: how many are looked at.

    >>> piece = Piece("w", (4, 3), rows=2, columns=3)
    >>> piece.take(torch.arange(12.0).view(4, 3)), piece.weight
    (tensor([0., 1., 2., 6., 7., 8.]), 2.0)
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Values in the piece."""
        return self.rows * self.columns

    @property
    def weight(self) -> float:
        """Values of the parameter that each of the piece stands for."""
        return prod(self.shape) / self.size

    @property
    def whole(self) -> bool:
        """Whether it is all of the parameter."""
        return self.size == prod(self.shape)

    @property
    def taken_shape(self) -> tuple[int, ...]:
        """The piece's own shape, with as many dimensions as matter: a matrix stays one, a vector too."""
        if self.whole:
            return self.shape
        return (self.rows, self.columns) if len(self.shape) > 1 else (self.rows,)

    def take(self, gradient: Tensor) -> Tensor:
        """The piece of a gradient of the parameter's shape, as a vector (size,)."""
        if self.whole:
            return gradient.reshape(-1)
        a, b = _matrix(self.shape)
        rows = torch.arange(self.rows, device=gradient.device) * a // self.rows
        return gradient.reshape(a, b)[rows, : self.columns].reshape(-1)


@dataclass(frozen=True)
class Sample:
    """A piece of each parameter, end to end in the order of their registration.

    >>> sample = Sample.of({"w": (64, 512), "b": (64,)}, values=2048)
    >>> [(piece.name, piece.rows, piece.columns) for piece in sample.pieces], sample.size
    ([('w', 16, 256), ('b', 64, 1)], 4160)
    """

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]], values: int) -> Sample:
        """About `values` of all values: little of what is not compressed, and of each matrix the same share, or all.

        The share of a matrix is LEAST or more, so that a model of many has a larger sample than was asked for.

        Raises:
            ValueError: no parameter has a value.
        """
        sizes = {name: prod(shape) for name, shape in shapes.items() if prod(shape)}
        if not sizes:
            raise ValueError(fault(call("Sample.of", values=values), "parameters have values", dict(shapes)))
        large = {name for name, size in sizes.items() if size >= SMALL and len(shapes[name]) > 1}
        room = values - sum(min(size, SHORT) for name, size in sizes.items() if name not in large)
        share = _share([sizes[name] for name in large], room)
        return cls(tuple(_piece(name, shapes[name], share if name in large else SHORT) for name in sizes))

    @property
    def size(self) -> int:
        """S."""
        return sum(piece.size for piece in self.pieces)

    @cached_property
    def starts(self) -> list[int]:
        """Where each piece begins."""
        return [0, *accumulate(piece.size for piece in self.pieces)][:-1]

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where each parameter's piece lies."""
        return {piece.name: slice(at, at + piece.size) for piece, at in zip(self.pieces, self.starts, strict=True)}

    @cached_property
    def weights(self) -> Floats:
        """(P,): values of the gradient that each value of a piece stands for."""
        return np.array([piece.weight for piece in self.pieces])

    def fits(self, where: str, gradients: Tensor, workers: int) -> None:
        """Raise ValueError unless there is a sample of each worker, (workers, S)."""
        if tuple(gradients.shape) != (workers, self.size):
            rule = f"each of {workers} workers has a sample of {self.size} values"
            raise ValueError(fault(where, rule, tuple(gradients.shape)))

    def squares(self, x: Tensor) -> Floats:
        """‖x‖² of each piece, (..., S) -> (..., P), in float64."""
        squared = x.double().square().cpu().numpy()
        summed: Floats = np.add.reduceat(squared, self.starts, axis=-1)
        return summed

    def total(self, squares: Floats) -> float:
        """What ‖x‖² of the whole gradient is, of that of each piece, (P,): the sum, weighted."""
        return float(self.weights @ squares)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], prod(shape[1:])) if len(shape) > 1 else (prod(shape), 1)


def _share(sizes: Iterable[int], room: int) -> int:
    """The share at which all that are smaller whole, and as much of the others, fill the room."""
    ordered = sorted(sizes)
    for number, size in enumerate(ordered):
        share = room // (len(ordered) - number)
        if size > share:
            return max(share, LEAST)
        room -= size
    return max(ordered, default=LEAST)


def _piece(name: str, shape: tuple[int, ...], share: int) -> Piece:
    a, b = _matrix(shape)
    if a * b <= share:
        return Piece(name, shape, a, b)
    fewest = min(a, FEWEST_ROWS)
    columns = min(b, -(-share // (fewest * BLOCK)) * BLOCK)
    return Piece(name, shape, min(a, max(fewest, -(-share // columns))), columns)
