"""`draws.py` on a block in registers: Philox once for each counter, and a gather that deals out the words."""

from __future__ import annotations

import triton
import triton.language as tl

from thinwire import keys

ROUNDS = tl.constexpr(keys.ROUNDS)


@triton.jit
def words(stream, block, COUNT: tl.constexpr):
    """(4 · COUNT,) uint32: word i of counter t at [4t + i]; `stream` points to a row's four words."""
    t = tl.arange(0, COUNT).to(tl.uint32)
    k0 = tl.load(stream).to(tl.uint32)
    k1 = tl.load(stream + 1).to(tl.uint32)
    s2 = t * 0 + tl.load(stream + 2).to(tl.uint32)
    s3 = t * 0 + tl.load(stream + 3).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox_impl(t, t * 0 + block.to(tl.uint32), s2, s3, k0, k1, ROUNDS)
    return tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (4 * COUNT,))


@triton.jit
def halves(drawn, e, size):
    """16 bits for each element: the low halves of all 4T words in word-major order, then their high halves."""
    t = (size + 7) // 8
    high = e >= 4 * t
    at = tl.where(high, e - 4 * t, e)
    word = (at >= t).to(tl.int32) + (at >= 2 * t).to(tl.int32) + (at >= 3 * t).to(tl.int32)
    mine = tl.gather(drawn, tl.minimum(at - word * t, t - 1) * 4 + word, 0)
    return tl.where(high, mine >> 16, mine & 0xFFFF).to(tl.int32)


@triton.jit
def flip(values, drawn, e, WHICH: tl.constexpr, TILE: tl.constexpr):
    """Negate the elements whose bit of the first or second set of signs is 1; the block fills the tile."""
    T: tl.constexpr = TILE // 128
    at = e % (4 * T)
    mine = tl.gather(drawn, (at % T + WHICH * T) * 4 + at // T, 0)
    sign = (mine >> (e // (4 * T)).to(tl.uint32)) << 31
    return (values.to(tl.uint32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)
