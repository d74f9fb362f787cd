"""Integers on the wire, which may be added up as they travel: IntSGD and IntDIANA."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from thinwire import theory
from thinwire._check import call, fault, one_of
from thinwire.comm.total import total
from thinwire.convex.draws import METHOD
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.methods.local import sends_whole
from thinwire.convex.oracles import Record
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.convex.wire import NotFinite
from thinwire.theory import Plan

WIDTHS = {8: torch.int8, 16: torch.int16, 32: torch.int32}


@dataclass(frozen=True)
class IntSGD(Rule):
    """x ← x − γ mean(Int(α g_i))/α, Int rounding at random to integers, α = √d / √(2n r/γ² + ε²) known to all.

    r ← βr + (1 − β)‖x − x_prev‖², so that the error of rounding vanishes with the steps. Sums of integers are exact and
    no wider than their terms, which are cut off at ±⌊(2^(bits−1) − 1)/n⌋: any all-reduce, or a switch, can make them.
    But α grows for ever: unless all ∇f_i(x*) = 0 the integers are cut off sooner or later, and the method stops at a
    floor. IntDIANA has none. The first round, having no α, goes by the link, dcgd(Identity()). No penalty.
    Source: Mishchenko, Wang, Kovalev, Richtárik, "IntSGD" (ICLR 2022), algorithm 1.

    Args:
        bits: of an integer on the wire: 8, 16 or 32.

    >>> import numpy as np, thinwire as tw
    >>> A = np.random.default_rng(0).normal(size=(200, 10))
    >>> fits_everyone = tw.SquaredLoss(A, A @ np.ones(10))
    >>> tw.solve(fits_everyone, rule=tw.IntSGD(bits=16), link=tw.dcgd(tw.Identity()), workers=10).status.name
    'CONVERGED'
    """

    bits: int = 32

    def __post_init__(self) -> None:
        one_of(call("IntSGD", bits=self.bits), "bits", self.bits, WIDTHS)

    usual = "dcgd(identity())"
    answers = False

    def plan(self, case: Case) -> Plan:
        _checked(self, case, self.bits)
        return replace(theory.intsgd(case.constants), floor=case.n > 1)

    def start(self, run: Run) -> Method:
        return _Integers(run, self.bits, shifts=False)


@dataclass(frozen=True)
class IntDIANA(Rule):
    """IntSGD of the differences g_i − h_i: m_i = Int(α(g_i − h_i))/α, ĝ = h̄ + mean(m_i), h_i ← h_i + m_i.

    The integers stay small, of order √(d/2n) γL_i, since differences and steps vanish together: eight bits are enough
    for a few dozen workers. All else is as in IntSGD.
    Source: Mishchenko, Wang, Kovalev, Richtárik, "IntSGD" (ICLR 2022), IntDIANA.

    Args:
        bits: of an integer on the wire: 8, 16 or 32.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> problem, link = tw.LogisticLoss(A, b, l2=0.1), tw.dcgd(tw.Identity())
    >>> solution = tw.solve(problem, rule=tw.IntDIANA(bits=8), link=link, workers=10)
    >>> solution.status.name, solution.bytes_up == 44 + 11 * (solution.rounds - 1)
    ('CONVERGED', True)
    """

    bits: int = 8

    def __post_init__(self) -> None:
        one_of(call("IntDIANA", bits=self.bits), "bits", self.bits, WIDTHS)

    usual = "dcgd(identity())"
    answers = False

    def plan(self, case: Case) -> Plan:
        _checked(self, case, self.bits)
        return theory.intdiana(case.constants)

    def start(self, run: Run) -> Method:
        return _Integers(run, self.bits, shifts=True)


class _Integers(Method):
    def __init__(self, run: Run, bits: int, shifts: bool) -> None:
        self.run, self.bits, self.shifts, self.x = run, bits, shifts, run.x.copy()
        self.wire = run.wire(link=run.case.link)
        self.limit = _limit(bits, run.case.n)
        self.h: Array = np.zeros((run.objective.rows, run.case.d))  # float64: h̄ stays the mean of the h_i
        self.mean: Array = np.zeros(run.case.d)
        self.moved, self.cut = 0.0, 0

    def round(self, k: int) -> None:
        run, step = self.run, self.run.plan.step
        g = run.objective.gradients(self.x)
        if k == 0:
            estimate, own = self.wire.heard(g, 0)
            run.traffic.down += run.x.nbytes
        else:
            alpha = theory.int_scale(run.case.d, run.case.n, step, self.moved)
            integers = self._rounded(alpha * (g - self.h), k)
            estimate = self.mean + self._total(integers) / (run.case.n * alpha)
            own = self.h + integers / alpha
        if self.shifts:
            self.h, self.mean = own.astype(np.float64), estimate.astype(np.float64)
        x, beta = self.x - step * estimate, run.plan.more["beta"]
        self.moved = beta * self.moved + (1 - beta) * float(np.sum(np.square(x - self.x)))
        self.x = x.astype(self.x.dtype)

    def _rounded(self, scaled: Array, k: int) -> Array:
        """⌊t + u⌋, cut off; `cut` counts what was. A row that is not finite becomes NaN."""
        integers = np.floor(scaled + self.run.draws.many(k, METHOD, scaled.shape[1]))
        kept = np.clip(integers, -self.limit, self.limit)
        self.cut += int((kept != integers).sum())
        return kept

    def _total(self, integers: Array) -> Array:
        """(rows, d) -> (d,). One element more counts the rows that were not finite."""
        bad = ~np.isfinite(integers).all(axis=1, keepdims=True)
        elements = torch.from_numpy(np.hstack([np.where(bad, 0, integers), bad])).to(WIDTHS[self.bits])
        sums, sent = total(self.run.group, elements)
        self.run.traffic.sent += sent
        self.run.traffic.up += elements.shape[1] * elements.dtype.itemsize
        self.run.traffic.down += elements.shape[1] * elements.dtype.itemsize
        if sums[-1]:
            raise NotFinite
        made: Array = sums[:-1].to(torch.float64).numpy()
        return made

    def state_dict(self) -> Record:
        numbers = {"moved": self.moved, "cut": self.cut}
        return {"x": self.x, "h": self.h, "mean": self.mean, **numbers, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.h, self.mean = state["x"], state["h"], state["mean"]
        self.moved, self.cut = state["moved"], state["cut"]
        self.wire.load_state_dict(state["wire"])


def _limit(bits: int, workers: int) -> int:
    """The largest integer of which `workers` may be added up without an overflow."""
    return int((2 ** (bits - 1) - 1) // workers)


def _checked(rule: Rule, case: Case, bits: int) -> None:
    if not _limit(bits, case.n):
        way_out = f"Pass bits={2 * bits}."
        raise ValueError(fault(repr(rule), f"sums of {case.n} integers do not fit in {bits} bits", None, way_out))
    sends_whole(rule, case, f"Gradient() with {case.link!r}")
    if case.prox:
        raise ValueError(fault(repr(rule), "no theorem of it allows a penalty", None, "Use Gradient() with diana."))
    if case.oracle.family != "full":
        raise ValueError(fault(repr(rule), "it needs full gradients", repr(case.oracle), "Pass oracle=Full()."))
