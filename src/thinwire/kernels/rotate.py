"""Rotated codes: a random rotation makes any block nearly Gaussian, and a Gaussian's best code is known.

The rotation is R = H·D₂·H·D₁/B, with H the unnormalised Walsh-Hadamard matrix and D₁, D₂ random signs. One round, as
in DRIVE, leaves sparse blocks with too few values to be Gaussian: of (1, 0.99, 0, 0, …) its 1-bit code returns
(1.98, 0, 0, …) whatever the signs, so it is not unbiased at all there. After two rounds every element is a sum of B
terms, and the bias measured on such blocks falls from 0.99 to 0.03 of their norm (B = 1024). And 1/B is a power of two.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from thinwire.kernels.arith import SMALLEST, hadamard, largest, powers, root, tree_sum
from thinwire.kernels.codes import Coded
from thinwire.kernels.draws import Draws
from thinwire.kernels.format import Format

CENTROIDS: dict[int, tuple[float, ...]] = {
    1: (0.7978845608028654,),
    2: (0.45278003463649, 1.5104176084991),
    3: (0.24509417894422, 0.75600528120588, 1.343909278505, 2.151945704537),
    4: (
        0.128395029851147,
        0.3880482994902917,
        0.6567591185324657,
        0.9423404564869634,
        1.2562311973471778,
        1.6180463860218863,
        2.0690172265313858,
        2.732589570995166,
    ),
}
"""The Lloyd-Max centroids of |z|, z ~ N(0, 1), for 1 to 4 bits with the sign (Max, 1960); a test computes them anew."""


def _thresholds(bits: int) -> list[float]:
    levels = CENTROIDS[bits]
    return [(low + high) / 2 for low, high in pairwise(levels)]


def _flip(values: Tensor, draws: Draws, which: int) -> Tensor:
    return (values.view(torch.int32) ^ draws.sign_bits(len(values), which)).view(torch.float32)


def rotate(values: Tensor, draws: Draws) -> Tensor:
    """H·D₂·H·D₁ of each block: B times the rotation."""
    return hadamard(_flip(hadamard(_flip(values, draws, 0)), draws, 1))


def unrotate(values: Tensor, draws: Draws) -> Tensor:
    """D₁·H·D₂·H of each block: B times the inverse rotation. `values` is used as scratch."""
    return _flip(hadamard(_flip(hadamard(values), draws, 1)), draws, 0)


def rotated(fmt: Format, x: Tensor, draws: Draws, count: Tensor) -> Coded:
    """y = R x; the code of y_j is its sign and the index of the centroid nearest to |y_j| / (‖x‖ / √B).

    The scale is ‖x‖² / ⟨y, c⟩ (unbiased) or ⟨y, c⟩ / ‖c‖² (least error), c being the signed centroids.
    """
    size = len(x)
    peak = largest(x)
    down, up = powers(peak)
    scaled = x * down
    square = tree_sum(scaled.square())
    y = rotate(scaled, draws).mul_(1.0 / size)
    magnitude = y.abs()
    sigma = root(square) * (1.0 / math.sqrt(size))
    code = (y < 0).to(torch.int32).mul_(1 << fmt.bits - 1)
    levels = CENTROIDS[fmt.bits]
    c = torch.full_like(y, levels[0])
    for threshold, level in zip(_thresholds(fmt.bits), levels[1:], strict=True):
        above = magnitude >= sigma * threshold
        code += above
        c.masked_fill_(above, level)
    dot = tree_sum(magnitude.mul_(c))
    scale = dot / tree_sum(c.square_()) if fmt.least_error else square / dot
    return torch.where(peak >= SMALLEST, scale * up, 0.0), code


def unrotated(fmt: Format, scale: Tensor | None, codes: Tensor, draws: Draws) -> Tensor:
    """scale · Rᵀ c."""
    assert scale is not None
    levels = CENTROIDS[fmt.bits]
    table = scale.new_tensor([*levels, *(-c for c in levels)])
    c = table.index_select(0, codes.view(-1)).view_as(codes)
    return unrotate(c, draws).mul_(scale * (1.0 / len(codes)))
