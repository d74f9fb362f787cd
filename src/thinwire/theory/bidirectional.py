"""Compression both ways: DORE, MCM, EF21-P + DIANA. `omega` is the workers' ω, `down` that of the server's messages."""

from __future__ import annotations

import math

from thinwire.theory import _assume as assume
from thinwire.theory.parameters import diana_shift
from thinwire.theory.plan import Constants, Plan

WAY_OUT = "Use diana_convex, or add a ridge to the losses."


def dore(constants: Constants, omega: float, down: float, mean_variance: float | None = None) -> Plan:
    """α = 1/(2(1 + ω)), β = 1/(2(1 + ω_d)), cα = 2ω_av, γ = 2/((1 + cα)(L_max + μ)). Every f_i strongly convex; prox.

    `more` has lam (α), beta, and eta: half of min{the root of ω_d(η² + η) = ½, 4μL/((L + μ)²(1 + cα) − 4μL)}, below
    which V falls by the larger of 2ω_d(η² + η), 1 + ηβ − 2(1 + η)βγμL/(L + μ), 1 − α.
    V = ½‖q‖² + ‖x̂ − x*‖² + (1 + η)cγ² mean‖h_i − ∇f_i(x*)‖².
    Source: Liu, Li, Tang, Yan, "A double residual compression algorithm" (AISTATS 2020), theorem 1. Constants as we
    know them; the root follows from the rate.

    >>> dore(Constants(1.0, (1.0,), 1.0, 1.0, 1), omega=0.0, down=0.0).rate
    0.5
    """
    assume.strongly_convex("dore", constants, WAY_OUT)
    w = assume.mean_variance("dore", constants, omega, mean_variance)
    assume.unbiased("dore, downlink", down)
    L, mu = constants.largest, constants.strong
    alpha, beta, slack = diana_shift(omega) / 2, diana_shift(down) / 2, 1 + 2 * w
    gain = 4 * mu * L / ((L + mu) ** 2 * slack)  # of a step without memory: 2γμL/(L + μ)
    eta = 0.5 * gain / (1 - gain) if gain < 1 else 0.0
    if down > 0:
        root = (math.sqrt(down * down + 2 * down) - down) / (2 * down)
        eta = min(eta, 0.5 * root)
    factors = (2 * down * (eta * eta + eta), 1 + eta * beta - (1 + eta) * beta * gain, 1 - alpha)
    more = {"lam": alpha, "beta": beta, "eta": eta}
    return Plan("DORE (2020), theorem 1", constants.regime, 2 / (slack * (L + mu)), 1 - max(factors), more, prox=True)


def mcm(constants: Constants, omega: float, down: float, mean_variance: float | None = None) -> Plan:
    """λ = 1/(1 + ω), α_d = 1/(1 + ω_d), γ = 2/(K(1 + √(1 + 4c/K))), K = L + 6ω_av L_max, c = 24Lω_d/α_d². No penalty.

    V = ‖x − x*‖² + Mγ² mean‖h_i − ∇f_i(x*)‖² + (8γLω_d/α_d)‖x − H‖², M = (1 + cγ)4ω_av/λ, falls by 1 − min{γμ, λ/2,
    α_d/4}. γ solves γ + cγ² = 1/K, and is of order 1/(Lω_d^1.5) where ω_d is large, as the paper's. `more`: lam, down
    (α_d).
    Source: Philippenko and Dieuleveut, "Preserved central model" (NeurIPS 2021); the step is derived, from E ŵ = x,
    E‖ŵ − x‖² ≤ ω_d‖x − H‖² and E‖x⁺ − H⁺‖² ≤ (1 − α_d/2)‖x − H‖² + (3/α_d)γ²E‖ĝ‖².

    >>> mcm(Constants(1.0, (1.0, 1.0), 1.0, 0.01, 1), omega=1.0, down=0.0).step
    0.25
    """
    assume.strongly_convex("mcm", constants, WAY_OUT)
    w = assume.mean_variance("mcm", constants, omega, mean_variance)
    assume.unbiased("mcm, downlink", down)
    lam, back = diana_shift(omega), diana_shift(down)
    K = constants.smoothness + 6 * w * constants.largest
    c = 24 * constants.smoothness * down / back**2
    step = 2 / (K * (1 + math.sqrt(1 + 4 * c / K)))
    rate = min(step * constants.strong, lam / 2, back / 4)
    return Plan("MCM (2021), step derived", constants.regime, step, rate, {"lam": lam, "down": back})


def ef21p_diana(constants: Constants, omega: float, delta: float) -> Plan:
    """λ = 1/(1 + ω), γ = min{n/(160ωL_max), √(nδ)/(20√ω L̃), δ/(100L), 1/((1 + ω)μ)}; V falls by 1 − γμ/2. No penalty.

    δ is of the server's contractive compressor. Rounds: L/(δμ) + ωL_max/(nμ) + √(ω/(nδ))L̃/μ + ω.
    Source: Gruntkowska, Tyurin, Richtárik, "EF21-P and friends" (ICML 2023), EF21-P + DIANA. Constants as we know them;
    larger steps usually converge too.

    >>> ef21p_diana(Constants(1.0, (1.0,), 1.0, 0.01, 1), omega=0.0, delta=1.0).step
    0.01
    """
    assume.strongly_convex("ef21p_diana", constants, WAY_OUT)
    assume.unbiased("ef21p_diana", omega)
    assume.contractive("ef21p_diana, downlink", delta)
    n, mu = constants.n, constants.strong
    step = min(delta / (100 * constants.smoothness), 1 / ((1 + omega) * mu))
    if omega > 0:
        step = min(step, n / (160 * omega * constants.largest))
        step = min(step, math.sqrt(n * delta / omega) / (20 * constants.l_tilde))
    return Plan("EF21-P + DIANA (2023)", constants.regime, step, step * mu / 2, {"lam": diana_shift(omega)})
