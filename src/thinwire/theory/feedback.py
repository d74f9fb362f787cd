"""Estimates that follow the gradient: EF21, CLAG, EF-BV, MARINA, DASHA. Smoothness is all they ask.

Where μ > 0 the plan is that of the Polyak–Łojasiewicz inequality, which strong convexity implies. `mean_variance` is
ω_av as declared by the compressor for n workers; left out, ω / n. A penalty is allowed where an argument asks for it.
"""

from __future__ import annotations

import math

from thinwire._check import fault
from thinwire.theory import _assume as assume
from thinwire.theory._tracking import followed, tracking
from thinwire.theory.parameters import dasha_momentum, ef_bv_scaling
from thinwire.theory.plan import Constants, Plan


def ef_bv(
    constants: Constants, bias: float, variance: float, mean_variance: float | None = None, prox: bool = False
) -> Plan:
    """γ = 1 / (L + L̃√(r_av/r) / s*), s* = √((1 + r)/(2r)) − 1, with λ* and ν*; Ψ falls by 1 − min{γμ, (1 − r)/2}.

    r = (1 − λ + λη)² + λ²ω, r_av = (1 − ν + νη)² + ν²ω_av; without μ, E‖∇f‖² ≤ 2Ψ⁰/(γT). With a penalty (`prox`):
    2L for L, and 1 − 1/(1 + γμ/2) for γμ, μ being the constant of the Kurdyka–Łojasiewicz inequality of f + R.
    Source: Condat, Yi, Richtárik, "EF-BV" (NeurIPS 2022), theorems 1 (re-derived) and 2 (constants as we know them).

    >>> ef_bv(Constants(1.0, (1.0, 1.0), 1.0, 0.0, 1), bias=0.0, variance=0.0).step
    1.0
    """
    if not 0 <= bias < 1:
        raise ValueError(fault("ef_bv", "the bias η must be 0 to below 1", bias, "Scale or induce the compressor."))
    w = assume.mean_variance("ef_bv", constants, variance, mean_variance)
    lam, nu = ef_bv_scaling(bias, variance), ef_bv_scaling(bias, w)
    r = (1 - lam + lam * bias) ** 2 + lam**2 * variance
    r_av = (1 - nu + nu * bias) ** 2 + nu**2 * w
    theorem = f"EF-BV (2022), theorem {2 if prox else 1}"
    return followed(theorem, constants, r, r_av, {"lam": lam, "nu": nu}, prox)


def ef21(constants: Constants, delta: float, prox: bool = False) -> Plan:
    """γ = 1 / (L + L̃√(β/θ)), θ = 1 − √(1 − δ), β = (1 − δ)/θ: E‖∇f‖² ≤ 2Δ₀/(γT) + G⁰/(θT).

    Under PL γ = min{1 / (L + L̃√(2β/θ)), θ/(2μ)}, and f − f* + (γ/θ)G falls by 1 − γμ. With a penalty it is EF-BV's
    theorem 2 with λ = ν = 1, r = r_av = 1 − δ.
    Source: Richtárik, Sokolov, Fatkhullin, "EF21" (NeurIPS 2021), theorems 1 and 2.

    >>> ef21(Constants(1.0, (1.0, 1.0), 1.0, 0.0, 1), delta=1.0).step
    1.0
    """
    assume.contractive("ef21", delta)
    if prox:
        return followed("EF21: EF-BV (2022), theorem 2", constants, 1 - delta, 1 - delta, {}, prox=True)
    return _lazy("EF21 (2021)", constants, delta, 0.0)


def clag(constants: Constants, delta: float, zeta: float) -> Plan:
    """EF21 with max{β, ζ} for β; with δ = 1 it is LAG. Source: Richtárik et al., "3PC" (ICML 2022), theorems 5.4, 5.6.

    >>> clag(Constants(1.0, (1.0, 1.0), 1.0, 0.0, 1), delta=1.0, zeta=1.0).step
    0.5
    """
    assume.contractive("clag", delta)
    if not 0 <= zeta < math.inf:
        raise ValueError(fault("clag", "ζ must be at least 0 and finite", zeta))
    return _lazy("CLAG: 3PC (2022)", constants, delta, zeta)


def _lazy(theorem: str, constants: Constants, delta: float, zeta: float) -> Plan:
    theta = 1 - math.sqrt(1 - delta)
    return tracking(theorem, constants, theta, max((1 - delta) / theta, zeta) * constants.l_tilde**2)


def marina(constants: Constants, omega: float, p: float, mean_variance: float | None = None) -> Plan:
    """γ = 1 / (L + L̃√((1 − p)ω_av/p)): E‖∇f‖² ≤ 2Δ₀/(γT). Under PL, twice that under the root, and γ ≤ p/(2μ): ρ = γμ.

    Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA" (ICML 2021), theorems 2.1 and 2.2.

    >>> marina(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=1.0, p=0.5).step
    0.5
    """
    assume.probability("marina", p)
    w = assume.mean_variance("marina", constants, omega, mean_variance)
    return tracking("MARINA (2021)", constants, p, (1 - p) * w * constants.l_tilde**2, {"p": p})


def dasha(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """a = 1 / (2ω + 1), γ = 1 / (L + L̃√(2ω_av(2ω + 1))): E‖∇f‖² ≤ 2V⁰/(γT), V⁰ = Δ₀ if the first round is dense.

    Under PL γ = min{a/(2μ), 1 / (L + L̃√(2ω_av(1 + 4aω) / (a(3/2 − a))))}, ρ = γμ.
    Source: Tyurin and Richtárik, "DASHA" (ICLR 2023), theorems 6.1 and I.2; the constants are re-derived and smaller:
    V = f − f* + A‖g − ∇f‖² + B mean‖g_i − ∇f_i‖², A = γ/(2a(2 − a)), B = 2Aaω_av.

    >>> dasha(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0).step
    1.0
    """
    w = assume.mean_variance("dasha", constants, omega, mean_variance)
    L, Lt, mu, a = constants.smoothness, constants.l_tilde, constants.strong, dasha_momentum(omega)
    if mu == 0:
        step = 1 / (L + Lt * math.sqrt(2 * w * (2 * omega + 1)))
        return Plan("DASHA (2023), theorem 6.1", "nonconvex", step, None, {"a": a})
    step = min(a / (2 * mu), 1 / (L + Lt * math.sqrt(2 * w * (1 + 4 * a * omega) / (a * (1.5 - a)))))
    return Plan("DASHA (2023), PL", "PL", step, step * mu, {"a": a})


def ef14(constants: Constants, delta: float) -> Plan:
    """γ = δ / (10 L_max): to a neighbourhood unless the workers agree at the optimum. No prox.

    Source: Stich and Karimireddy, "The error-feedback framework" (JMLR 2020); with n unlike workers the error memories
    keep a part that is of the size of their dissimilarity. The constant as we know it; larger steps often do.

    >>> ef14(Constants(1.0, (1.0,), 1.0, 0.1, 1), delta=1.0).step
    0.1
    """
    assume.contractive("ef14", delta)
    return Plan("error feedback (JMLR 2020)", constants.regime, delta / (10 * constants.largest), None, floor=True)
