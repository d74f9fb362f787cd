"""Float32 arithmetic whose result does not depend on the machine: fixed order, powers of two, integer maxima.

Shapes: (size, c), element e of block b at [e, b]; what is one number a block is (c,).
"""

from __future__ import annotations

import torch
from torch import Tensor

INFINITE = 0x7F800000
"""The bits of +Inf: a magnitude's bits at or above it are an Inf or a NaN."""
SMALLEST = 27 << 23
"""The bits of 2^-100: a block whose largest magnitude is below it is a block of zeros."""


def largest(blocks: Tensor) -> Tensor:
    """(c,) int32: the bits of each block's largest magnitude, taken as integers so that a NaN cannot hide."""
    return (blocks.view(torch.int32) & 0x7FFFFFFF).amax(dim=0)


def powers(peak: Tensor) -> tuple[Tensor, Tensor]:
    """(down, up), powers of two with down · up = 1, such that down times the block is below 4 in magnitude."""
    exponent = (peak >> 23).clamp(27, 253)
    return (254 - exponent << 23).view(torch.float32), (exponent << 23).view(torch.float32)


def tree_sum(values: Tensor) -> Tensor:
    """(c,) sums by halving: element i is added to element i + half, half the next power of two and down to 1."""
    size = 1 << max(len(values) - 1, 0).bit_length()
    if size != len(values):
        values = torch.nn.functional.pad(values, (0, 0, 0, size - len(values)))
    while size > 1:
        size //= 2
        values = values[:size] + values[size:]
    return values[0]


def hadamard(values: Tensor) -> Tensor:
    """The unnormalised Walsh-Hadamard transform of each block (Sylvester order), butterflies of span 1, 2, 4, …

    `values` must be contiguous, and is used as scratch.
    """
    size, c = values.shape
    here, there = values, torch.empty_like(values)
    span = 1
    while span < size:
        a, b = here.view(-1, 2, span * c), there.view(-1, 2, span * c)
        torch.add(a[:, 0], a[:, 1], out=b[:, 0])
        torch.sub(a[:, 0], a[:, 1], out=b[:, 1])
        here, there = there, here
        span *= 2
    return here
