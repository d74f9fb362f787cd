"""Compression in the geometry of what came back: s · C(v / s), for optimisers that divide by s² as Adam does."""

from __future__ import annotations

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.comm.mean import share
from thinwire.exchange import Exchange, Outcome, bounded
from thinwire.kernels import change_geometry, into_geometry, out_of_geometry
from thinwire.link import Kept, Link
from thinwire.rounds import Round

SQUARES, AGE = "squares", "age"
"""The names of running mean squares, and of how many steps they are of, among the parts of a memory."""
WAIT = 5
"""Steps before which squares are too few to go by: where one is small by chance, v / s would be huge."""


class Scaled:
    """A link's exchange of v / s in the place of v.

    A code's noise is as large as its block's values, on the block's smallest ones too; there Adam, which divides by
    √q, makes much of it. With s in between noise is in proportion to s:

        v̂ = s · (what the link says of v / s)        q ← β₂ q + (1 − β₂) v̂²        s ≈ q^¼

    where s is the power of two next to q^¼, at least 2^-13, and 1 where nothing but zeros came back, and for the first
    WAIT steps, in which q is the plain mean of what came. q is what Adam's second moment is, made on each worker of
    what all of them know: the same bits everywhere, none of them sent. Powers of two round nothing. What was unbiased
    stays so. It is the root of the divisor since √q itself is known too badly where it is small.

    The link remembers h of v / s. Where s changes, what is remembered is multiplied by s_before / s_after, so that
    s h, in the units of v, stays what it was: DIANA's h ← h + λ s C((v − h) / s). States are saved in the units of v.

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
        self.age = 0
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
        scales = self._scales()
        into_geometry(scales, v[:, : self.d], self._sent[:, : self.d])
        outcome = yield from self.inner.round(self._sent, step, dense=dense, out=out, rescale=rescale)
        estimate, past = outcome.estimate, self.beta2**self.age
        # not in its own place, unless it lies where it may: some links keep what they gave
        outcome.estimate = torch.empty_like(estimate) if out is None else out[0, : self.d]
        kept = self.beta2 * (1 - past) / (1 - self.beta2 * past)  # so that the first ones count alike
        out_of_geometry(scales, self.squares[0], kept, estimate, outcome.estimate, self._next[0])
        if outcome.finite and not bounded(outcome.estimate):
            outcome.finite = False
            outcome.estimate.fill_(float("nan"))
        return outcome

    def commit(self, outcome: Outcome) -> None:
        """Make the state that a round led to the state; a round that was not finite changes nothing."""
        self.inner.commit(outcome)
        if outcome.finite:
            before = self._scales()
            self.squares, self._next = self._next, self.squares
            self.age += 1
            self._change(before, self._scales())

    def _scales(self) -> Tensor:
        """(d,), what s is made of."""
        return self.squares[0] if self.age >= WAIT else self._ones()

    def _ones(self) -> Tensor:
        """(d,), of which all s are 1."""
        return torch.zeros_like(self.squares[0])

    def _change(self, before: Tensor, after: Tensor) -> None:
        """Have what the exchange remembers be in other units."""
        exchange, first = self.inner, self.group.ranks.start
        part, seen = share(self.d, self.group.size), set[int]()
        for place, state in enumerate(exchange.state):
            for name, rows in state.tensors().items():
                in_shares = self.route == "sharded" and (place == 1 or name == "mean")
                for row, values in enumerate(rows):
                    if values.data_ptr() in seen:  # what begins as another part of the memory may be that part
                        continue
                    seen.add(values.data_ptr())
                    everyones = place == 1 and name == "mean"
                    start = part * (row if everyones else first + row) if in_shares else 0
                    where = slice(start, start + len(values))
                    change_geometry(before[where], after[where], values[: max(0, self.d - start)])

    def turned(self, link: Link) -> Scaled:
        """Go on by another link, which takes over what both remember, and q."""
        new = Scaled(self.inner.turned(link), self.beta2)
        new.take(self)
        return new

    def take(self, other: Scaled) -> None:
        """Take another one's q, in whose units what is remembered here is, if it is not zero."""
        self.squares, self.age = other.squares, other.age

    def state_dict(self) -> dict[str, Tensor | bool]:
        """What this process remembers: the exchange's parts, in the units of v, and two that are known to all:
        "squares", (1, d), and "age", (1, 1), the steps that they are of."""
        self._change(self._scales(), self._ones())
        parts = self.inner.state_dict()
        self._change(self._ones(), self._scales())
        return {**parts, SQUARES: self.squares.clone(), AGE: torch.full((1, 1), self.age)}

    def kept(self) -> dict[str, tuple[Kept, str]]:
        """Whose each part of `state_dict` is."""
        return {**self.inner.kept(), SQUARES: (Kept.COMMON, SQUARES), AGE: (Kept.WHOLE, AGE)}

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: a part is missing, unknown, or of another shape.
        """
        rest = dict(parts)
        squares, age = rest.pop(SQUARES, None), rest.pop(AGE, None)
        for name, given, shape in ((SQUARES, squares, (1, self.d)), (AGE, age, (1, 1))):
            if not isinstance(given, Tensor) or given.shape != shape:
                rule = f"{name} has shape {shape}"
                raise ValueError(fault(f"state of {self.inner.link!r}", rule, getattr(given, "shape", given)))
        assert isinstance(squares, Tensor)
        assert isinstance(age, Tensor)
        self.inner.load_state_dict(rest)
        self.squares, self.age = squares.to(self.squares, copy=True), int(age)
        self._change(self._ones(), self._scales())
