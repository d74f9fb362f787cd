"""Compressors made of compressors: select-then-code, induced, scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from thinwire._check import call, fault
from thinwire.compressors.base import Compressor, Onto
from thinwire.compressors.plain import Identity
from thinwire.compressors.select import Selector
from thinwire.keys import Key
from thinwire.payload import Payload


def chain(first: Compressor, second: Compressor) -> Compressor:
    """first >> second: `Identity() >> C` is C; otherwise the first selects and the second codes.

    Raises:
        TypeError: the second selects, or the first is a code already.
    """
    shown = f"{first!r} >> {second!r}"
    if isinstance(first, Identity):
        return second
    if not isinstance(first, Selector):
        way_out = "Put the selector first: RandK(0.1) >> Dither(bits=4)."
        raise TypeError(fault(shown, "the left side selects coordinates", type(first).__name__, way_out))
    if not second.dense:
        raise TypeError(fault(shown, "the right side is a code", type(second).__name__, "Only one part can select."))
    return Chain(first, second)


@dataclass(frozen=True, repr=False)
class Chain(Compressor):
    """`select >> code`: what the selector kept travels by the code. Made by `>>`, not by hand.

    Both unbiased: 1 + ω = (1 + ω_S)(1 + ω_Q), ω_Q at the survivors' dimension (Horváth et al., MSML 2022, theorem 5).
    A selector that keeps values as they are, such as TopK: δ = δ_S δ_Q, since
    E‖Q(Sx) − x‖² = ‖x‖² − ‖Sx‖² + E‖Q(Sx) − Sx‖². One that scales them up, such as RandK, and a biased code: the
    triangle inequality, √(1 − δ) = √ω_S + √((1 + ω_S)(1 − δ_Q)), which is often no contraction at all.

    >>> import thinwire as tw
    >>> C = tw.RandK(0.1) >> tw.Dither(bits=4)
    >>> C, round(C.omega(10_000), 3)
    (RandK(k=0.1) >> Dither(bits=4), 54.175)
    """

    select: Selector
    code: Compressor

    @property
    def unbiased(self) -> bool:  # type: ignore[override]  # a class attribute everywhere else
        return self.select.unbiased and self.code.unbiased

    @property
    def shared(self) -> bool:
        return self.select.shared

    @property
    def summable(self) -> bool:
        return self.select.shared and self.code.summable

    @property
    def dense(self) -> bool:
        return False

    @property
    def element(self) -> torch.dtype:  # type: ignore[override]  # a class attribute everywhere else
        return self.code.element

    def omega(self, d: int) -> float | None:
        first, second = self.select.omega(d), self.code.omega(self.select.kept(d))
        return None if first is None or second is None else (1 + first) * (1 + second) - 1

    def delta(self, d: int) -> float | None:
        if self.unbiased:
            return super().delta(d)
        kept, code = self.select.delta(d), self.code.delta(self.select.kept(d))
        if kept is None or code is None:
            return None
        if not self.select.unbiased:
            return kept * code
        omega = self.select.variance(d)
        error = math.sqrt(omega) + math.sqrt((1 + omega) * (1 - code))
        return 1 - error**2 if error < 1 else None

    def variance(self, d: int) -> float:
        return self._spread(d, self.select.variance(d)) + self._noise(d)

    def _noise(self, d: int) -> float:
        """The code's own variance on what survived."""
        return (1 + self.select.variance(d)) * self.code.variance(self.select.kept(d))

    def _spread(self, d: int, omega: float) -> float:
        """What the choice of coordinates brings: ω_S, and more if the code turns what it is given by its bias η_Q."""
        grown = math.sqrt(1 + self.select.variance(d)) * self.code.bias(self.select.kept(d))
        return (math.sqrt(omega) + grown) ** 2 if omega else 0.0

    def bias(self, d: int) -> float:
        """Of an unbiased selector, the code's bias on what survived; of a biased one, its own and the code's."""
        kept = self.code.bias(self.select.kept(d)) * math.sqrt(1 + self.select.variance(d))
        return min(1.0, self.select.bias(d) + kept)

    def mean_variance(self, d: int, workers: int) -> float:
        """The code's errors are independent whatever the coordinates are."""
        return self._spread(d, self.select.mean_variance(d, workers)) + self._noise(d) / workers

    def nbytes(self, d: int) -> int:
        return self.code.nbytes(self.select.kept(d)) + self.select.side_bytes(d)

    def flag_at(self, d: int) -> int:
        return self.code.flag_at(self.select.kept(d))

    def flags(self, data: Tensor, d: int) -> Tensor:
        kept = self.select.kept(d)
        return self.code.flags(data[:, : self.code.nbytes(kept)], kept)

    def raise_flags(self, data: Tensor, d: int, rows: Tensor) -> None:
        kept = self.select.kept(d)
        self.code.raise_flags(data[:, : self.code.nbytes(kept)], kept, rows)

    def bind(self, workers: int) -> Chain:
        return replace(self, select=self.select.bind(workers), code=self.code.bind(workers))

    def pack(self, x: Tensor, key: Key) -> Tensor:
        values, side, bad = self.select.pick(x, key)
        packed = self.code.pack(values, key)
        if side.shape[1]:
            packed = torch.cat((packed, side), dim=1)
        self.raise_flags(packed, x.shape[1], bad)
        return packed

    def unpack(self, payload: Payload) -> Tensor:
        return self._placed(payload, 1)

    def decode_mean(
        self, payload: Payload, workers: int, onto: Onto, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        if dtype != torch.float32:
            return super().decode_mean(payload, workers, onto, dtype)
        total = self._placed(payload, workers)  # what all placed is added up before it is d long
        total /= total.new_full((), workers)
        return onto.add(total)

    def _placed(self, payload: Payload, workers: int) -> Tensor:
        kept = self.select.kept(payload.d)
        split = self.code.nbytes(kept)
        values = self.code.unpack(payload.with_data(payload.data[:, :split].contiguous(), kept))
        return self.select.place(values, payload.data[:, split:], payload.d, payload.key, workers)

    def __repr__(self) -> str:
        return f"{self.select!r} >> {self.code!r}"


@dataclass(frozen=True, repr=False)
class Scaled(Compressor):
    """C / (1 + ω) for an unbiased C: contractive with δ = 1 / (1 + ω). Made by `.contractive()`.

    Source: Richtárik, Sokolov, Fatkhullin, "EF21" (NeurIPS 2021).

    >>> import thinwire as tw
    >>> tw.RandK(0.01).contractive()
    RandK(k=0.01).contractive()
    """

    inner: Compressor

    @property
    def shared(self) -> bool:
        return self.inner.shared

    @property
    def dense(self) -> bool:
        return self.inner.dense

    @property
    def element(self) -> torch.dtype:  # type: ignore[override]  # a class attribute everywhere else
        return self.inner.element

    def _factor(self, d: int) -> float:
        omega = self.inner.omega(d)
        assert omega is not None  # `contractive` wraps unbiased compressors only
        return 1 / (1 + omega)

    def omega(self, d: int) -> float | None:
        return None

    def delta(self, d: int) -> float | None:
        return self._factor(d)

    def bias(self, d: int) -> float:
        return min(1.0, 1 - self._factor(d) + self.inner.bias(d) * self._factor(d))

    def variance(self, d: int) -> float:
        return self.inner.variance(d) * self._factor(d) ** 2

    def mean_variance(self, d: int, workers: int) -> float:
        return self.inner.mean_variance(d, workers) * self._factor(d) ** 2

    def nbytes(self, d: int) -> int:
        return self.inner.nbytes(d)

    def flag_at(self, d: int) -> int:
        return self.inner.flag_at(d)

    def flags(self, data: Tensor, d: int) -> Tensor:
        return self.inner.flags(data, d)

    def raise_flags(self, data: Tensor, d: int, rows: Tensor) -> None:
        self.inner.raise_flags(data, d, rows)

    def bind(self, workers: int) -> Scaled:
        return replace(self, inner=self.inner.bind(workers))

    def pack(self, x: Tensor, key: Key) -> Tensor:
        return self.inner.pack(x, key)

    def unpack(self, payload: Payload) -> Tensor:
        return self.inner.unpack(payload) * self._factor(payload.d)

    def __repr__(self) -> str:
        inner = f"({self.inner!r})" if isinstance(self.inner, Chain) else repr(self.inner)
        return f"{inner}.contractive()"


@dataclass(frozen=True, repr=False)
class Induced(Compressor):
    """C(x) = B(x) + U(x − B(x)): unbiased although its first part is not; both parts are sent. ω = ω_U (1 − δ_B).

    Source: Horváth and Richtárik, "A better alternative to error feedback" (ICLR 2021).

    Raises:
        TypeError: the first part is not contractive by nature, or the second is not unbiased.

    >>> import thinwire as tw
    >>> tw.Induced(tw.TopK(0.1), tw.RandK(0.1)).omega(1000)
    8.1
    """

    biased: Compressor
    remainder: Compressor

    unbiased = True

    def __post_init__(self) -> None:
        where = call("Induced", biased=self.biased, remainder=self.remainder)
        if not (isinstance(self.biased, Compressor) and isinstance(self.remainder, Compressor)):
            raise TypeError(fault(where, "both parts are compressors"))
        if self.biased.unbiased:
            raise TypeError(fault(where, "the first part is contractive and biased", self.biased, "TopK, for example."))
        if not self.remainder.unbiased:
            raise TypeError(fault(where, "the second part is unbiased", self.remainder, "RandK, for example."))

    @property
    def dense(self) -> bool:
        return self.biased.dense or self.remainder.dense

    def omega(self, d: int) -> float | None:
        delta, omega = self.biased.delta(d), self.remainder.omega(d)
        return None if omega is None else omega * (1 - (delta or 0.0))

    def nbytes(self, d: int) -> int:
        return self.biased.nbytes(d) + self.remainder.nbytes(d)

    def bind(self, workers: int) -> Induced:
        return replace(self, biased=self.biased.bind(workers), remainder=self.remainder.bind(workers))

    def pack(self, x: Tensor, key: Key) -> Tensor:
        first = self.biased.pack(x, key)
        rest = (x - self.biased.unpack(Payload(first, x.shape[1], key))).to(torch.float32)
        return torch.cat((first, self.remainder.pack(rest, key.child())), dim=1)

    def _parts(self, payload: Payload) -> tuple[Payload, Payload]:
        split = self.biased.nbytes(payload.d)
        first, second = payload.data[:, :split].contiguous(), payload.data[:, split:].contiguous()
        return Payload(first, payload.d, payload.key), Payload(second, payload.d, payload.key.child())

    def unpack(self, payload: Payload) -> Tensor:
        first, second = self._parts(payload)
        return self.biased.unpack(first) + self.remainder.unpack(second)

    def flags(self, data: Tensor, d: int) -> Tensor:
        split = self.biased.nbytes(d)
        return self.biased.flags(data[:, :split], d) | self.remainder.flags(data[:, split:], d)

    def raise_flags(self, data: Tensor, d: int, rows: Tensor) -> None:
        self.biased.raise_flags(data[:, : self.biased.nbytes(d)], d, rows)

    def flag_at(self, d: int) -> int:
        return self.biased.flag_at(d)
