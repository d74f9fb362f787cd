"""`rotate.py` on a block in registers: two rounds of random signs and a Hadamard transform, and the Gaussian's code."""

from __future__ import annotations

import triton
import triton.language as tl

from thinwire.kernels.cuda.device.arith import SMALLEST, hadamard, powers, tree_sum
from thinwire.kernels.cuda.device.draws import flip


@triton.jit
def rotated(x, peak, e, drawn, P: tl.constexpr):
    down, up = powers(peak)
    scaled = x * down
    square = tree_sum(scaled * scaled, P.dims)
    y = hadamard(flip(scaled, drawn, e, 0, P.tile), P.dims)
    y = hadamard(flip(y, drawn, e, 1, P.tile), P.dims) * (1.0 / P.tile)
    size = tl.abs(y)
    sigma = tl.sqrt_rn(square) * P.root
    codes = tl.where(y < 0, 1 << (P.bits - 1), 0)
    c = tl.full(y.shape, P.centroids[0], tl.float32)
    for k in tl.static_range(len(P.thresholds)):
        above = size >= sigma * P.thresholds[k]
        codes += above.to(tl.int32)
        c = tl.where(above, P.centroids[k + 1], c)
    dot = tree_sum(size * c, P.dims)
    scale = tl.div_rn(dot, tree_sum(c * c, P.dims)) if P.least_error else tl.div_rn(square, dot)
    return tl.where(peak >= SMALLEST, scale * up, 0.0), codes


@triton.jit
def unrotated(scale, codes, e, drawn, P: tl.constexpr):
    index = codes & ((1 << (P.bits - 1)) - 1)
    c = tl.full(codes.shape, P.centroids[0], tl.float32)
    for k in tl.static_range(1, len(P.centroids)):
        c = tl.where(index >= k, P.centroids[k], c)
    c = tl.where(codes >> (P.bits - 1) > 0, -c, c)
    y = flip(hadamard(c, P.dims), drawn, e, 1, P.tile)
    return flip(hadamard(y, P.dims), drawn, e, 0, P.tile) * (scale * (1.0 / P.tile))
