"""Variance reduction on finite sums f_i = (1/m) Σ_j f_ij: VR-DIANA on L-SVRG or SAGA, VR-MARINA, DASHA-PAGE."""

from __future__ import annotations

import math

from thinwire.theory import _assume as assume
from thinwire.theory._tracking import tracking
from thinwire.theory.parameters import dasha_momentum, diana_shift
from thinwire.theory.plan import Constants, Plan


def lsvrg_probability(constants: Constants, batch: int) -> float:
    """p = b/m: on average a worker computes as many gradients at reference points as at samples.

    >>> lsvrg_probability(Constants(1.0, (1.0,), 1.0, 0.1, m=50), batch=5)
    0.1
    """
    assume.minibatch("lsvrg_probability", constants, batch)
    return batch / constants.m


def saga_probability(constants: Constants, batch: int) -> float:
    """1 − (1 − 1/m)^b: that a sample is among b drawn with replacement, and its row of the table is renewed.

    >>> saga_probability(Constants(1.0, (1.0,), 1.0, 0.1, m=2), batch=2)
    0.75
    """
    assume.minibatch("saga_probability", constants, batch)
    return 1 - (1 - 1 / constants.m) ** batch


def vr_diana(
    constants: Constants, omega: float, batch: int, p: float | None = None, mean_variance: float | None = None
) -> Plan:
    """λ = 1/(1 + ω), γ = 1 / (L + 6ω_av L_max + (𝓛/b)(6/n + 30ω_av)); V falls by 1 − min{γμ, λ/2, p/2}. Prox allowed.

    `p` is the probability that a reference point is renewed: b/m for L-SVRG, the default; `saga_probability` for SAGA.
    V = ‖x − x*‖² + γ²(4ω_av/λ) mean‖h_i − ∇f_i*‖² + γ²(4/(pb))(1/n + 5ω_av) mean‖∇f_ij(w_ij) − ∇f_ij*‖². The f_ij are
    convex; with μ = 0 the step is half of that, and the mean of E D(x^k, x*) is at most V⁰/(γT).
    Source: Horváth et al., "VR-DIANA" (2019), strongly convex: γ = 1 / (𝓛(1 + 36(1 + ω)/n)). Re-derived from the
    unified theory of SGD (AISTATS 2020), which gives 1 / (𝓛(1 + (6 + 36ω)/n)) where b = 1 and all constants equal 𝓛.

    >>> vr_diana(Constants(1.0, (1.0,) * 6, 1.0, 0.01, 50), omega=0.0, batch=1).step
    0.5
    """
    assume.convex("vr_diana", constants, "Use vr_diana_nonconvex, vr_marina or dasha_page.")
    p = lsvrg_probability(constants, batch) if p is None else p
    assume.minibatch("vr_diana", constants, batch)
    assume.probability("vr_diana", p)
    w = assume.mean_variance("vr_diana", constants, omega, mean_variance)
    lam, mu = diana_shift(omega), constants.strong
    noise = constants.samples / batch * (6 / constants.n + 30 * w)
    step = 1 / (constants.smoothness + 6 * w * constants.largest + noise)
    more = {"lam": lam, "p": p}
    if mu == 0:
        return Plan("VR-DIANA: unified theory, convex", "convex", step / 2, None, more, prox=True)
    return Plan("VR-DIANA: unified theory", constants.regime, step, min(step * mu, lam / 2, p / 2), more, prox=True)


def vr_diana_nonconvex(constants: Constants, omega: float) -> Plan:
    """λ = 1/(1 + ω), p = 1/m, γ = 1 / (10𝓛√(1 + ω/n)(m^⅔ + ω + 1)), one sample a step. Smoothness alone, no prox.

    Source: Horváth et al., "VR-DIANA" (2019), theorem 4. Constants as we know them; larger steps usually converge too.

    >>> vr_diana_nonconvex(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0).step
    0.05
    """
    assume.unbiased("vr_diana_nonconvex", omega)
    scale = math.sqrt(1 + omega / constants.n) * (constants.m ** (2 / 3) + omega + 1)
    more = {"lam": diana_shift(omega), "p": 1 / constants.m}
    return Plan("VR-DIANA (2019), theorem 4", "nonconvex", 1 / (10 * constants.samples * scale), None, more)


def vr_marina(
    constants: Constants, omega: float, batch: int, p: float | None = None, mean_variance: float | None = None
) -> Plan:
    """B = (1 − p)(ω_av(L̃² + 𝓛²/b) + 𝓛²/(bn)), γ = 1 / (L + √(B/p)); p = min{1/(1 + ω), b/(m + b)} unless given.

    Under PL γ = min{1 / (L + √(2B/p)), p/(2μ)}, ρ = γμ. With ω_av = ω/n, B is the paper's (1 − p)(ωL̃² + (1 + ω)𝓛²/b)/n.
    Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA" (ICML 2021), theorems 3.1 and D.4.

    >>> vr_marina(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0, batch=1).step
    0.5
    """
    assume.minibatch("vr_marina", constants, batch)
    w = assume.mean_variance("vr_marina", constants, omega, mean_variance)
    p = min(1 / (1 + omega), batch / (constants.m + batch)) if p is None else p
    assume.probability("vr_marina", p)
    sampling = constants.samples**2 / batch
    growth = (1 - p) * (w * (constants.l_tilde**2 + sampling) + sampling / constants.n)
    return tracking("VR-MARINA (2021), theorem 3.1", constants, p, growth, {"p": p})


def dasha_page(
    constants: Constants, omega: float, batch: int, mean_variance: float | None = None, p: float | None = None
) -> Plan:
    """a = 1/(2ω + 1), p = b/(m + b) unless given, one coin for all, γ = 1 / (L + √K) with, q = (1 − p)𝓛²/b,

    K = ω_av(2ω + 1)(8L̃² + 12q) + 2q/(pn): E‖∇f‖² ≤ 2V⁰/(γT). Under PL every memory gets half of its contraction:
    K = 2(T(4L̃² + 10q) + 2q/(pn)), T = ω_av(1 + 4aω) / (a(3/2 − a)), and γ ≤ min{a, p}/(2μ), ρ = γμ.
    Source: Tyurin and Richtárik, "DASHA" (ICLR 2023), theorem 6.4 (it has 48ω(2ω + 1)(L̃² + q)/n + 2q/(pn)); re-derived.

    >>> dasha_page(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0, batch=1).more["p"]
    0.5
    """
    assume.minibatch("dasha_page", constants, batch)
    w = assume.mean_variance("dasha_page", constants, omega, mean_variance)
    a, mu = dasha_momentum(omega), constants.strong
    p = batch / (constants.m + batch) if p is None else p
    assume.probability("dasha_page", p)
    q, direct, more = (1 - p) * constants.samples**2 / batch, constants.l_tilde**2, {"a": a, "p": p}
    if mu == 0:
        square = w * (2 * omega + 1) * (8 * direct + 12 * q) + 2 * q / (p * constants.n)
        step = 1 / (constants.smoothness + math.sqrt(square))
        return Plan("DASHA-PAGE (2023), theorem 6.4", "nonconvex", step, None, more)
    T = w * (1 + 4 * a * omega) / (a * (1.5 - a))
    square = 2 * (T * (4 * direct + 10 * q) + 2 * q / (p * constants.n))
    step = min(min(a, p) / (2 * mu), 1 / (constants.smoothness + math.sqrt(square)))
    return Plan("DASHA-PAGE (2023), PL", "PL", step, step * mu, more)
