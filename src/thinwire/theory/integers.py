"""Integers on the wire, summed as they travel: IntSGD and IntDIANA. One scale α for all workers."""

from __future__ import annotations

import math

from thinwire._check import fault
from thinwire.theory.plan import Constants, Plan


def int_scale(d: int, workers: int, step: float, moved: float, eps: float = 1e-8) -> float:
    """α = √d / √(2n r/γ² + ε²): ĝ = (1/(nα)) Σ Int(αg_i) then has a variance of at most r/(2γ²) + ε²/(4n).

    `moved` is r, the running average of ‖x^k − x^{k−1}‖²: r ← βr + (1 − β)‖x^k − x^{k−1}‖². Int rounds at random,
    without bias, with a variance of at most ¼ a coordinate.
    Source: Mishchenko, Wang, Kovalev, Richtárik, "IntSGD" (ICLR 2022).

    >>> int_scale(d=8, workers=4, step=0.5, moved=0.25)
    1.0
    """
    return math.sqrt(d / (2 * workers * moved / step**2 + eps**2))


def intsgd(constants: Constants, beta: float = 0.9) -> Plan:
    """γ = 1/(2L): mean E‖∇f‖² ≤ 2V⁰/(γT); PL: γ = min{1/(3L), (1 − β)/(4μ)}, V falls by 1 − γμ. Full gradients.

    V = f − f* + (L/(1 − β))r (PL), with the scale of `int_scale`, whose ε adds a floor of ε²/(8nμ). No penalty.
    The integers grow without bound if ∇f_i(x*) ≠ 0, since α does: `intdiana` keeps them small.
    Source: IntSGD (ICLR 2022), algorithm 1; the step is derived, from γ²E‖ĝ − ∇f‖² ≤ r/2.

    >>> intsgd(Constants(1.0, (1.0,), 1.0, 0.0, 1)).step
    0.5
    """
    return _integers("IntSGD (2022), step derived", constants, beta)


def intdiana(constants: Constants, beta: float = 0.9) -> Plan:
    """IntSGD on g_i − h_i, h_i ← h_i + Int(α(g_i − h_i))/α: the same variance and plan, and integers that stay small.

    α|g_i − h_i| is of order √(d/2n) γL_i, as ‖g_i − h_i‖ and ‖x⁺ − x‖ vanish together. `more` has lam = 1.
    Source: IntSGD (ICLR 2022), IntDIANA; the step is derived as for `intsgd`.

    >>> intdiana(Constants(1.0, (1.0,), 1.0, 0.0, 1)).more["lam"]
    1.0
    """
    return _integers("IntDIANA (2022), step derived", constants, beta, lam=1.0)


def _integers(theorem: str, constants: Constants, beta: float, **more: float) -> Plan:
    if not 0 <= beta < 1:
        raise ValueError(fault(theorem, "β, of the running average, must be 0 to below 1", beta))
    L, mu, more = constants.smoothness, constants.strong, {"beta": beta, **more}
    if mu == 0:
        return Plan(theorem, "nonconvex", 1 / (2 * L), None, more)
    step = min(1 / (3 * L), (1 - beta) / (4 * mu))
    return Plan(theorem, "PL", step, step * mu, more)
