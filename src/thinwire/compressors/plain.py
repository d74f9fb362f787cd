"""Codes that send every value by itself: float32 or float64 as it is, float16 and bfloat16 rounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire import kernels
from thinwire._check import call, one_of
from thinwire.compressors.base import Compressor
from thinwire.keys import Key
from thinwire.payload import Payload, view


class Values(Compressor):
    """d elements and a flag element (0, or NaN), all of one floating dtype: payloads may be summed."""

    unbiased = True

    @property
    def summable(self) -> bool:
        return True

    def nbytes(self, d: int) -> int:
        return (d + 1) * self.element.itemsize

    def pack(self, x: Tensor, key: Key) -> Tensor:
        out = kernels.fresh(len(x), x.shape[1] + 1, self.element, x.device)
        out[:, :-1] = x
        out[:, -1] = torch.where(kernels.nonfinite(out[:, :-1]), float("nan"), 0.0)
        return out.view(torch.uint8)

    def unpack(self, payload: Payload) -> Tensor:
        wide = torch.float64 if self.element == torch.float64 else torch.float32
        return kernels.fresh(len(payload.data), payload.d, wide, payload.data.device).copy_(
            view(payload.data, self.element)[:, :-1]
        )

    def omega(self, d: int) -> float | None:
        return 0.0


@dataclass(frozen=True, repr=False)
class Identity(Values):
    """Every value as it is: ω = 0, δ = 1. `bits=64` carries float64 exactly; 32 rounds it.

    >>> import torch, thinwire as tw
    >>> C = tw.Identity()
    >>> x = torch.randn(1, 5)
    >>> bool((C.decode(C.encode(x, tw.Key())) == x).all()), C.nbytes(5)
    (True, 24)
    """

    bits: int = 32

    def __post_init__(self) -> None:
        one_of(call("Identity", bits=self.bits), "bits", self.bits, (32, 64))

    @property
    def element(self) -> torch.dtype:  # type: ignore[override]  # a class attribute everywhere else
        return torch.float64 if self.bits == 64 else torch.float32


class Rounded(Values):
    """Rounding to nearest: biased by at most half a unit in the last place, which `bias` states."""

    digits: int

    def bias(self, d: int) -> float:
        return float(2.0**-self.digits)

    def delta(self, d: int) -> float | None:
        return 1 - self.bias(d) ** 2


@dataclass(frozen=True, repr=False)
class Float16(Rounded):
    """IEEE half precision, rounded to nearest: relative error at most 2^-11 for magnitudes from 6.1e-5 to 65504.

    Larger values are flagged as not finite, and smaller ones lose digits: what it sends should be scaled, as
    gradients under AMP are. Within that range it is treated as unbiased (ω = 0), η = 2^-11 being rounding.

    >>> import thinwire as tw
    >>> tw.Float16().nbytes(1000)
    2002
    """

    element = torch.float16
    digits = 11


@dataclass(frozen=True, repr=False)
class BFloat16(Rounded):
    """bfloat16, rounded to nearest: relative error at most 2^-8, over all of float32's range.

    >>> import thinwire as tw
    >>> tw.BFloat16().bias(10)
    0.00390625
    """

    element = torch.bfloat16
    digits = 8
