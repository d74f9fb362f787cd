"""The two lemmas behind every method whose estimate follows the gradient without being unbiased."""

from __future__ import annotations

import math
from collections.abc import Mapping

from thinwire.theory.plan import Constants, Plan


def tracking(
    theorem: str, constants: Constants, theta: float, growth: float, more: Mapping[str, float] | None = None
) -> Plan:
    """The plan of x⁺ = x − γg where ‖g − ∇f(x)‖² ≤ G and E G⁺ ≤ (1 − θ)G + B‖x⁺ − x‖²; `growth` is B.

    By f(x⁺) ≤ f(x) − (γ/2)‖∇f(x)‖² − (1/(2γ) − L/2)‖x⁺ − x‖² + (γ/2)G:
    γ = 1 / (L + √(B/θ)) gives mean E‖∇f‖² ≤ 2Δ₀/(γT) + G⁰/(θT), from V = f − f* + (γ/2θ)G; and under PL
    γ = min{1 / (L + √(2B/θ)), θ/(2μ)} gives ρ = γμ, from V = f − f* + (γ/θ)G.
    """
    L, mu = constants.smoothness, constants.strong
    if mu > 0:
        step = min(1 / (L + math.sqrt(2 * growth / theta)), theta / (2 * mu))
        return Plan(theorem, "PL", step, step * mu, more or {})
    return Plan(theorem, "nonconvex", 1 / (L + math.sqrt(growth / theta)), None, more or {})


def followed(
    theorem: str, constants: Constants, r: float, r_av: float, more: Mapping[str, float], prox: bool = False
) -> Plan:
    """EF-BV's theorems 1 and 2 (`prox`), from what is left of ‖∇f_i − h_i‖² and of the mean: r < 1, and r_av."""
    L, mu = constants.smoothness * (2 if prox else 1), constants.strong
    error = math.sqrt(r_av / r) / (math.sqrt((1 + r) / (2 * r)) - 1) if r > 0 else 0.0
    step = 1 / (L + constants.l_tilde * error)
    if mu == 0:
        return Plan(theorem, "nonconvex", step, None, more, prox=prox)
    progress = step * mu / (2 + step * mu) if prox else step * mu  # 1 − 1 / (1 + γμ/2)
    return Plan(theorem, "PL", step, min(progress, (1 - r) / 2), more, prox=prox)
