"""ADIANA, accelerated DIANA: its authors' parameters, the refined ones, and those of a proof made here. L_i ≤ L_max.

Full local gradients, two messages a round: C(∇f_i(x) − h_i) and C(∇f_i(w) − h_i); only the second one moves h_i.
"""

from __future__ import annotations

import math

from thinwire.theory import _assume as assume
from thinwire.theory._acceleration import Acceleration
from thinwire.theory.parameters import diana_shift
from thinwire.theory.plan import Constants, Plan

WAY_OUT = "Use diana_convex, or add a ridge to the losses."


def adiana(constants: Constants, omega: float) -> Plan:
    """α = 1/(1 + ω), θ₂ = ½, p = min{1, max{1, √(n/(32ω)) − 1}/(2(1 + ω))}, θ₁ = min{¼, √(ημ/p)}. Prox allowed.

    η = min{1/(2L), n/(64ωL(2p(1 + ω) + 1)²)}, γ = η/(2(θ₁ + ημ)), β = 1 − γμ. f is strongly convex. `step` is η; `more`
    has lam (α), p, theta1, theta2, gamma, beta, and fresh = 0: w is renewed with y, not with y⁺.
    ρ = min{γμ, pθ₁, α}/2 is of the paper's order; constants as we know them.
    Source: Li, Kovalev, Qian, Richtárik, "Acceleration for compressed gradient descent" (ICML 2020).

    >>> adiana(Constants(1.0, (1.0,), 1.0, 0.01, 1), omega=0.0).step
    0.5
    """
    assume.strongly_convex("adiana", constants, WAY_OUT)
    assume.unbiased("adiana", omega)
    L, mu, n = constants.largest, constants.strong, constants.n
    p, eta = 1.0, 1 / (2 * L)
    if omega > 0:
        p = min(1.0, max(1.0, math.sqrt(n / (32 * omega)) - 1) / (2 * (1 + omega)))
        eta = min(eta, n / (64 * omega * L * (2 * p * (1 + omega) + 1) ** 2))
    theta1 = min(0.25, math.sqrt(eta * mu / p))
    gamma, lam = eta / (2 * (theta1 + eta * mu)), diana_shift(omega)
    more = {"lam": lam, "p": p, "theta1": theta1, "theta2": 0.5, "gamma": gamma, "beta": 1 - gamma * mu, "fresh": 0.0}
    rate = min(gamma * mu, p * theta1, lam) / 2
    return Plan("ADIANA (ICML 2020)", constants.regime, eta, rate, more, prox=True)


def adiana_refined(constants: Constants, omega: float) -> Plan:
    """θ₁ = 1/(3√κ), θ₂ = 1/(3√n + 3n/ω), p = α = 1/(1 + ω), η = nθ₂/(120ωL); fresh = 1: w is renewed with y⁺.

    β = 2θ₁/(2θ₁ + ημ), γ = η/(2θ₁ + ημ). f is strongly convex, no penalty. ρ = min{1 − β, p/2} is of the order of the
    paper's Õ(ω + (1 + ω/√n)√κ) rounds. Constants as we know them; larger steps usually converge too.
    Source: He, Huang, Yuan, "Unbiased compression saves communication … (ADIANA refined)" (NeurIPS 2023).

    >>> round(1 / adiana_refined(Constants(1.0, (1.0,), 1.0, 0.01, 1), omega=0.0).step)
    360
    """
    assume.strongly_convex("adiana_refined", constants, WAY_OUT)
    assume.unbiased("adiana_refined", omega)
    L, mu, n = constants.largest, constants.strong, constants.n
    theta1, theta2 = math.sqrt(mu / L) / 3, omega / (3 * (math.sqrt(n) * omega + n))
    eta = n / (360 * L * (math.sqrt(n) * omega + n))
    lam, gamma, beta = diana_shift(omega), eta / (2 * theta1 + eta * mu), 2 * theta1 / (2 * theta1 + eta * mu)
    more = {"lam": lam, "p": lam, "theta1": theta1, "theta2": theta2, "gamma": gamma, "beta": beta, "fresh": 1.0}
    return Plan("ADIANA, refined (NeurIPS 2023)", constants.regime, eta, min(1 - beta, lam / 2), more)


def adiana_tight(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """α = 1/(1 + ω), w renewed with y, and the p, η, θ₁, θ₂ of the largest ρ that a proof made for it allows; prox.

    θ₁γ' = η(2 − Lη), γ = γ'/(1 + γ'μ), β = 1 − γμ. f is strongly convex; ω_av may be of any kind. The order of 1/ρ is
    ω + (1 + ω/√n)√κ, the best known; without loss it is √κ. What falls by 1 − ρ is
    P(y) − P* + θ₂/(p − ρ) (P(w) − P*) + θ₁(1 + γ'μ)/(2γ') ‖z − x*‖² + c mean‖h_i − ∇f_i(w)‖².
    Source: the recursion of Li, Kovalev, Qian, Richtárik (ICML 2020); the numbers are derived, see `Acceleration`.

    >>> adiana_tight(Constants(1.0, (1.0,) * 20, 1.0, 0.001, 1), omega=0.57).rate > 0.02
    True
    """
    assume.strongly_convex("adiana_tight", constants, WAY_OUT)
    w = assume.mean_variance("adiana_tight", constants, omega, mean_variance)
    alpha, proof = diana_shift(omega), Acceleration(constants, omega, w)
    rate, (p, eta, r) = proof.best()
    theta1, theta2 = proof.weights(p, eta, r, rate)
    long = eta * (2 - constants.smoothness * eta) / theta1
    gamma = long / (1 + long * constants.strong)
    beta = 1 - gamma * constants.strong
    more = {"lam": alpha, "p": p, "theta1": theta1, "theta2": theta2, "gamma": gamma, "beta": beta, "fresh": 0.0}
    return Plan("ADIANA, constants derived", constants.regime, eta, rate, more, prox=True)
