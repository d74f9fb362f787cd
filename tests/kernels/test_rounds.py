"""Why the rotation has two rounds: what one round does to a block of two nearly equal values."""

from __future__ import annotations

import torch

import thinwire as tw
from thinwire.kernels.arith import hadamard

SIZE, DRAWS = 1024, 256


def pair() -> torch.Tensor:
    x = torch.zeros(SIZE)
    x[3], x[7] = 1.0, 0.99
    return x


def test_one_round_is_not_unbiased_on_a_sparse_block() -> None:
    x = pair()[:, None]
    flips = torch.randint(0, 2, (SIZE, DRAWS), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    y = hadamard((flips * x).contiguous()).clone()
    code = torch.where(y < 0, -1.0, 1.0)
    scale = SIZE * x.square().sum() / (y * code).sum(dim=0)  # ‖x‖² / ⟨y, c⟩, y and the way back unnormalised
    said = flips * hadamard(code.contiguous()) * scale / SIZE
    bias = (said.mean(dim=1, keepdim=True) - x).norm() / x.norm()
    assert abs(bias - 0.99) < 1e-4  # the ratio of the two values, and no draw differs: float32 rounding is all


def test_two_rounds_are() -> None:
    x, code = pair(), tw.Rotated(bits=1)
    said = code.decode(code.encode(x.expand(DRAWS, SIZE).contiguous(), tw.Key(ranks=range(DRAWS))))
    bias = (said.mean(dim=0) - x).norm() / x.norm()
    noise = (code.omega(SIZE) or 0.0) / DRAWS  # squared, of a mean of so many draws; its own spread is far below half
    assert bias < (0.03**2 + 1.5 * noise) ** 0.5
