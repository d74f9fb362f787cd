"""The rows of a data matrix, shard by shard, and the two products that every loss is made of: A x, and A_iᵀ r_i.

A worker's results have the same bits whichever other workers this process holds: every product runs over one shard at
a time (dense), or over one row at a time (sparse).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]


class Shards(ABC):
    """N rows of width p, those of worker i at bounds[i] : bounds[i + 1]. K, where it is there, is the outputs of a row.

    >>> shards = shards_of(np.arange(6.0).reshape(3, 2), np.array([0, 2, 3]))
    >>> shards.forward(np.array([1.0, 0.0]))
    array([0., 2., 4.])
    >>> shards.backward(np.ones(3))
    array([[2., 4.],
           [4., 5.]])
    """

    bounds: Integers
    width: int

    @property
    def rows(self) -> int:
        """Workers held."""
        return len(self.bounds) - 1

    @property
    def counts(self) -> Integers:
        """Samples of each worker."""
        return np.diff(self.bounds)

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """A x for one x: (p,) or (p, K) -> (N,) or (N, K)."""

    @abstractmethod
    def forward_each(self, x: Array) -> Array:
        """A_i x_i, a vector for each worker: (rows, p) or (rows, p, K) -> (N,) or (N, K)."""

    @abstractmethod
    def backward(self, r: Array) -> Array:
        """A_iᵀ r_i of each worker: (N,) or (N, K) -> (rows, p) or (rows, p, K)."""

    @abstractmethod
    def pick(self, indices: Integers) -> Shards:
        """The shards of some rows, by their numbers in each worker's own: (rows, b)."""

    @abstractmethod
    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        """What the rows are kept in."""

    @abstractmethod
    def squares(self) -> Array:
        """‖a_j‖² of every row, (N,)."""

    def sums(self, values: Array) -> Array:
        """The sum of each worker's values: (N,) -> (rows,)."""
        return np.add.reduceat(values, self.bounds[:-1])

    def _picked(self, indices: Integers) -> tuple[Integers, Integers]:
        rows, b = indices.shape
        return (indices + self.bounds[:-1, None]).reshape(-1), np.arange(rows + 1, dtype=np.int64) * b


class Dense(Shards):
    """A C-contiguous array; neighbours with as many rows make one stack of matrices."""

    def __init__(self, A: Array, bounds: Integers) -> None:
        self.A, self.bounds, self.width = np.ascontiguousarray(A), bounds, A.shape[1]
        self._stacks: list[tuple[slice, slice, Array]] = []
        worker = 0
        for count, same in groupby(self.counts):
            workers = slice(worker, worker + len(list(same)))
            rows = slice(int(bounds[workers.start]), int(bounds[workers.stop]))
            self._stacks.append((workers, rows, self.A[rows].reshape(-1, int(count), self.width)))
            worker = workers.stop

    def forward(self, x: Array) -> Array:
        return np.concatenate([(A @ x).reshape(-1, *x.shape[1:]) for _, _, A in self._stacks])

    def forward_each(self, x: Array) -> Array:
        columns = x if x.ndim == 3 else x[..., None]
        parts = [(A @ columns[workers]).reshape(-1, columns.shape[2]) for workers, _, A in self._stacks]
        return np.concatenate(parts).reshape(-1, *x.shape[2:])

    def backward(self, r: Array) -> Array:
        columns = r if r.ndim == 2 else r[:, None]
        made = []
        for workers, rows, A in self._stacks:
            mine = columns[rows].reshape(workers.stop - workers.start, -1, columns.shape[1])
            made.append((mine.transpose(0, 2, 1) @ A).transpose(0, 2, 1))
        return np.concatenate(made).reshape(self.rows, self.width, *r.shape[1:])

    def pick(self, indices: Integers) -> Shards:
        rows, bounds = self._picked(indices)
        return Dense(self.A[rows], bounds)

    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        return (self.A,)

    def squares(self) -> Array:
        made: Array = np.einsum("ij,ij->i", self.A, self.A)
        return made


class Sparse(Shards):
    """A CSR matrix."""

    def __init__(self, A: sp.csr_matrix, bounds: Integers) -> None:
        self.A, self.bounds, self.width = A, bounds, A.shape[1]

    @cached_property
    def _blocks(self) -> sp.csr_matrix:
        """(N, rows · p): the block-diagonal matrix of the A_i."""
        width = self.rows * self.width
        kind = np.int32 if max(width, self.A.nnz) < 2**31 else np.int64
        first = np.repeat(np.arange(self.rows, dtype=np.int64) * self.width, self.counts)
        columns = self.A.indices + np.repeat(first, np.diff(self.A.indptr))
        indices = columns.astype(kind), self.A.indptr.astype(kind)
        return sp.csr_matrix((self.A.data, *indices), shape=(self.A.shape[0], width))

    @cached_property
    def _turned(self) -> sp.csc_matrix:
        return self._blocks.T

    def forward(self, x: Array) -> Array:
        made: Array = self.A @ x
        return made

    def forward_each(self, x: Array) -> Array:
        made: Array = self._blocks @ x.reshape(self.rows * self.width, *x.shape[2:])
        return made

    def backward(self, r: Array) -> Array:
        made: Array = self._turned @ r
        return made.reshape(self.rows, self.width, *r.shape[1:])

    def pick(self, indices: Integers) -> Shards:
        rows, bounds = self._picked(indices)
        return Sparse(self.A[rows], bounds)

    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        return self.A.data, self.A.indices, self.A.indptr

    def squares(self) -> Array:
        return np.asarray(self.A.multiply(self.A).sum(axis=1), self.A.dtype).reshape(-1)


def shards_of(A: Array | sp.csr_matrix, bounds: Sequence[int] | Integers) -> Shards:
    """Rows that lie worker by worker already."""
    bounds = np.asarray(bounds, np.int64)
    return Sparse(A, bounds) if sp.issparse(A) else Dense(A, bounds)
