"""What a compressor is: frozen, stateless, without communication; it declares its theory and its bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from thinwire._check import call, fault
from thinwire.kernels.arith import rank_mean
from thinwire.keys import Key
from thinwire.payload import Payload, view


def whole(cls: str, name: str, value: object, low: int, high: int) -> None:
    """Raise ValueError unless value is an int with low <= value <= high."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(fault(call(cls, **{name: value}), f"{name} must be a whole number, {low} to {high}", value))


@dataclass(frozen=True)
class Onto:
    """What a receiver does with the mean of the messages: base + ν · mean is its estimate, base + λ · mean is kept.

    `out` is memory for the estimate, `room` for what is kept.

    >>> Onto(torch.tensor([1.0]), nu=0.5, lam=0.25).add(torch.tensor([2.0]))
    (tensor([2.]), tensor([1.5000]))
    >>> Onto().add(torch.tensor([2.0]))
    (tensor([2.]), None)
    """

    base: Tensor | None = None
    nu: float = 1.0
    lam: float = 0.0
    room: Tensor | None = None
    out: Tensor | None = None

    def add(self, mean: Tensor) -> tuple[Tensor, Tensor | None]:
        """The estimate, and what is kept: None without a base."""
        if self.base is None:
            return (mean if self.nu == 1 else mean * self.nu), None
        kept = torch.add(self.base, mean * self.lam, out=self.room)
        return torch.add(self.base, mean if self.nu == 1 else mean * self.nu, out=self.out), kept


class Compressor(ABC):
    """A map C from vectors to payloads and back.

    Two classes of theory, either or both of which a compressor declares through its constants:

    - unbiased, U(ω): E C(x) = x and E‖C(x) − x‖² ≤ ω ‖x‖²; `omega(d)` is that ω, None if C is biased;
    - contractive, B(δ): E‖C(x) − x‖² ≤ (1 − δ) ‖x‖² with 0 < δ ≤ 1; `delta(d)` is that δ, None if there is none.

    `x` has shape (rows, d), one row a worker. Everything travels as float32 at most, except where a name says
    otherwise: other dtypes are cast first, and a value beyond float32's range is flagged like an Inf.
    A row that holds a NaN or an Inf is flagged in its payload and comes back as NaN throughout.

    >>> import thinwire as tw
    >>> C = tw.parse_compressor("topk(0.01)")
    >>> C.unbiased, C.omega(1000), C.delta(1000), C.nbytes(1000) < 4 * 1000
    (False, None, 0.01, True)
    """

    # Subclasses are frozen dataclasses; these describe the class of maps, not one instance's numbers.
    unbiased: bool = False
    """Declared in U(ω) for every d."""
    element: torch.dtype = torch.uint8
    """What the payload is an array of; the last element is the flag."""

    @property
    def summable(self) -> bool:
        """Whether payloads of several workers may be added element by element before they are decoded."""
        return False

    @property
    def shared(self) -> bool:
        """Whether all workers keep the same coordinates, so that their errors do not average out."""
        return False

    @property
    def dense(self) -> bool:
        """Whether every coordinate travels."""
        return True

    @abstractmethod
    def omega(self, d: int) -> float | None:
        """ω of the class U(ω) for vectors of length d; None if biased."""

    def delta(self, d: int) -> float | None:
        """δ of the class B(δ); an unbiased map with ω < 1 contracts as it is, with δ = 1 − ω."""
        omega = self.omega(d)
        return None if omega is None or omega >= 1 else 1 - omega

    def bias(self, d: int) -> float:
        """η: ‖E C(x) − x‖ ≤ η ‖x‖. With the variance, the class C(η, ω) of EF-BV (Condat et al., 2022)."""
        if self.omega(d) is not None:
            return 0.0
        delta = self.delta(d)
        return 1.0 if delta is None else (1 - delta) ** 0.5

    def variance(self, d: int) -> float:
        """ω of the class C(η, ω): E‖C(x) − E C(x)‖² ≤ ω ‖x‖². Biased maps have none unless they draw."""
        return self.omega(d) or 0.0

    def mean_variance(self, d: int, workers: int) -> float:
        """ω_av: the variance of the mean of `workers` messages, relative to the mean of ‖x_i‖².

        ω / n for independent errors; ω, with nothing gained, where all workers draw the same coordinates.
        """
        return self.variance(d) if self.shared else self.variance(d) / workers

    @abstractmethod
    def nbytes(self, d: int) -> int:
        """Bytes of the payload of one vector of length d: a function of (compressor, d) alone."""

    @abstractmethod
    def pack(self, x: Tensor, key: Key) -> Tensor:
        """(rows, d), float32 unless `element` is wider -> (rows, nbytes(d)) uint8."""

    @abstractmethod
    def unpack(self, payload: Payload) -> Tensor:
        """The inverse, (rows, d), of a payload whose size is right. Flags are not looked at."""

    def flags(self, data: Tensor, d: int) -> Tensor:
        """(rows,) bool: which payloads say that their input was not finite."""
        at = self.flag_at(d)
        if self.element == torch.uint8:
            return data[:, at] != 0
        return view(data[:, at : at + self.element.itemsize], self.element)[:, 0] != 0

    def raise_flags(self, data: Tensor, d: int, rows: Tensor) -> None:
        """Set the flag of each payload in `data` for which `rows` is true, in place."""
        nan = torch.full((1,), 1 if self.element == torch.uint8 else float("nan"), dtype=self.element)
        at = slice(self.flag_at(d), self.flag_at(d) + self.element.itemsize)
        mark = nan.view(torch.uint8).to(data.device)
        data[:, at] = torch.where(rows[:, None], mark, data[:, at])

    def flag_at(self, d: int) -> int:
        """The byte at which the flag stands."""
        return self.nbytes(d) - self.element.itemsize

    def encode(self, x: Tensor, key: Key) -> Payload:
        """The payload of each row of x.

        Args:
            x: floating, of shape (rows, d), on any device.
            key: the counter of all randomness; for as many rows as x has.

        Raises:
            ValueError: x is no matrix of floating values with as many rows as the key.
        """
        self._check(x, key)
        wide = x.to(self.element if self.element == torch.float64 else torch.float32)
        return Payload(self.pack(wide, key), x.shape[1], key)

    def encode_difference(
        self, x: Tensor, shift: Tensor, lam: float, key: Key, out: Tensor | None = None
    ) -> tuple[Payload, Tensor]:
        """A sender's step: the payload of x − shift, and shift + lam · what it says. One pass where a kernel has one.

        Args:
            x, shift: (rows, d), float32 or float64, both the same.
            lam: λ of the recursion.
            key: as for `encode`.
            out: memory for the second result, which may be that of x.
        """
        payload = self.encode(x - shift, key)
        return payload, torch.add(shift, self.unpack(payload).to(shift.dtype).mul_(lam), out=out)

    def decode(self, payload: Payload) -> Tensor:
        """What the payload says: float32 (float64 where that travels) of shape (rows, d).

        Raises:
            ValueError: the payload's size is not what this compressor makes for its d.
        """
        flags = self.flags(payload.sized(self.nbytes(payload.d), self).data, payload.d)
        said = self.unpack(payload)
        return said.masked_fill_(flags[:, None], float("nan")) if bool(flags.any()) else said

    def decode_mean(
        self, payload: Payload, workers: int, onto: Onto, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """A receiver's step: the mean over workers, in rank order, of what they say, and what `onto` makes of it.

        Args:
            payload: of workers · groups rows, all groups of the first worker first.
            workers: how many rows each of the means is of.
            onto: base of shape (groups, d), ν and λ.
            dtype: of the sums and the results.

        Returns:
            The estimate, (groups, d), and what is kept (None without a base). Flags are not looked at.
        """
        said = self.unpack(payload).to(dtype)
        return onto.add(rank_mean(said.reshape(workers, -1, payload.d)))

    def _check(self, x: Tensor, key: Key) -> None:
        if x.ndim != 2 or not x.is_floating_point() or len(x) != key.rows:
            raise ValueError(
                fault(
                    f"{self!r}.encode",
                    f"x must be floating, of shape (rows, d), with the key's {key.rows} rows",
                    f"{x.dtype} of shape {tuple(x.shape)}",
                    "A single vector is x[None, :].",
                )
            )

    def bind(self, workers: int) -> Compressor:
        """The same compressor for a group of `workers`; only those that need the number change."""
        return self

    def contractive(self) -> Compressor:
        """C / (1 + ω), which lies in B(1 / (1 + ω)); itself if it is contractive by nature.

        >>> import thinwire as tw
        >>> tw.RandK(0.25).contractive().delta(100)
        0.25
        """
        from thinwire.compressors.combine import Scaled

        return Scaled(self) if self.unbiased else self

    def __rshift__(self, code: Compressor) -> Compressor:
        """Select with this, then send what was selected with `code`."""
        from thinwire.compressors.combine import chain

        return chain(self, code)

    def arguments(self) -> dict[str, Any]:
        """The arguments that make it, by name: those that are not the default, and the one that matters most."""
        shown = {}
        for field in fields(self):  # type: ignore[arg-type]  # every concrete compressor is a dataclass
            value = getattr(self, field.name)
            if value != field.default or (field.name in ("bits", "k") and value is not None):
                shown[field.name] = value
        return shown

    def __repr__(self) -> str:
        return call(type(self).__name__, **self.arguments())
