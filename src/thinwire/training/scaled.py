"""Compression in the geometry of what came back: s · C(v / s), for optimisers that divide by s² as Adam does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.exchange import Exchange, Outcome
from thinwire.kernels import into_geometry, out_of_geometry
from thinwire.link import Kept, Link
from thinwire.rounds import Round

SQUARES = "squares"
"""The running mean squares' name among the parts of a memory."""


class Scaled:
    """A link's exchange of v / s in the place of v.

    A code's noise is as large as its block's values, on the block's smallest ones too; there Adam, which divides by
    √q, makes much of it. With s in between noise is in proportion to s:

        v̂ = s · (what the link says of v / s)        q ← β₂ q + (1 − β₂) v̂²        s ≈ q^¼

    where q begins as the first v̂², and s is the power of two next to q^¼, at least 2^-13; 1 where nothing but zeros
    came back. q is what Adam's second moment is, made on each worker of what all of them know: the same bits
    everywhere, none of them sent. Powers of two round nothing. What was unbiased stays so. It is the root of the
    divisor since √q itself is known too badly where it is small.

    Source: the analogue, for Adam, of Safaryan, Hanzely and Richtárik, "Smoothness matrices beat smoothness constants:
    better communication compression techniques for distributed optimization" (NeurIPS 2021), L^½ C(L^−½ x).

    Args:
        inner: the exchange.
        beta2: β₂, the optimiser's own.

    Raises:
        ValueError: the link owes what it has not sent.

    >>> import torch, thinwire as tw
    >>> from thinwire.rounds import finish
    >>> size = torch.logspace(-3, 0, 1000)
    >>> def error(scaled):
    ...     exchange = tw.Exchange(tw.diana(tw.Rotated(bits=1)), d=1000, group=tw.LocalGroup(4))
    ...     exchange = Scaled(exchange, beta2=0.95) if scaled else exchange
    ...     for step in range(60):
    ...         v = size * (1 + torch.randn(4, 1000))
    ...         outcome = finish(exchange.round(v, step))
    ...         exchange.commit(outcome)
    ...     return ((outcome.estimate - v.mean(0)) / size).square().mean()
    >>> bool(error(scaled=True) < error(scaled=False) / 4)
    True
    """

    rounds = 1

    def __init__(self, inner: Exchange, beta2: float) -> None:
        if inner.recursion.cumulative or inner.down_recursion.cumulative:
            rule = "what a link still owes would be in units that change from step to step"
            raise ValueError(fault(f"geometry={beta2}", rule, inner.link, "Use diana, dcgd or ef21."))
        self.inner, self.beta2 = inner, beta2
        self.d, self.link, self.group = inner.d, inner.link, inner.group
        self.route, self.costs = inner.route, inner.costs
        self.squares = torch.zeros(1, inner.d, dtype=inner.dtype, device=self.group.device)
        self._next = torch.zeros_like(self.squares)
        self._sent = torch.zeros(len(self.group.ranks), inner.width, dtype=inner.dtype, device=self.group.device)

    @property
    def width(self) -> int:
        """As of the exchange."""
        return self.inner.width

    def round(
        self, v: Tensor, step: int, *, dense: bool = False, out: Tensor | None = None, rescale: float | Tensor = 1.0
    ) -> Round[Outcome]:
        """`Exchange.round` of v / s, and its estimate times s. What the outcome tells of errors is of v / s."""
        into_geometry(self.squares[0], v[:, : self.d], self._sent[:, : self.d])
        outcome = yield from self.inner.round(self._sent, step, dense=dense, out=out, rescale=rescale)
        estimate = outcome.estimate
        # not in its own place, unless it lies where it may: some links keep what they gave
        outcome.estimate = torch.empty_like(estimate) if out is None else out[0, : self.d]
        out_of_geometry(self.squares[0], self.beta2, estimate, outcome.estimate, self._next[0])
        return outcome

    def commit(self, outcome: Outcome) -> None:
        """Make the state that a round led to the state; a round that was not finite changes nothing."""
        self.inner.commit(outcome)
        if outcome.finite:
            self.squares, self._next = self._next, self.squares

    def turned(self, link: Link) -> Scaled:
        """Go on by another link, which takes over what both remember, and q."""
        new = Scaled(self.inner.turned(link), self.beta2)
        new.squares = self.squares.clone()
        return new

    def state_dict(self) -> dict[str, Tensor | bool]:
        """What this process remembers: the exchange's parts, and "squares", (1, d), known to all."""
        return {**self.inner.state_dict(), SQUARES: self.squares.clone()}

    def kept(self) -> dict[str, tuple[Kept, str]]:
        """Whose each part of `state_dict` is."""
        return {**self.inner.kept(), SQUARES: (Kept.COMMON, SQUARES)}

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: a part is missing, unknown, or of another shape.
        """
        rest: dict[str, Any] = dict(parts)
        squares = rest.pop(SQUARES, None)
        if not isinstance(squares, Tensor) or squares.shape != self.squares.shape:
            rule = f"{SQUARES} has shape {tuple(self.squares.shape)}"
            raise ValueError(fault(f"state of {self.inner.link!r}", rule, getattr(squares, "shape", squares)))
        self.inner.load_state_dict(rest)
        self.squares = squares.to(self.squares, copy=True)
