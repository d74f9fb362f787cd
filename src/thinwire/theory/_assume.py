"""The assumptions of theorems, checked."""

from __future__ import annotations

import math

from thinwire._check import fault
from thinwire.theory.plan import Constants


def convex(theorem: str, constants: Constants, way_out: str) -> None:
    """Every f_i is convex."""
    if not constants.convex:
        raise ValueError(fault(theorem, "every f_i must be convex, and here it is not", None, way_out))


def strongly_convex(theorem: str, constants: Constants, way_out: str) -> None:
    """And μ > 0."""
    convex(theorem, constants, way_out)
    if constants.strong <= 0:
        raise ValueError(fault(theorem, "f must be strongly convex", f"μ = {constants.strong}", way_out))


def unbiased(theorem: str, omega: float) -> None:
    """0 ≤ ω < ∞."""
    if not 0 <= omega < math.inf:
        way_out = "Use an unbiased compressor, or ef21."
        raise ValueError(fault(theorem, "ω must be at least 0 and finite", omega, way_out))


def mean_variance(theorem: str, constants: Constants, omega: float, given: float | None) -> float:
    """ω_av: as given, or of independent messages ω / n. At most ω by Jensen's inequality."""
    unbiased(theorem, omega)
    value = omega / constants.n if given is None else given
    if not 0 <= value <= omega * (1 + 1e-9):
        raise ValueError(fault(theorem, f"ω_av must be 0 to ω = {omega:.3g}", value, "Leave it out if independent."))
    return value


def contractive(theorem: str, delta: float) -> None:
    """0 < δ ≤ 1."""
    if not 0 < delta <= 1:
        way_out = "Use a contractive compressor, C.contractive(), or diana."
        raise ValueError(fault(theorem, "δ must be above 0 and at most 1", delta, way_out))


def probability(theorem: str, p: float, name: str = "p") -> None:
    """0 < p ≤ 1."""
    if not 0 < p <= 1:
        raise ValueError(fault(theorem, f"{name} must be above 0 and at most 1", p))


def minibatch(theorem: str, constants: Constants, batch: int) -> None:
    """1 ≤ b ≤ m."""
    if not 1 <= batch <= constants.m:
        raise ValueError(fault(theorem, f"the batch must be 1 to m = {constants.m}", batch))
