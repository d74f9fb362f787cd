"""`arith.py` on a block in registers: sums by halving, powers of two, butterflies, in exactly that order of additions.

A block is seen as a hypercube with one axis for each bit of an element's number. A sum over one such axis has two
terms, so it has one result whatever the order, and the order over the axes is ours.
"""

from __future__ import annotations

import triton
import triton.language as tl

from thinwire.kernels import arith

INFINITE = tl.constexpr(arith.INFINITE)
SMALLEST = tl.constexpr(arith.SMALLEST)


@triton.jit
def magnitude(x):
    """The bits without the sign, as integers: a NaN cannot hide among them."""
    return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def powers(peak):
    """(down, up), powers of two with down · up = 1."""
    exponent = tl.minimum(tl.maximum(peak >> 23, 27), 253)
    return ((254 - exponent) << 23).to(tl.float32, bitcast=True), (exponent << 23).to(tl.float32, bitcast=True)


@triton.jit
def tree_sum(values, DIMS: tl.constexpr):
    """The sum by halving: the first axis is the highest bit of an element's number."""
    values = tl.reshape(values, [2] * DIMS)
    for _ in tl.static_range(DIMS):
        values = tl.sum(values, axis=0)
    return values


@triton.jit
def butterflies(values, BIT: tl.constexpr, DIMS: tl.constexpr):
    """(a + b, a − b) of all pairs of elements whose numbers differ in this bit: the other one plus or minus oneself.

    The bits of the other one are the pair's sum less one's own, as integers, which is exact.
    """
    bits = values.to(tl.int32, bitcast=True)
    both = tl.sum(bits, axis=DIMS - 1 - BIT, keep_dims=True)
    other = tl.sub(both, bits, sanitize_overflow=False).to(tl.float32, bitcast=True)
    second = tl.reshape(tl.arange(0, 2), [1] * (DIMS - 1 - BIT) + [2] + [1] * BIT)
    return other + (bits ^ (second << 31)).to(tl.float32, bitcast=True)


@triton.jit
def hadamard(values, DIMS: tl.constexpr):
    """The unnormalised Walsh-Hadamard transform, butterflies of span 1, 2, 4, …"""
    cube = tl.reshape(values, [2] * DIMS)
    for bit in tl.static_range(DIMS):
        cube = butterflies(cube, bit, DIMS)
    return tl.reshape(cube, values.shape)
