"""Planar packing: byte i of a block holds element i of P planes of ceil(B / P) consecutive elements.

A code of b bits is cut into fields of 8, 4, 2 and 1 bits (lowest bits first, widest field first), each packed by
itself: a 3-bit code is a section of 2-bit fields (P = 4) followed by one of 1-bit fields (P = 8). Base-3 codes pack
five planes in a byte, plane 0 the least significant digit. What is left over in the last plane is zero.

Shapes: blocks lie side by side, (size, c) codes and (bytes, c) bytes, so that a plane is contiguous.
"""

from __future__ import annotations

import torch
from torch import Tensor

TRITS = (1, 3, 9, 27, 81)


def fields(bits: int) -> tuple[int, ...]:
    """The fields of a code of `bits` bits.

    >>> fields(3), fields(10), fields(16)
    ((2, 1), (8, 2), (8, 8))
    """
    return (8,) * (bits // 8) + tuple(f for f in (4, 2, 1) if bits & 7 & f)


def packed_size(size: int, bits: int) -> int:
    """Bytes of a block of `size` codes of `bits` bits.

    >>> packed_size(1024, 3), packed_size(10, 1)
    (384, 2)
    """
    return sum(-(-size // (8 // field)) for field in fields(bits))


def pack(codes: Tensor, bits: int) -> Tensor:
    """(B, c) integer codes below 2^bits -> (packed_size(B, bits), c) uint8."""
    sections, shift = [], 0
    for field in fields(bits):
        part = (codes >> shift & (1 << field) - 1).to(torch.uint8)
        sections.append(_fold(part, [1 << (field * p) for p in range(8 // field)]))
        shift += field
    return torch.cat(sections) if len(sections) > 1 else sections[0]


def unpack(data: Tensor, size: int, bits: int) -> Tensor:
    """The inverse of `pack`: int32 codes of shape (size, c)."""
    codes = torch.zeros(size, data.shape[1], dtype=torch.int32, device=data.device)
    shift = start = 0
    for field in fields(bits):
        width = -(-size // (8 // field))
        section = data[start : start + width]
        planes = [(section >> (field * p)) & ((1 << field) - 1) for p in range(8 // field)]
        codes |= torch.cat(planes)[:size].to(torch.int32) << shift
        start, shift = start + width, shift + field
    return codes


def pack_trits(codes: Tensor) -> Tensor:
    """(B, c) codes 0, 1, 2 -> (ceil(B / 5), c) uint8."""
    return _fold(codes.to(torch.uint8), list(TRITS))


def unpack_trits(data: Tensor, size: int) -> Tensor:
    """The inverse of `pack_trits`; a byte above 242 gives digits that are in range all the same."""
    planes = [data // power % 3 for power in TRITS]
    return torch.cat(planes)[:size].to(torch.int32)


def _fold(values: Tensor, weights: list[int]) -> Tensor:
    width = -(-len(values) // len(weights))
    pad = width * len(weights) - len(values)
    if pad:
        values = torch.nn.functional.pad(values, (0, 0, 0, pad))
    planes = values.view(len(weights), width, values.shape[1])
    out = planes[0].clone()
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        out.add_(plane, alpha=weight)
    return out
