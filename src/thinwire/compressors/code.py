"""Block codes: each block of values becomes one scale and a few bits a value."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from thinwire import kernels
from thinwire._check import call, fault, one_of
from thinwire.compressors.base import Compressor, Onto, whole
from thinwire.kernels.format import SMALLEST_ROTATION, Format, Kind
from thinwire.keys import Key, Purpose
from thinwire.payload import Payload

NORMS = (2.0, math.inf)
LARGEST_BLOCK = 1 << 16


class BlockCode(Compressor):
    """A compressor that is wholly described by a kernel's format."""

    block: int

    @cached_property
    @abstractmethod
    def format(self) -> Format:
        """The layout and arithmetic that the kernels follow."""

    def size(self, d: int) -> int:
        """Elements of one block of a vector of length d."""
        return self.format.blocks(max(d, 1)).size

    def nbytes(self, d: int) -> int:
        return self.format.nbytes(d)

    def pack(self, x: Tensor, key: Key) -> Tensor:
        return kernels.encode(self.format, x, key.stream(Purpose.CODE).to(x.device))

    def unpack(self, payload: Payload) -> Tensor:
        stream = payload.key.stream(Purpose.CODE).to(payload.data.device)
        return kernels.decode(self.format, payload.data, payload.d, stream)

    def encode_difference(
        self, x: Tensor, shift: Tensor, lam: float, key: Key, out: Tensor | None = None
    ) -> tuple[Payload, Tensor]:
        self._check(x, key)
        stream = key.stream(Purpose.CODE).to(x.device)
        data, moved = kernels.encode_difference(self.format, x, shift, lam, stream, out)
        return Payload(data, x.shape[1], key), moved

    def decode_mean(
        self, payload: Payload, workers: int, onto: Onto, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        stream = payload.key.stream(Purpose.CODE).to(payload.data.device)
        return kernels.decode_mean(
            *(self.format, payload.data, payload.d, stream, workers, dtype, onto.base, onto.nu, onto.lam),
            out=onto.out,
            after=None if onto.base is None else onto.room,
        )

    def _check_block(self) -> None:
        whole(type(self).__name__, "block", self.block, 1, LARGEST_BLOCK)


def dithering_omega(size: int, levels: int) -> float:
    """ω ≤ min{√B / s, B / 4s²} for random dithering with s levels, norm 2 or ∞.

    The second bound: a coordinate's variance is at most a quarter of a squared step, (‖x‖ / s)² / 4. For norm 2 and
    s ≥ √B / 4 it sharpens lemma 3.1 of QSGD (Alistarh et al., 2017).
    """
    return min(math.sqrt(size) / levels, size / (4 * levels**2))


@dataclass(frozen=True, repr=False)
class Dither(BlockCode):
    """Random dithering: |x_j| is rounded at random to one of s + 1 levels l · ‖x‖ / s of its block, sign kept.

    `bits` = b gives s = 2^(b−1) − 1 levels; or give `levels`. `rounding="nearest"` is biased, contractive and draws
    nothing. ω = min{√B / s, B / 4s²}; nearest, norm ∞: δ = 1 / (1 + e), e = (B − 1) / 4s².
    Source: QSGD (Alistarh et al., 2017), norm 2; norm ∞ as in TernGrad and DIANA.

    Raises:
        ValueError: bits outside 2 … 8, levels outside 1 … 127, both given, a block or norm that does not exist.

    >>> import torch, thinwire as tw
    >>> C = tw.Dither(bits=4)
    >>> x = torch.tensor([[0.0, 7.0, -3.0, 1.0]])
    >>> C.decode(C.encode(x, tw.Key()))
    tensor([[ 0.,  7., -3.,  1.]])
    """

    bits: int | None = None
    levels: int | None = None
    norm: float = math.inf
    block: int = 1024
    rounding: str = "stochastic"

    def __post_init__(self) -> None:
        where = call("Dither", bits=self.bits, levels=self.levels)
        if self.bits is not None and self.levels is not None:
            raise ValueError(fault(where, "bits and levels say the same thing", None, "Give one of them."))
        if self.bits is not None:
            whole("Dither", "bits", self.bits, 2, 8)
        if self.levels is not None:
            whole("Dither", "levels", self.levels, 1, 127)
        one_of(call("Dither", norm=self.norm), "norm", self.norm, NORMS)
        one_of(call("Dither", rounding=self.rounding), "rounding", self.rounding, ("stochastic", "nearest"))
        self._check_block()

    @property
    def steps(self) -> int:
        """s, the number of levels above zero."""
        return self.levels if self.levels is not None else 2 ** ((self.bits or 4) - 1) - 1

    @property
    def unbiased(self) -> bool:  # type: ignore[override]  # a class attribute everywhere else
        return self.rounding == "stochastic"

    @cached_property
    def format(self) -> Format:
        bits = (2 * self.steps).bit_length()
        return Format(
            Kind.DITHER, bits, self.block, self.steps, euclidean=self.norm == 2, nearest=self.rounding == "nearest"
        )

    def omega(self, d: int) -> float | None:
        return dithering_omega(self.size(d), self.steps) if self.unbiased else None

    def delta(self, d: int) -> float | None:
        if self.unbiased:
            return super().delta(d)
        if self.norm == 2:  # each error is at most half a step, and a block of equal elements may become zero
            error = self.size(d) / (4 * self.steps**2)
            return 1 - error if error < 1 else None
        return 1 / (1 + (self.size(d) - 1) / (4 * self.steps**2))


@dataclass(frozen=True, repr=False)
class Ternary(BlockCode):
    """‖x‖ · sign(x_j) · Bernoulli(|x_j| / ‖x‖) in each block: −1, 0, 1 and a scale, five values to a byte.

    ω = (√B − 1) / 2 for norm ∞ and √B − 1 for norm 2, both tight; the exact variance is ‖x‖₁‖x‖ − ‖x‖₂².
    Source: DIANA (Mishchenko et al., 2019), p = ∞ and p = 2; TernGrad (Wen et al., 2017).

    >>> import thinwire as tw
    >>> tw.Ternary().nbytes(1280), tw.Ternary(norm=2, block=100).omega(100)
    (261, 9.0)
    """

    norm: float = math.inf
    block: int = 1280

    def __post_init__(self) -> None:
        one_of(call("Ternary", norm=self.norm), "norm", self.norm, NORMS)
        self._check_block()

    unbiased = True

    @cached_property
    def format(self) -> Format:
        return Format(Kind.DITHER, 0, self.block, levels=1, euclidean=self.norm == 2)

    def omega(self, d: int) -> float | None:
        excess = math.sqrt(self.size(d)) - 1
        return excess if self.norm == 2 else excess / 2


@dataclass(frozen=True, repr=False)
class Natural(BlockCode):
    """Natural compression: round |x_j| at random to one of the two powers of two around it. 9 bits a value.

    ω = 1/8. Values below 2^-126 become zero; above 2^127 they become 2^127.
    Source: Horváth et al., "Natural compression for distributed deep learning" (MSML 2022), theorem 3.

    >>> import thinwire as tw
    >>> tw.Natural().omega(10**6), tw.Natural().nbytes(1024)
    (0.125, 1153)
    """

    unbiased = True
    block = 1024

    @cached_property
    def format(self) -> Format:
        return Format(Kind.NATURAL, 9, self.block)

    def omega(self, d: int) -> float | None:
        return 0.125


@dataclass(frozen=True, repr=False)
class NaturalDither(BlockCode):
    """Dithering on the levels 0, 2^(1−s), …, 1/2, 1 of the block's norm: a sign and ⌈log2(s + 1)⌉ bits a value.

    ω = 1/8 + √B 2^(1−s) min{1, √B 2^(1−s)}. Source: Horváth et al. (MSML 2022), theorem 7.

    >>> import thinwire as tw
    >>> tw.NaturalDither(levels=7).nbytes(1024)
    517
    """

    levels: int = 7
    norm: float = math.inf
    block: int = 1024

    unbiased = True

    def __post_init__(self) -> None:
        whole("NaturalDither", "levels", self.levels, 1, 125)
        one_of(call("NaturalDither", norm=self.norm), "norm", self.norm, NORMS)
        self._check_block()

    @cached_property
    def format(self) -> Format:
        bits = 1 + self.levels.bit_length()
        return Format(Kind.NATURAL_DITHER, bits, self.block, self.levels, euclidean=self.norm == 2)

    def omega(self, d: int) -> float | None:
        step = math.sqrt(self.size(d)) * 2.0 ** (1 - self.levels)
        return 0.125 + step * min(1.0, step)


@dataclass(frozen=True, repr=False)
class Sign(BlockCode):
    """(‖x‖₁ / B) · sign(x_j) in each block: one bit a value. Biased; δ = 1 / B at worst, ‖x‖₁² / (B‖x‖²) exactly.

    The scale is the ℓ1 one: with ‖x‖₂ / √B, as some systems have it, the map is not a contraction.
    Source: Karimireddy et al., "Error feedback fixes SignSGD" (ICML 2019).

    >>> import thinwire as tw
    >>> tw.Sign().nbytes(1024), tw.Sign().omega(1024) is None
    (133, True)
    """

    block: int = 1024

    def __post_init__(self) -> None:
        self._check_block()

    @cached_property
    def format(self) -> Format:
        return Format(Kind.SIGN, 1, self.block)

    def omega(self, d: int) -> float | None:
        return None

    def delta(self, d: int) -> float | None:
        return 1 / self.size(d)


GAUSSIAN_ERROR = {1: 0.3633802276324186, 2: 0.1174818478293289, 3: 0.0345477607885033, 4: 0.0095010080081907}
"""The mean squared error of the Lloyd-Max code of N(0, 1)."""


@dataclass(frozen=True, repr=False)
class Rotated(BlockCode):
    """Rotate each block at random, then code its elements as the Gaussians they have become: the best code per bit.

    y = R x; c_j = the Lloyd-Max centroid of y_j; x̂ = S · Rᵀ c with S = ‖x‖² / ⟨y, c⟩ ("unbiased") or
    S = ⟨y, c⟩ / ‖c‖² ("least-error", biased and contractive). With D the Gaussian error of the centroids,
    ω = D / (1 − D) · (1 + 16/B): 0.57, 0.13, 0.036, 0.0096 at 1 … 4 bits; least-error δ = 1 − D (1 + 16/B).

    The rotation is two rounds of random signs and a Hadamard transform. Unbiasedness is exact for uniformly random
    rotations and approximate for these: what is left is at most 0.1‖x‖ on blocks of 128 with two equal elements and
    nothing else, the worst found, 0.03 on blocks of 1024, and below measurement on dense ones; `bias` keeps to 0.
    Each worker rotates by itself, so that errors average out (ω / n).

    Source: DRIVE (Vargaftik et al., NeurIPS 2021), EDEN (ICML 2022); the second round is ours.

    >>> import thinwire as tw
    >>> tw.Rotated(bits=1).nbytes(1024), round(tw.Rotated(bits=1).omega(1024), 3)
    (133, 0.58)
    """

    bits: int = 3
    block: int = 1024
    scale: str = "unbiased"

    def __post_init__(self) -> None:
        whole("Rotated", "bits", self.bits, 1, max(GAUSSIAN_ERROR))
        one_of(call("Rotated", scale=self.scale), "scale", self.scale, ("unbiased", "least-error"))
        powers = tuple(2**i for i in range(SMALLEST_ROTATION.bit_length() - 1, LARGEST_BLOCK.bit_length()))
        one_of(call("Rotated", block=self.block), "block", self.block, powers)
        self._check_block()

    @property
    def unbiased(self) -> bool:  # type: ignore[override]  # a class attribute everywhere else
        return self.scale == "unbiased"

    @cached_property
    def format(self) -> Format:
        return Format(Kind.ROTATED, self.bits, self.block, least_error=not self.unbiased)

    def _error(self, d: int, of: float) -> float:
        return of * (1 + 16 / self.size(d))

    def omega(self, d: int) -> float | None:
        error = GAUSSIAN_ERROR[self.bits]
        return self._error(d, error / (1 - error)) if self.unbiased else None

    def delta(self, d: int) -> float | None:
        return super().delta(d) if self.unbiased else 1 - self._error(d, GAUSSIAN_ERROR[self.bits])

    def variance(self, d: int) -> float:
        """ω; of the least-error scale, which is biased and yet random, its whole error: its parts are not known."""
        return super().variance(d) if self.unbiased else self._error(d, GAUSSIAN_ERROR[self.bits])
