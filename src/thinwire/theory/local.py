"""Local steps between communications: Scaffnew, and with compression LoCoDL. No penalty; every f_i strongly convex."""

from __future__ import annotations

import math

from thinwire.theory import _assume as assume
from thinwire.theory.plan import Constants, Plan


def per_communication(rate: float, p: float) -> float:
    """1 − (1 − ρ)^(1/p): what a contraction of 1 − ρ an iteration is for a communication, of which p are made in each.

    >>> per_communication(0.5, 0.5)
    0.75
    """
    return 1 - math.pow(1 - rate, 1 / p)


def scaffnew(constants: Constants) -> Plan:
    """γ = 1/L_max, p = √(γμ): V falls by 1 − min{γμ, p²} an iteration, so in 1/p of them by 1 − (1 − γμ)^(1/p).

    V = mean‖x_i − x*‖² + (γ/p)² mean‖h_i − ∇f_i(x*)‖². `rate` is for a communication, of which √κ log(1/ε) are needed.
    Every f_i is μ-strongly convex.
    Source: Mishchenko, Malinovsky, Stich, Richtárik, "ProxSkip" (ICML 2022), theorem 3.6.

    >>> scaffnew(Constants(4.0, (4.0,), 4.0, 1.0, 1)).more["p"]
    0.5
    """
    assume.strongly_convex("scaffnew", constants, "Add a ridge to the losses, or use diana_convex.")
    step = 1 / constants.largest
    p = math.sqrt(step * constants.strong)
    return Plan("ProxSkip (2022)", constants.regime, step, per_communication(p * p, p), {"p": p})


def locodl(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """γ = 2/(L′ + μ′), p = min{1, √((1 + ω_av)(1 + ω)μ′/L′)}, ρ = χ = 1/(1 + ω_av), L′ = L_max − μ/2, μ′ = μ/2.

    The objective is mean (f_i − (μ/4)‖x‖²) + g, g = (μ/4)‖x‖²: all are μ′-strongly convex and L′-smooth. V falls by
    1 − min{1 − (1 − γμ′)², 1 − (γL′ − 1)², p²χ/(1 + 2ω)} an iteration; `rate` is for a communication, as in `scaffnew`.
    `more` has p, chi, rho, share = μ/2 (∇g = share · x), and dual = pχ/(γ(1 + 2ω)), the step of u_i and v.
    Source: Condat, Maranjyan, Richtárik, "LoCoDL" (ICLR 2025), theorem 3.1. Constants as we know them.

    >>> locodl(Constants(4.0, (4.0,), 4.0, 1.0, 1), omega=0.0).step
    0.5
    """
    assume.strongly_convex("locodl", constants, "Add a ridge to the losses, or use diana_convex.")
    w = assume.mean_variance("locodl", constants, omega, mean_variance)
    mu = constants.strong / 2
    L = max(constants.largest, constants.strong) - mu
    step, chi = 2 / (L + mu), 1 / (1 + w)
    p = min(1.0, math.sqrt((1 + w) * (1 + omega) * mu / L))
    rate = min(1 - (1 - step * mu) ** 2, p * p * chi / (1 + 2 * omega))
    more = {"p": p, "chi": chi, "rho": chi, "share": mu, "dual": p * chi / (step * (1 + 2 * omega))}
    return Plan("LoCoDL (2025)", constants.regime, step, per_communication(rate, p), more)
