"""`codes.py` on a block in registers: (scale, codes) of values, and values of (scale, codes), kind by kind."""

from __future__ import annotations

import triton
import triton.language as tl

from thinwire.kernels.cuda.device.arith import SMALLEST, magnitude, powers, tree_sum
from thinwire.kernels.cuda.device.draws import halves
from thinwire.kernels.cuda.device.rotated import rotated, unrotated


@triton.jit
def norm(x, peak, P: tl.constexpr):
    if P.euclidean:
        down, up = powers(peak)
        scaled = x * down
        length = tl.sqrt_rn(tree_sum(scaled * scaled, P.dims)) * up
    else:
        length = peak.to(tl.float32, bitcast=True)
    return tl.where(peak >= SMALLEST, length, 0.0)


@triton.jit
def uniform(drawn, e, size):
    """The dither: 16 random bits, centred so that no draw is 0 or 1."""
    return (halves(drawn, e, size).to(tl.float32) + 0.5) * (2.0**-16)


@triton.jit
def carry(drawn, e, size):
    return (halves(drawn, e, size) << 7) | 64


@triton.jit
def dither(x, peak, e, size, drawn, P: tl.constexpr):
    scale = norm(x, peak, P)
    inverse = tl.where(scale > 0, tl.div_rn(1.0, scale) * P.levels, 0.0)
    u = 0.5 if P.nearest else uniform(drawn, e, size)
    q = tl.minimum(tl.abs(x) * inverse + u, P.levels).to(tl.int32)  # not negative, so this is its floor
    return scale, P.levels + tl.where(x.to(tl.int32, bitcast=True) < 0, -q, q)


@triton.jit
def undither(scale, codes, P: tl.constexpr):
    level = (tl.minimum(codes, 2 * P.levels) - P.levels).to(tl.float32)
    return tl.div_rn(level, 1.0 * P.levels) * scale


@triton.jit
def sign(x, peak, real, P: tl.constexpr):
    down, up = powers(peak)
    mean = tl.div_rn(tree_sum(tl.abs(x * down), P.dims), real.to(tl.float32)) * up
    return tl.where(peak >= SMALLEST, mean, 0.0), (x < 0).to(tl.int32)


@triton.jit
def unsign(scale, codes):
    return (1 - 2 * codes).to(tl.float32) * scale


@triton.jit
def natural(x, e, size, drawn):
    bits = magnitude(x)
    exponent = tl.minimum(tl.add(bits, carry(drawn, e, size), sanitize_overflow=False) >> 23, 254)
    negative = (x.to(tl.int32, bitcast=True) < 0).to(tl.int32)
    return 0.0, tl.where(bits < 1 << 23, 0, exponent) | (negative << 8)


@triton.jit
def unnatural(codes):
    return (((codes & 0xFF) << 23) | ((codes >> 8) << 31)).to(tl.float32, bitcast=True)


@triton.jit
def natural_dither(x, peak, e, size, drawn, P: tl.constexpr):
    scale = norm(x, peak, P)
    inverse = tl.where(scale > 0, tl.div_rn(1.0, scale), 0.0)
    t = tl.minimum(tl.abs(x) * inverse, 1.0)
    upper = ((magnitude(t) + carry(drawn, e, size)) >> 23) - (127 - P.levels)
    lower = (t * 2.0 ** (P.levels - 1) + uniform(drawn, e, size)).to(tl.int32)
    level = tl.where(t < 2.0 ** (1 - P.levels), lower, upper)
    return scale, level | ((x < 0).to(tl.int32) << (P.bits - 1))


@triton.jit
def unnatural_dither(scale, codes, P: tl.constexpr):
    level = tl.minimum(codes & ((1 << (P.bits - 1)) - 1), P.levels)
    power = tl.where(level > 0, (level + (127 - P.levels)) << 23, 0)
    negative = (codes >> (P.bits - 1)) & 1  # set as a bit: Triton's minus is 0 − x, which has no −0
    return (power | (negative << 31)).to(tl.float32, bitcast=True) * scale


@triton.jit
def coded(x, peak, e, size, real, drawn, P: tl.constexpr):
    """(scale, codes) of the values x; the scale is 0 where the format has none."""
    if P.kind == "dither":
        scale, codes = dither(x, peak, e, size, drawn, P)
    elif P.kind == "sign":
        scale, codes = sign(x, peak, real, P)
    elif P.kind == "natural":
        scale, codes = natural(x, e, size, drawn)
    elif P.kind == "natural dither":
        scale, codes = natural_dither(x, peak, e, size, drawn, P)
    else:
        scale, codes = rotated(x, peak, e, drawn, P)
    return scale, codes


@triton.jit
def decoded(scale, codes, e, drawn, P: tl.constexpr):
    """The values that (scale, codes) mean."""
    if P.kind == "dither":
        values = undither(scale, codes, P)
    elif P.kind == "sign":
        values = unsign(scale, codes)
    elif P.kind == "natural":
        values = unnatural(codes)
    elif P.kind == "natural dither":
        values = unnatural_dither(scale, codes, P)
    else:
        values = unrotated(scale, codes, e, drawn, P)
    return values
