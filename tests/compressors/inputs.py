"""Vectors that several test files compress."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(d: int, seed: int = 1) -> Tensor:
    return torch.randn(d, generator=torch.Generator().manual_seed(seed))


def unit(d: int, *where: int) -> Tensor:
    e = torch.zeros(d)
    e[list(where)] = 1.0
    return e
