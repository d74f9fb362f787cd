"""Uncompressed: gradient descent, its two accelerations, heavy-ball."""

from __future__ import annotations

import math

from thinwire.theory import _assume as assume
from thinwire.theory.plan import Constants, Plan


def gradient_descent(constants: Constants) -> Plan:
    """Strongly convex: γ = 2 / (L + μ), and ‖x − x*‖² falls by ((κ − 1) / (κ + 1))². Otherwise γ = 1 / L.

    Convex: f − f* ≤ L‖x⁰ − x*‖² / (2k). PL: f − f* falls by 1 − μ/L. Nonconvex: mean ‖∇f‖² ≤ 2LΔ₀ / k.
    A penalty is allowed where f is convex. Source: Nesterov, "Lectures on convex optimization" (2018), theorems 2.1.15
    and 2.2.14; Karimi, Nutini, Schmidt (2016), theorem 1.

    >>> gradient_descent(Constants(3.0, (3.0,), 3.0, 1.0, 1)).rate
    0.75
    """
    L, mu, theorem = constants.smoothness, constants.strong, "gradient descent"
    if constants.regime == "strongly convex":
        return Plan(theorem, constants.regime, 2 / (L + mu), 1 - ((L - mu) / (L + mu)) ** 2, prox=True)
    rate = mu / L if mu > 0 else None
    return Plan(theorem, constants.regime, 1 / L, rate, prox=constants.convex)


def nesterov(constants: Constants) -> Plan:
    """γ = 1 / L, momentum β = (√κ − 1) / (√κ + 1): f − f* + (μ/2)‖z − x*‖² falls by 1 − 1/√κ. Strongly convex.

    y = x + β(x − x_prev), x⁺ = prox(y − γ∇f(y)).
    Source: Nesterov, "Lectures on convex optimization" (2018), scheme 2.2.22.

    >>> nesterov(Constants(4.0, (4.0,), 4.0, 1.0, 1)).rate
    0.5
    """
    assume.strongly_convex("nesterov", constants, "Use fista.")
    root = math.sqrt(constants.kappa)
    more = {"momentum": (root - 1) / (root + 1)}
    return Plan(
        "Nesterov's accelerated gradient", constants.regime, 1 / constants.smoothness, 1 / root, more, prox=True
    )


def fista(constants: Constants) -> Plan:
    """γ = 1 / L, t⁺ = (1 + √(1 + 4t²)) / 2, momentum (t − 1) / t⁺: F − F* ≤ 2L‖x⁰ − x*‖² / (k + 1)². Convex.

    Source: Beck and Teboulle, "FISTA" (2009), theorem 4.4.

    >>> fista(Constants(4.0, (4.0,), 4.0, 0.0, 1)).step
    0.25
    """
    assume.convex("fista", constants, "Use gradient_descent.")
    return Plan("FISTA (2009), theorem 4.4", "convex", 1 / constants.smoothness, None, prox=True)


def heavy_ball(constants: Constants) -> Plan:
    """γ = 4 / (√L + √μ)², β = ((√κ − 1) / (√κ + 1))². A theorem for quadratics; elsewhere near the optimum only.

    x⁺ = x − γ∇f(x) + β(x − x_prev). On quadratics ‖x_k − x*‖² is of order k²β^k; ρ = 1 − √β leaves room for the k².
    Source: Polyak (1964), theorem 9; Lessard, Recht, Packard (2016) have a smooth function on which it cycles.

    >>> heavy_ball(Constants(4.0, (4.0,), 4.0, 1.0, 1)).more["momentum"]
    0.1111111111111111
    """
    assume.strongly_convex("heavy_ball", constants, "Use gradient_descent.")
    root = math.sqrt(constants.kappa)
    beta = ((root - 1) / (root + 1)) ** 2
    step = 4 / (math.sqrt(constants.smoothness) + math.sqrt(constants.strong)) ** 2
    theorem = "Polyak's heavy ball (1964), quadratics"
    return Plan(theorem, constants.regime, step, 1 - math.sqrt(beta), {"momentum": beta})
