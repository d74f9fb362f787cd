"""From a compressor's constants to a method's parameters and step sizes: one function per theorem, citing it.

Notation: f = mean of n functions f_i; L is the smoothness of f, L_i of f_i, `L_tilde` = √mean L_i², `L_max` = max L_i;
ω, δ, η as declared by the compressor, ω_av the variance of the mean of n messages (ω / n if independent).
"""

from __future__ import annotations

import math


def diana_shift(omega: float) -> float:
    """λ = 1 / (1 + ω), the largest shift step that theory allows (Mishchenko et al., 2019, α ≤ 1 / (1 + ω)).

    >>> diana_shift(1.0)
    0.5
    """
    return 1 / (1 + omega)


def dasha_momentum(omega: float) -> float:
    """a = 1 / (2ω + 1): then (1 − a)² + 2a²ω = 1 − a (Tyurin and Richtárik, "DASHA", ICLR 2023).

    >>> dasha_momentum(0.5)
    0.5
    """
    return 1 / (2 * omega + 1)


def rand_diana_probability(omega: float) -> float:
    """p = 1 / (1 + ω) (Shulgin and Richtárik, "Shifted compression framework", UAI 2022).

    >>> rand_diana_probability(3.0)
    0.25
    """
    return 1 / (1 + omega)


def ef_bv_scaling(bias: float, variance: float) -> float:
    """min{1, (1 − η) / ((1 − η)² + ω)}, the scaling that contracts best: λ* with ω, ν* with ω_av.

    Source: Condat, Yi, Richtárik, "EF-BV" (NeurIPS 2022), propositions 1 and 2.

    >>> ef_bv_scaling(0.0, 3.0), ef_bv_scaling(0.5, 0.0)
    (0.25, 1)
    """
    return min(1, (1 - bias) / ((1 - bias) ** 2 + variance))


def dcgd_step(smoothness: float, largest: float, omega: float, workers: int) -> float:
    """γ = 1 / (L + 2ωL_max / n): linear to a neighbourhood of size ∝ γ ω mean‖∇f_i(x*)‖² / n.

    Source: Khirirat, Feyzmahdavian, Johansson (2018); the constant is re-derived from the variance of the estimate.

    >>> dcgd_step(1.0, 1.0, 1.0, 2)
    0.5
    """
    return 1 / (smoothness + 2 * omega * largest / workers)


def diana_step(largest: float, strong: float, omega: float, workers: int) -> float:
    """γ = min{λ / 2μ, 1 / ((1 + 6ω/n) L_max)}, strongly convex, prox allowed: E‖x − x*‖² falls by max{1 − γμ, 1 − λ/2}.

    Convex only, `strong` = 0: half of it, and f(x) − f* falls as 1/k.
    Source: Gorbunov, Hanzely, Richtárik, "A unified theory of SGD" (AISTATS 2020), DIANA with M = 4ω / (nλ).

    >>> diana_step(1.0, 0.01, 0.0, 1)
    1.0
    """
    step = 1 / ((1 + 6 * omega / workers) * largest)
    return min(diana_shift(omega) / (2 * strong), step) if strong > 0 else step / 2


def marina_step(smoothness: float, l_tilde: float, omega: float, p: float, workers: int) -> float:
    """γ = 1 / (L + L̃√((1 − p)ω / (pn))): E‖∇f‖² ≤ 2Δ₀ / (γT). Gorbunov et al., "MARINA" (ICML 2021), theorem 2.1.

    >>> marina_step(1.0, 1.0, 1.0, 0.5, 1)
    0.5
    """
    return 1 / (smoothness + l_tilde * math.sqrt((1 - p) * omega / (p * workers)))


def dasha_step(smoothness: float, l_tilde: float, omega: float, workers: int) -> float:
    """γ = 1 / (L + L̃√(2ω(2ω + 1) / n)), a safe value re-derived from DASHA's Lyapunov function (ICLR 2023).

    >>> dasha_step(1.0, 1.0, 0.0, 4)
    1.0
    """
    return 1 / (smoothness + l_tilde * math.sqrt(2 * omega * (2 * omega + 1) / workers))


def ef21_step(smoothness: float, l_tilde: float, delta: float) -> float:
    """γ = 1 / (L + L̃√(β/θ)), θ = 1 − √(1 − δ), β = (1 − δ)/θ. Richtárik et al., "EF21" (NeurIPS 2021), theorem 1.

    >>> ef21_step(1.0, 1.0, 1.0)
    1.0
    """
    theta = 1 - math.sqrt(1 - delta)
    return 1 / (smoothness + l_tilde * math.sqrt(1 - delta) / theta)


def clag_step(smoothness: float, l_tilde: float, delta: float, zeta: float) -> float:
    """γ = 1 / (L + L̃√(max{β, ζ} / θ)); with δ = 1 it is LAG's. Richtárik et al., "3PC" (ICML 2022).

    >>> clag_step(1.0, 1.0, 1.0, 1.0)
    0.5
    """
    theta = 1 - math.sqrt(1 - delta)
    return 1 / (smoothness + l_tilde * math.sqrt(max((1 - delta) / theta, zeta) / theta))


def ef_bv_step(smoothness: float, l_tilde: float, bias: float, variance: float, mean_variance: float) -> float:
    """γ = 1 / (L + L̃√(r_av / r) / s*), s* = √((1 + r) / 2r) − 1, with λ* and ν*. EF-BV (NeurIPS 2022), theorem 1.

    r = (1 − λ + λη)² + λ²ω and r_av = (1 − ν + νη)² + ν²ω_av. DIANA and EF21 are special cases.

    >>> ef_bv_step(1.0, 1.0, 0.0, 0.0, 0.0)
    1.0
    """
    lam, nu = ef_bv_scaling(bias, variance), ef_bv_scaling(bias, mean_variance)
    r = (1 - lam + lam * bias) ** 2 + lam**2 * variance
    r_av = (1 - nu + nu * bias) ** 2 + nu**2 * mean_variance
    if r == 0:
        return 1 / smoothness
    return 1 / (smoothness + l_tilde * math.sqrt(r_av / r) / (math.sqrt((1 + r) / (2 * r)) - 1))
