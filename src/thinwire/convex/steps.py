"""Which theorem covers a plain gradient rule: by its link, its oracle, and what the problem is sure of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from thinwire import theory
from thinwire._check import fault
from thinwire.convex.oracles import Oracle
from thinwire.link import Link
from thinwire.theory import Constants, Plan


@dataclass(frozen=True)
class Case:
    """What theorems are chosen by: the problem's constants, and the parts of the method.

    Args:
        constants: L, L_i, μ, …
        link: what the workers send by, bound to their number.
        oracle: where their vectors come from.
        d: the vectors' length.
        prox: whether there is a penalty.
        ridge: the μ that every f_i has for itself: l2.
        constrained: whether the penalty is infinite somewhere.
    """

    constants: Constants
    link: Link
    oracle: Oracle
    d: int
    prox: bool
    ridge: float = 0.0
    constrained: bool = False

    @property
    def n(self) -> int:
        """Workers."""
        return self.constants.n

    @property
    def omega(self) -> float:
        """ω of the link's compressor, which is unbiased."""
        omega = self.link.compressor.omega(self.d)
        assert omega is not None  # the link's preset has checked it
        return omega

    @property
    def mean_variance(self) -> float:
        """ω_av: that of the mean of n messages."""
        return self.link.compressor.mean_variance(self.d, self.n)

    @property
    def delta(self) -> float:
        """δ of the link's compressor, which is contractive."""
        delta = self.link.compressor.delta(self.d)
        assert delta is not None  # the link's preset has checked it
        return delta

    @property
    def probability(self) -> float:
        """The link's p."""
        return self.link.recursion(self.d, self.n).p

    @property
    def batch(self) -> int:
        """Samples of a minibatch."""
        assert self.oracle.batch is not None  # asked for by theorems on finite sums
        return self.oracle.batch


def plain_plan(case: Case) -> Plan:
    """The plan of x ← prox(x − γ ĝ) for a link and an oracle.

    Raises:
        ValueError: no theorem covers them, or this problem; it says which would.
    """
    family = case.oracle.family
    found = TABLE.get((case.link.method, family))
    where = f"{case.link!r} with {case.oracle!r}"
    if found is None:
        known = ", ".join(link for link, oracle in TABLE if oracle == family)
        raise ValueError(fault(where, f"no theorem covers them; with {case.oracle!r} go the links {known}"))
    plan = found(case)
    if case.prox and not plan.prox:
        way_out = "Use diana, ef21 or ef_bv, or leave the penalty out."
        raise ValueError(fault(where, f"its theorem ({plan.theorem}) allows no penalty", None, way_out))
    return plan


def _dcgd(case: Case) -> Plan:
    if not case.omega:
        return theory.gradient_descent(case.constants)
    return theory.dcgd(case.constants, case.omega, case.mean_variance)


def _diana(case: Case) -> Plan:
    """Where several theorems hold, the one that promises most."""
    constants, omega, w = case.constants, case.omega, case.mean_variance
    if constants.regime == "convex":
        return theory.diana_convex(constants, omega, w)
    if not constants.convex:
        return theory.diana_nonconvex(constants, omega, w)
    plans = [theory.diana(constants, omega, w)]
    if case.ridge:
        sure = replace(constants, strong=case.ridge)
        plans += [theory.diana_original(sure, omega, w), theory.diana_balanced(sure, omega, w)]
    return max(plans, key=lambda plan: plan.rate or 0.0)


def _vr_diana(case: Case) -> Plan:
    p, m, n = case.oracle.renewal(case.constants.m), case.constants.m, case.n
    if not case.constants.convex:
        if p < 1 / m or case.mean_variance > case.omega / n * (1 + 1e-9):
            rule = "its nonconvex theorem wants p of at least 1/m, and workers whose errors are independent"
            where = f"{case.link!r} with {case.oracle!r}"
            raise ValueError(fault(where, rule, None, "Use marina or dasha with PAGE()."))
        return theory.vr_diana_nonconvex(case.constants, case.omega)
    return theory.vr_diana(case.constants, case.omega, case.batch, p, case.mean_variance)


def _vr_marina(case: Case) -> Plan:
    if case.oracle.p is not None:
        where = f"{case.link!r} with {case.oracle!r}"
        raise ValueError(fault(where, "the coin is the link's there, and theory gives its p", None, "Leave p out."))
    return theory.vr_marina(case.constants, case.omega, case.batch, mean_variance=case.mean_variance)


def _without_shifts(plan: Plan, case: Case) -> Plan:
    """DIANA's step without its shifts: there is a floor unless nothing is lost; the step is shorter than it need be."""
    more = {name: value for name, value in plan.more.items() if name != "lam"}
    lossy = case.omega > 0
    rate = None if lossy else plan.rate
    return replace(plan, theorem=f"{plan.theorem}, λ = 0", more=more, floor=plan.floor or lossy, rate=rate)


TABLE: dict[tuple[str, str], Callable[[Case], Plan]] = {
    ("dcgd", "full"): _dcgd,
    ("diana", "full"): _diana,
    ("rand_diana", "full"): lambda case: theory.rand_diana(case.constants, case.omega, case.mean_variance),
    ("ef21", "full"): lambda case: theory.ef21(case.constants, case.delta, case.prox),
    ("ef_bv", "full"): lambda case: theory.ef_bv(
        case.constants,
        case.link.compressor.bias(case.d),
        case.link.compressor.variance(case.d),
        case.mean_variance,
        case.prox,
    ),
    ("marina", "full"): lambda case: theory.marina(case.constants, case.omega, case.probability, case.mean_variance),
    ("dasha", "full"): lambda case: theory.dasha(case.constants, case.omega, case.mean_variance),
    ("lag", "full"): lambda case: theory.clag(case.constants, 1.0, case.link.zeta or 0.0),
    ("clag", "full"): lambda case: theory.clag(case.constants, case.delta, case.link.zeta or 0.0),
    ("ef14", "full"): lambda case: theory.ef14(case.constants, case.delta),
    ("diana", "minibatch"): lambda case: theory.sgd_diana(case.constants, case.omega, case.batch, case.mean_variance),
    ("dcgd", "minibatch"): lambda case: _without_shifts(TABLE["diana", "minibatch"](case), case),
    ("diana", "reduced"): _vr_diana,
    ("dcgd", "reduced"): lambda case: _without_shifts(_vr_diana(case), case),
    ("marina", "page"): _vr_marina,
    ("dasha", "page"): lambda case: theory.dasha_page(
        case.constants, case.omega, case.batch, case.mean_variance, case.oracle.p
    ),
}
"""What covers a link and a family of oracles."""
