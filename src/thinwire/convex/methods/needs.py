"""What a rule's theorem asks of a case; each refusal says the way out."""

from __future__ import annotations

from thinwire._check import fault
from thinwire.convex.methods.base import Rule
from thinwire.convex.steps import Case
from thinwire.theory import Plan


def full_gradients(rule: Rule, case: Case) -> None:
    """The oracle is `Full`."""
    if case.oracle.family != "full":
        way_out = f"Use Full(), or Gradient() with {case.oracle!r}."
        raise ValueError(fault(repr(rule), "its theorem is for full gradients, oracle=Full()", case.oracle, way_out))


def diana_link(rule: Rule, case: Case) -> None:
    """The workers send by diana."""
    if case.link.method != "diana":
        way_out = f"Use diana(…), or Gradient() with {case.link!r}."
        raise ValueError(fault(repr(rule), "its workers send by a diana link", case.link, way_out))


def independent_errors(rule: Rule, case: Case, way_out: str) -> None:
    """ω_av = ω / n."""
    if case.mean_variance > case.omega / case.n * (1 + 1e-9):
        needed = "its theorem is for compressors whose errors are independent among the workers"
        raise ValueError(fault(repr(rule), needed, case.link.compressor, way_out))


def strong_convexity(rule: Rule, case: Case) -> None:
    """f is convex, and μ > 0."""
    if not case.constants.convex or case.constants.strong <= 0:
        way_out = "Pass l2=… to the loss, with no intercept, or use Gradient()."
        raise ValueError(fault(repr(rule), "f must be strongly convex", case.constants.regime, way_out))


def room_for_penalty(rule: Rule, case: Case, plan: Plan, way_out: str) -> Plan:
    """The plan, if its theorem allows the penalty that there is."""
    if case.prox and not plan.prox:
        raise ValueError(fault(repr(rule), f"its theorem ({plan.theorem}) allows no penalty", None, way_out))
    return plan
