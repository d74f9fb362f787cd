"""Scales made of running mean squares, which are powers of two: to divide by and to multiply with, in one pass each.

With q a running mean square, s is the power of two next to q^¼, at least 2^-13, and 1 where q is 0: from 2^(4k − 2) up
to 2^(4k + 2) its exponent is k. So it is made of q's own exponent, and rounds nothing that it divides or multiplies.
Products and sums are rounded one by one: the compiled code and torch give the same bits, on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CDLL, c_float, c_int64, c_void_p
from functools import lru_cache

import torch
from torch import Tensor

from thinwire.kernels.cpu import loaded

BIAS = 127
"""What is added to the exponents of float32."""
SMALLEST = -13
"""Of the exponents of s: 2^-26, the square of that, is about Adam's ε = 1e-8, which its divisor is at least."""
LARGEST = torch.finfo(torch.float32).max


def into_geometry(squares: Tensor, v: Tensor, out: Tensor) -> None:
    """out ← v / s, of (rows, d) each; `squares`, (d,), are q.

    >>> out = torch.empty(1, 3)
    >>> into_geometry(torch.tensor([0.0, 16.0, 2.0**-60]), torch.ones(1, 3), out)
    >>> out
    tensor([[1.0000e+00, 5.0000e-01, 8.1920e+03]])
    """
    run = _library() if _fit(squares, v, out) else None
    if run is None:
        torch.mul(v, _power(-exponents(squares)), out=out)
        return
    for row, to in zip(v, out, strict=True):
        run.thinwire_into_geometry(len(squares), squares.data_ptr(), row.data_ptr(), to.data_ptr())


def out_of_geometry(scales: Tensor, squares: Tensor, kept: float, estimate: Tensor, out: Tensor, after: Tensor) -> None:
    """out ← s · estimate with s of `scales`, and after ← kept q + (1 − kept) out² with q of `squares`.

    All of them (d,). Where q is 0, after ← out². `out` may be `estimate`. No square is larger than the largest float32.

    >>> q, out, after = torch.tensor([0.0, 16.0]), torch.empty(2), torch.empty(2)
    >>> out_of_geometry(q, q, 0.5, torch.ones(2), out, after)
    >>> out, after
    (tensor([1., 2.]), tensor([ 1., 10.]))
    """
    run = _library() if _fit(scales, squares, estimate, out, after) else None
    if run is not None:
        pointers = estimate.data_ptr(), out.data_ptr(), after.data_ptr()
        size = len(squares)
        run.thinwire_out_of_geometry(size, scales.data_ptr(), squares.data_ptr(), kept, 1 - kept, *pointers)
        return
    torch.mul(estimate, _power(exponents(scales)), out=out)
    square = out * out
    later = (squares * kept).add_(square * (1 - kept))
    torch.where(squares > 0, later, square, out=after).clamp_(max=LARGEST)


def change_geometry(before: Tensor, after: Tensor, x: Tensor) -> None:
    """x ← x · s_before / s_after, all of them (d,).

    >>> x = torch.ones(3)
    >>> change_geometry(torch.tensor([0.0, 16.0, 16.0]), torch.tensor([16.0, 16.0, 0.0]), x)
    >>> x
    tensor([0.5000, 1.0000, 2.0000])
    """
    run = _library() if _fit(before, after, x) else None
    if run is None:
        x.mul_(_power(exponents(before) - exponents(after)))
        return
    run.thinwire_change_geometry(len(x), before.data_ptr(), after.data_ptr(), x.data_ptr())


def exponents(squares: Tensor) -> Tensor:
    """log₂ s, int32.

    >>> exponents(torch.tensor([0.0, 0.25, 3.99, 4.0, 2.0**-120]))
    tensor([  0,   0,   0,   1, -13], dtype=torch.int32)
    """
    bits = squares.to(torch.float32).view(torch.int32)
    k = (bits >> 23).sub_(BIAS - 2).bitwise_right_shift_(2).clamp_(min=SMALLEST)
    return k.mul_(bits > 0)


def _power(k: Tensor) -> Tensor:
    """2^k, float32."""
    return (k + BIAS << 23).view(torch.float32)


def _fit(*tensors: Tensor) -> bool:
    """Whether the compiled code takes them: float32 in a CPU's memory, a row's elements side by side."""
    return all(t.dtype == torch.float32 and t.device.type == "cpu" and t.stride(-1) == 1 for t in tensors)


@lru_cache(maxsize=1)
def _library() -> CDLL | None:
    library = loaded()
    if isinstance(library, str):
        return None
    into: Callable[..., None] = library.thinwire_into_geometry
    out_of: Callable[..., None] = library.thinwire_out_of_geometry
    into.restype, into.argtypes = None, (c_int64, *[c_void_p] * 3)  # type: ignore[attr-defined]
    change: Callable[..., None] = library.thinwire_change_geometry
    pointers = [c_void_p] * 3
    out_of.restype, out_of.argtypes = None, (c_int64, c_void_p, c_void_p, c_float, c_float, *pointers)  # type: ignore[attr-defined]
    change.restype, change.argtypes = None, (c_int64, *pointers)  # type: ignore[attr-defined]
    return library
