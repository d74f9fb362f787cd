"""The block codes, in plain torch: (B, c) float32, blocks side by side, to scales and codes and back.

This is the oracle that every other make of the kernels is compared with, byte for byte; docs/wire-format.md states the
same arithmetic in words. Codes that are not rotated live here; `rotate.py` has those that are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thinwire.kernels.arith import SMALLEST, largest, powers, root, tree_sum
from thinwire.kernels.draws import Draws
from thinwire.kernels.format import Format

Coded = tuple[Tensor | None, Tensor]
"""(scale of each block (c,) or None, integer code of each element (B, c))"""


def _uniform(fmt: Format, draws: Draws, size: int) -> Tensor | float:
    """The dither: a half, or 16 random bits centred so that no draw is 0 or 1."""
    if fmt.nearest:
        return 0.5
    return (draws.halves(size).to(torch.float32) + 0.5) * 2.0**-16


def _norm(fmt: Format, x: Tensor) -> Tensor:
    peak = largest(x)
    if fmt.euclidean:
        down, up = powers(peak)
        norm = root(tree_sum((x * down).square_())) * up
    else:
        norm = peak.view(torch.float32)
    return torch.where(peak >= SMALLEST, norm, 0.0)


def _inverse(numerator: float, scale: Tensor) -> Tensor:
    return torch.where(scale > 0, numerator / scale, 0.0)


def dither(fmt: Format, x: Tensor, draws: Draws, count: Tensor) -> Coded:
    """q = min(⌊|x| · (s / scale) + u⌋, s); the code is s + sign(x) q."""
    scale = _norm(fmt, x)
    q = (x.abs() * _inverse(fmt.levels, scale) + _uniform(fmt, draws, len(x))).floor_().clamp_(max=fmt.levels)
    return scale, q.copysign_(x).to(torch.int32) + fmt.levels


def undither(fmt: Format, scale: Tensor | None, codes: Tensor, draws: Draws) -> Tensor:
    """scale · ((code − s) / s); codes that no sender makes are taken as the largest."""
    assert scale is not None
    whole = scale.new_full((), fmt.levels)  # a tensor, since by a number CUDA multiplies with the reciprocal
    return (codes.clamp(max=2 * fmt.levels) - fmt.levels).to(torch.float32).div_(whole).mul_(scale)


def sign(fmt: Format, x: Tensor, draws: Draws, count: Tensor) -> Coded:
    """The mean magnitude of the block's own elements, and one sign bit for each."""
    peak = largest(x)
    down, up = powers(peak)
    mean = tree_sum((x * down).abs_()) / count * up
    return torch.where(peak >= SMALLEST, mean, 0.0), (x < 0).to(torch.int32)


def unsign(fmt: Format, scale: Tensor | None, codes: Tensor, draws: Draws) -> Tensor:
    assert scale is not None
    return (1 - 2 * codes).to(torch.float32).mul_(scale)


def natural(fmt: Format, x: Tensor, draws: Draws, count: Tensor) -> Coded:
    """Exponent byte and sign: the mantissa plus 16 random bits, and the carry is the rounding."""
    bits = x.view(torch.int32)
    magnitude = bits & 0x7FFFFFFF
    exponent = (magnitude + _carry(draws, len(x)) >> 23).clamp_(max=254)
    exponent.masked_fill_(magnitude < 1 << 23, 0)
    return None, exponent | (bits >> 31 & 1) << 8


def unnatural(fmt: Format, scale: Tensor | None, codes: Tensor, draws: Draws) -> Tensor:
    return ((codes & 0xFF) << 23 | codes >> 8 << 31).view(torch.float32)


def natural_dither(fmt: Format, x: Tensor, draws: Draws, count: Tensor) -> Coded:
    """Level 0 or a power of two 2^(j − s), j = 1 … s, of the scale; the sign above the level's bits."""
    scale = _norm(fmt, x)
    t = (x.abs() * _inverse(1.0, scale)).clamp_(max=1.0)
    upper = (t.view(torch.int32) + _carry(draws, len(x)) >> 23) - (127 - fmt.levels)
    lower = (t * 2.0 ** (fmt.levels - 1) + (draws.halves(len(x)) + 0.5) * 2.0**-16).floor_().to(torch.int32)
    level = torch.where(t < 2.0 ** (1 - fmt.levels), lower, upper)
    return scale, level | (x < 0).to(torch.int32) << fmt.bits - 1


def unnatural_dither(fmt: Format, scale: Tensor | None, codes: Tensor, draws: Draws) -> Tensor:
    assert scale is not None
    level = (codes & (1 << fmt.bits - 1) - 1).clamp(max=fmt.levels)
    power = torch.where(level > 0, level + (127 - fmt.levels) << 23, 0).view(torch.float32)
    return torch.where(codes >> fmt.bits - 1 > 0, -power, power).mul_(scale)


def _carry(draws: Draws, size: int) -> Tensor:
    return draws.halves(size) << 7 | 64
