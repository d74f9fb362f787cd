"""LowRank between the workers of a group: two all-reduces a frame, one of all P and one of all Q."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.comm import mean as routes
from thinwire.comm.base import Group
from thinwire.comm.mean import Heard, Steps, share
from thinwire.compressors import Identity
from thinwire.compressors.base import Onto
from thinwire.exchange import ERROR_EVERY, Outcome, bounded
from thinwire.kernels.factors import one_blas_thread
from thinwire.keys import Key
from thinwire.link import Kept
from thinwire.lowrank import LowRank, Plan
from thinwire.rounds import Clock, Round

EXACT = Identity()
LIMIT = 2.0**96
"""Magnitudes from which a step counts as not finite: below it no product or sum of a step can overflow."""


@dataclass(frozen=True)
class LowRankState:
    """What the workers remember.

    Args:
        basis: (q,), all Q that the next step begins with: the same on all workers.
        error: (rows, width), E_i of the matrices alone, as the plan lays them out; None without memory.
    """

    basis: Tensor
    error: Tensor | None


class LowRankExchange:
    """PowerSGD between the workers of a group, for one vector of parameters: an `Exchange` of two rounds.

    1. M_i = v_i + E_i. All P_i = M_i Q, and what travels whole, are averaged by an all-reduce.
    2. Everyone makes the columns of P orthonormal, by itself: the same bits everywhere (`kernels.factors`).
    3. All Q_i = M_iᵀ P are averaged by an all-reduce. The estimate is P Qᵀ; E_i ← M_i − P Q_iᵀ.

    Products with M_i are a worker's own affair, and BLAS makes them. What all workers must hold alike, P and P Qᵀ, is
    made of float32 operations in a fixed order: workers on different machines do not drift apart either.

    A flag rides in the first message, so that after it all workers know whether all are finite; if one is not, nobody
    changes anything at `commit`.

    Args:
        link: the rank, and whether there is memory.
        shapes: of the parameters that lie end to end in the vector.
        group: the workers.
        seed, tensor: of the key of the first Q.

    >>> import torch, thinwire as tw
    >>> from thinwire.rounds import finish
    >>> exchange = LowRankExchange(tw.LowRank(2), [(64, 32), (64,)], tw.LocalGroup(4))
    >>> v = torch.randn(4, 64 * 32 + 64)
    >>> outcome = finish(exchange.round(v, step=0))
    >>> kept = v.mean(0) - outcome.estimate  # of random matrices two directions of 32 are about a sixth
    >>> 0.8 < float(kept[:2048].norm() / v.mean(0)[:2048].norm()) < 1, bool(kept[2048:].abs().max() < 1e-6)
    (True, True)
    """

    route = "allreduce"
    rounds = 2

    def __init__(
        self, link: LowRank, shapes: Sequence[tuple[int, ...]], group: Group, *, seed: int = 0, tensor: int = 0
    ) -> None:
        self.link, self.group = link, group
        self.plan = Plan.of(link, shapes)
        assert self.plan.stacks  # a frame that would not shrink is sent as it is
        self.d = self.width = self.plan.d
        self._sizes = [prod(shape) for shape in shapes]
        self._key = Key(seed, 0, tensor, group.ranks)
        self._room = self._zeros()
        self.state = LowRankState(self.plan.basis(self._key, group.device), self._zeros() if link.memory else None)

    def _zeros(self) -> Tensor:
        return torch.zeros(len(self.group.ranks), self.plan.width, device=self.group.device)

    def round(
        self, v: Tensor, step: int, *, dense: bool = False, out: Tensor | None = None, rescale: float | Tensor = 1.0
    ) -> Round[Outcome]:
        """One step of each worker, v of shape (rows, d): the estimate of the mean, and the state that it leads to.

        Yields wherever it waits for the wire. `dense` sends v + E whole: the memory is paid, the directions stay.
        `out`, (1, d), is memory for the estimate. `rescale`, a number or (d,), is what E is multiplied by beforehand.
        """
        clock, plan, m = Clock(), self.plan, self._room
        sent = {"up": 0, "down": 0}
        error: Tensor | None = None
        owed = self._rescaled(rescale)
        plan.gather(v, owed, m)
        if dense:
            whole = v if owed is None else v + plan.scatter(owed)
            heard = yield from clock.timing(self._mean(whole, sent))
            m.zero_()
            finite = heard.finite and bounded(heard.estimate)
            return self._outcome(heard.estimate[0], finite, error, sent, clock, self.state.basis)
        heard = yield from clock.timing(self._mean(self._first(v, m), sent))
        finite = heard.finite and bounded(heard.estimate)
        first = heard.estimate[0]
        left = plan.orthonormal(first)
        with one_blas_thread():
            second = plan.said_second(m, left)
        heard = yield from clock.timing(self._mean(second, sent))
        finite, right = finite and heard.finite, heard.estimate[0]
        estimate = torch.empty(self.d, device=v.device) if out is None else out.view(-1)
        plan.join(first, left, right, estimate)
        looks = step % ERROR_EVERY == 0
        if self.link.memory or looks:
            plan.subtract(left, second, m)
        if looks:
            error = torch.stack([self._squares(x) for x in (plan.scatter(m), v)])
        basis = plan.renewed(left, right, self.state.basis)
        return self._outcome(estimate, finite, error, sent, clock, basis)

    def _rescaled(self, factor: float | Tensor) -> Tensor | None:
        error = self.state.error
        if error is None or (not isinstance(factor, Tensor) and factor == 1):
            return error
        if isinstance(factor, Tensor):
            laid = torch.zeros(1, self.plan.width, device=error.device)
            self.plan.gather(factor[None].to(laid), None, laid)
            factor = laid
        return error * factor

    def _squares(self, x: Tensor) -> Tensor:
        """Of each parameter, over all rows."""
        return torch.stack([part.square().sum() for part in torch.split(x, self._sizes, dim=1)])

    def _outcome(
        self, estimate: Tensor, finite: bool, error: Tensor | None, sent: dict[str, int], clock: Clock, basis: Tensor
    ) -> Outcome:
        if not finite:
            estimate = torch.full_like(estimate, float("nan"))
        after = LowRankState(basis, self._room if self.link.memory else None)
        return Outcome(estimate, finite, None, error, sent, clock.seconds(), after)

    def commit(self, outcome: Outcome) -> None:
        """Make the state that a round led to the state; a round that was not finite changes nothing."""
        if outcome.finite:
            old, self.state = self.state, outcome.after
            if old.error is not None:
                self._room = old.error

    def _first(self, v: Tensor, m: Tensor) -> Tensor:
        """The first message; NaN throughout for a row that is not finite."""
        with one_blas_thread():
            message = self.plan.said_first(v, m, self.state.basis)
        for row, own in zip(message, m, strict=True):  # along a dimension aminmax is slow
            low, high = torch.aminmax(own)
            if not (low > -LIMIT and high < LIMIT):  # a NaN is neither
                row.fill_(float("nan"))
        return message

    def _mean(self, message: Tensor, sent: dict[str, int]) -> Steps[Heard]:
        payload = EXACT.encode(message, self._key)
        n = self.group.size
        part = (n - 1) * share(payload.nbytes // 4, n) * 4
        sent["up"] += part
        sent["down"] += part
        return routes.allreduce(self.group, EXACT, payload, Onto(), torch.float32, listen=False)

    def state_dict(self) -> dict[str, Tensor | bool]:
        """What this process remembers: "up.error", (rows, d), each worker's own, and "basis", (1, q), common to all."""
        parts: dict[str, Tensor | bool] = {"basis": self.state.basis[None].clone()}
        if self.state.error is not None:
            parts["up.error"] = self.plan.scatter(self.state.error)
        return parts

    def kept(self) -> dict[str, tuple[Kept, str]]:
        """Whose each part of `state_dict` is."""
        parts = {"basis": (Kept.WHOLE, "basis")}
        return {"up.error": (Kept.DEBT, "up.error"), **parts} if self.link.memory else parts

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: a part is missing, unknown, or of another shape.
        """
        where, fresh = f"state of {self.link!r}", self.state_dict()
        if set(parts) != set(fresh):
            raise ValueError(fault(where, f"its parts are {', '.join(sorted(fresh))}", sorted(parts)))
        given: dict[str, Tensor] = {}
        for name, mine in fresh.items():
            part, shape = parts[name], torch.as_tensor(mine).shape
            if not isinstance(part, Tensor) or part.shape != shape:
                rule = f"{name} has shape {tuple(shape)}"
                raise ValueError(fault(where, rule, tuple(getattr(part, "shape", ()))))
            given[name] = part
        error = None
        if self.link.memory:
            error = self._zeros()
            self.plan.gather(given["up.error"].to(error), None, error)
        self.state = LowRankState(given["basis"][0].to(self.state.basis, copy=True), error)
