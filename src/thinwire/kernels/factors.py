"""The arithmetic of thin factors: matrices (n, a, b) by Σ_k p_k q_kᵀ, with P (n, r, a) and Q (n, r, b).

Factors are kept as rows, so that every direction is contiguous. What each worker makes for itself, the products with
its own matrix, BLAS makes; what all workers must hold alike is made of float32 operations in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from thinwire.kernels.arith import largest, powers, root, tree_sum

NEGLIGIBLE = 2.0**-16
"""A direction of which less than this is left beside the others is rounding: 2^7 float32 roundings of it."""


def left_factors(m: Tensor, q: Tensor, out: Tensor) -> None:
    """P ← M Q of each matrix."""
    torch.bmm(q, m.transpose(1, 2), out=out)


def right_factors(m: Tensor, p: Tensor, out: Tensor) -> None:
    """Q ← Mᵀ P of each matrix."""
    torch.bmm(p, m, out=out)


def products(p: Tensor, q: Tensor, out: Tensor, room: Tensor) -> None:
    """out ← Σ_k p_k q_kᵀ in the order of k, each product and each sum rounded; `room` is as large as `out`.

    >>> p, q, out = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0, 5.0]]]), torch.empty(1, 2, 3)
    >>> products(p, q, out, torch.empty_like(out))
    >>> out
    tensor([[[ 3.,  4.,  5.],
             [ 6.,  8., 10.]]])
    """
    left, right = p.unsqueeze(3).unbind(1), q.unsqueeze(2).unbind(1)
    torch.mul(left[0], right[0], out=out)
    for one, other in zip(left[1:], right[1:], strict=True):
        out.add_(torch.mul(one, other, out=room))


def subtract_products(p: Tensor, q: Tensor, out: Tensor) -> None:
    """out ← out − Σ_k p_k q_kᵀ.

    Not by BLAS, which a user may have told to multiply in fewer bits: what is left must fit what was sent.
    """
    for one, other in zip(p.unsqueeze(3).unbind(1), q.unsqueeze(2).unbind(1), strict=True):
        out.addcmul_(one, other, value=-1)


def orthonormal(p: Tensor) -> Tensor:
    """(n, r, a) -> the same with orthonormal rows; zeros for a row that is nothing beside those before it.

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
    """The Q that the next step begins with, (n, r, b): q, each row times the power of two that brings it near 1.

    Only directions count, and so M Q is about as large as M. Where P had nothing, the row is what it was before: it
    will be tried again, and is not zero for ever.
    """
    found = (p != 0).any(dim=2, keepdim=True) & (q != 0).any(dim=2, keepdim=True)
    return torch.where(found, q * powers(_peaks(q))[0], before)


def _peaks(x: Tensor) -> Tensor:
    """(n, r, a) -> (n, r, 1): the bits of each row's largest magnitude."""
    return largest(x.reshape(-1, x.shape[2]).t()).view(*x.shape[:2], 1)


def _sums(x: Tensor) -> Tensor:
    """(n, k, a) -> (n, k, 1): sums by halving."""
    return tree_sum(x.reshape(-1, x.shape[2]).t()).view(*x.shape[:2], 1)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """In this thread MKL multiplies with one thread: with more, the bits of a product may depend on how many.

    Where torch has another BLAS nothing is changed; equal bits then need equal numbers of threads.
    """
    switch = _mkl_switch()
    if switch is None:
        yield
        return
    torch.get_num_threads()  # has torch set up this thread first, which would set MKL's threads too
    before = switch(1)
    try:
        yield
    finally:
        switch(before)


@lru_cache(maxsize=1)
def _mkl_switch() -> Callable[[int], int] | None:
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        switch = library.MKL_Set_Num_Threads_Local
    except (OSError, AttributeError):
        return None
    switch.restype, switch.argtypes = ctypes.c_int, (ctypes.c_int,)
    return switch
