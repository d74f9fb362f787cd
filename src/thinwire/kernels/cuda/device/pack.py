"""`pack.py` on a block in registers: bytes of planes, and back; scales byte by byte, since no payload is aligned."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def put_scale(at, scale):
    """Four bytes, the lowest first."""
    byte = tl.arange(0, 4)
    tl.store(at + byte, (scale.to(tl.int32, bitcast=True) >> (8 * byte)).to(tl.uint8))


@triton.jit
def get_scale(at):
    byte = tl.arange(0, 4)
    return tl.sum(tl.load(at + byte).to(tl.int32) << (8 * byte), axis=0).to(tl.float32, bitcast=True)


@triton.jit
def dealt(codes, size, n, PLANES: tl.constexpr, WIDTH: tl.constexpr, P: tl.constexpr):
    """(PLANES · WIDTH,) the codes in planes of n elements, each plane at a multiple of WIDTH; 0 past the end."""
    at = tl.arange(0, PLANES * WIDTH)
    e = at // WIDTH * n + at % WIDTH
    return tl.where(e < size, tl.gather(codes, tl.minimum(e, P.tile - 1), 0), 0)


@triton.jit
def put_trits(at, codes, size, P: tl.constexpr):
    """Base 3, five planes; room for eight of a quarter of a block each."""
    WIDTH: tl.constexpr = P.tile // 4
    n = (size + 4) // 5
    digits = dealt(codes, size, n, 8, WIDTH, P)
    plane = tl.arange(0, 8 * WIDTH) // WIDTH
    weight = tl.where(plane < 5, 1, 0)
    for power in tl.static_range(1, 5):
        weight = tl.where(plane >= power, weight * 3, weight)
    i = tl.arange(0, WIDTH)
    tl.store(at + i, tl.sum(tl.reshape(digits * weight, (8, WIDTH)), axis=0).to(tl.uint8), mask=i < n)


@triton.jit
def put_section(at, part, size, FIELD: tl.constexpr, P: tl.constexpr):
    """One section of fields; gives where the next one begins."""
    PLANES: tl.constexpr = 8 // FIELD
    WIDTH: tl.constexpr = P.tile // PLANES
    n = (size + PLANES - 1) // PLANES
    part &= (1 << FIELD) - 1
    if not P.full:  # a full block lies in planes as it is
        part = dealt(part, size, n, PLANES, WIDTH, P)
    planes = tl.reshape(part, (PLANES, WIDTH)) << (FIELD * tl.arange(0, PLANES))[:, None]
    i = tl.arange(0, WIDTH)
    tl.store(at + i, tl.sum(planes, axis=0).to(tl.uint8), mask=i < n)
    return at + n


@triton.jit
def put_codes(at, codes, size, P: tl.constexpr):
    """Write the block's packed codes to where `at` points."""
    if P.bits == 0:
        put_trits(at, codes, size, P)
    else:
        for section in tl.static_range(len(P.fields)):
            at = put_section(at, codes, size, P.fields[section], P)
            codes = codes >> P.fields[section]


@triton.jit
def get_trits(at, e, size):
    n = (size + 4) // 5
    plane = e // n
    codes = tl.load(at + (e - plane * n)).to(tl.int32)
    for power in tl.static_range(1, 5):
        codes = tl.where(plane >= power, codes // 3, codes)
    return codes % 3


@triton.jit
def get_section(at, e, size, FIELD: tl.constexpr):
    """The fields of one section, and where the next one begins."""
    PLANES: tl.constexpr = 8 // FIELD
    n = (size + PLANES - 1) // PLANES
    plane = e // n
    byte = tl.load(at + (e - plane * n)).to(tl.int32)
    return (byte >> (FIELD * plane)) & ((1 << FIELD) - 1), at + n


@triton.jit
def get_codes(at, e, size, P: tl.constexpr):
    """(tile,) int32: the codes of the elements e; those past the block's end get the last one's."""
    e = tl.minimum(e, size - 1)
    if P.bits == 0:
        codes = get_trits(at, e, size)
    else:
        codes = e * 0
        shift = 0
        for section in tl.static_range(len(P.fields)):
            part, at = get_section(at, e, size, P.fields[section])
            codes |= part << shift
            shift += P.fields[section]
    return codes
