"""The kernels: what a program does with its block.

A payload's row is: a float32 for each block, if the format is scaled; the packed codes of each block; the flag.
"""

from __future__ import annotations

import triton
import triton.language as tl

from thinwire.kernels import arith as reference
from thinwire.kernels.cuda.device.arith import INFINITE, magnitude
from thinwire.kernels.cuda.device.codes import coded, decoded
from thinwire.kernels.cuda.device.draws import words
from thinwire.kernels.cuda.device.pack import get_codes, get_scale, put_codes, put_scale

LANES = tl.constexpr(reference.LANES)


@triton.jit
def float_of(bits, LIKE: tl.constexpr):
    """The float64 that has these bits, rounded to the other type: arguments that are floats arrive as float32."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True).to(LIKE)


@triton.jit
def said(data, stream, block, count, size, body, P: tl.constexpr):
    """The values of one block of the row of bytes at `data`, whose stream is at `stream`."""
    e = tl.arange(0, P.tile)
    scale = 0.0
    if P.scaled:
        scale = get_scale(data + 4 * block)
        data += 4 * count
    drawn = 0
    if P.kind == "rotated":
        drawn = words(stream, block, P.counters)
    return decoded(scale, get_codes(data + block * body, e, size, P), e, drawn, P)


@triton.jit(do_not_specialize=["count", "lam"])
def encode(
    x, shift, after, data, stream,
    x_row, shift_row, after_row, data_row, nbytes, d, count, size, body, lam,
    P: tl.constexpr, MOVE: tl.constexpr,
):  # fmt: skip
    """Code a block of x; if MOVE: of x − shift, and after = shift + lam · what that says."""
    if P.full:
        size = P.tile
    row = (tl.program_id(0) // count).to(tl.int64)
    block = (tl.program_id(0) % count).to(tl.int64)
    e = tl.arange(0, P.tile)
    at = block * size + e
    real = tl.minimum(d - block * size, size).to(tl.int32)
    inside = e < real
    values = tl.load(x + row * x_row + at, mask=inside, other=0.0)
    if MOVE:
        before = tl.load(shift + row * shift_row + at, mask=inside, other=0.0)
        values = values - before
    values = values.to(tl.float32)
    peak = tl.max(magnitude(values), axis=0)
    drawn = words(stream + row * 4, block, P.counters)
    scale, codes = coded(values, peak, e, size, real, drawn, P)
    bad = peak >= INFINITE
    data += row * data_row
    flag = data + nbytes - 1
    if P.scaled:
        bad = bad | (magnitude(scale) >= INFINITE)
        put_scale(data + 4 * block, scale)
        data += 4 * count
    put_codes(data + block * body, codes, size, P)
    tl.store(flag, 1, mask=bad)
    if MOVE:
        moved = decoded(scale, codes, e, drawn, P).to(before.dtype) * float_of(lam, before.dtype)
        tl.store(after + row * after_row + at, before + moved, mask=inside)


@triton.jit(do_not_specialize=["nbytes", "chunks"])
def blank(data, data_row, nbytes, chunks, CHUNK: tl.constexpr):
    """Zero the rows whose flag is set, but for the flag; a chunk for each program."""
    row = (tl.program_id(0) // chunks).to(tl.int64)
    at = tl.program_id(0) % chunks * CHUNK + tl.arange(0, CHUNK)
    data += row * data_row
    if tl.load(data + nbytes - 1) != 0:
        tl.store(data + at, tl.zeros_like(at).to(tl.uint8), mask=at < nbytes - 1)


@triton.jit(do_not_specialize=["count"])
def decode(data, stream, out, data_row, out_row, d, count, size, body, P: tl.constexpr):
    """A block of `out` from the bytes of its row."""
    if P.full:
        size = P.tile
    row = (tl.program_id(0) // count).to(tl.int64)
    block = (tl.program_id(0) % count).to(tl.int64)
    e = tl.arange(0, P.tile)
    values = said(data + row * data_row, stream + row * 4, block, count, size, body, P)
    tl.store(out + row * out_row + block * size + e, values, mask=e < tl.minimum(d - block * size, size))


@triton.jit(do_not_specialize=["groups", "workers", "count", "nu", "lam"])
def decode_mean(
    data, stream, base, first, second,
    data_row, base_row, first_row, second_row, groups, workers, d, count, size, body, nu, lam,
    P: tl.constexpr, BASED: tl.constexpr,
):  # fmt: skip
    """first = base + nu · mean, second = base + lam · mean over the workers; without a base, first = nu · mean."""
    if P.full:
        size = P.tile
    group = (tl.program_id(0) // count).to(tl.int64)
    block = (tl.program_id(0) % count).to(tl.int64)
    e = tl.arange(0, P.tile)
    at = block * size + e
    inside = e < tl.minimum(d - block * size, size)
    LIKE: tl.constexpr = first.dtype.element_ty
    total = tl.full(e.shape, 0.0, LIKE)
    lane = total
    for start in range(tl.minimum(workers, LANES)):
        for worker in range(start, workers, LANES):
            row = worker * groups + group
            values = said(data + row * data_row, stream + row * 4, block, count, size, body, P).to(LIKE)
            lane = tl.where(worker == start, values, lane + values)  # no sum begins with 0, which would lose −0
        total = tl.where(start == 0, lane, total + lane)
    # in float64, / is correctly rounded, and div_rn does not take it
    mean = tl.div_rn(total, workers.to(LIKE)) if total.dtype == tl.float32 else total / workers.to(LIKE)
    estimate = mean * float_of(nu, LIKE)
    if BASED:
        before = tl.load(base + group * base_row + at, mask=inside, other=0.0)
        tl.store(second + group * second_row + at, before + mean * float_of(lam, LIKE), mask=inside)
        estimate = before + estimate
    tl.store(first + group * first_row + at, estimate, mask=inside)
