"""Unbiased compression of what is left after a shift: DCGD, DIANA, Rand-DIANA.

`omega` is ω of every worker's compressor. `mean_variance` is ω_av, the variance constant of the mean of n messages;
left out, the messages are independent and it is ω / n. Where a theorem was written with L for every L_i, L_max is used.
"""

from __future__ import annotations

from thinwire.theory import _assume as assume
from thinwire.theory._tracking import followed
from thinwire.theory.parameters import diana_shift, rand_diana_probability
from thinwire.theory.plan import Constants, Plan

TO_NONCONVEX = "Use diana_nonconvex, marina, dasha or ef21."


def dcgd(
    constants: Constants, omega: float, mean_variance: float | None = None, dissimilarity: float | None = None
) -> Plan:
    """γ = 1 / (L + 2ω_av L_max): E‖x − x*‖² falls by 1 − γμ, to a neighbourhood. Convex, prox allowed. μ = 0: γ/2.

    `dissimilarity` is ζ*² = mean‖∇f_i(x*)‖²; if given, `more["neighbourhood"]` = 2γω_av ζ*² / μ bounds where it stops.
    Source: Khirirat, Feyzmahdavian, Johansson (2018); Gorbunov, Hanzely, Richtárik, "A unified theory of SGD" (AISTATS
    2020), with A = L + 2ω_av L_max.

    >>> dcgd(Constants(1.0, (1.0, 1.0), 1.0, 0.1, 1), omega=1.0).step
    0.5
    """
    assume.convex("dcgd", constants, TO_NONCONVEX)
    w = assume.mean_variance("dcgd", constants, omega, mean_variance)
    step, mu = 1 / (constants.smoothness + 2 * w * constants.largest), constants.strong
    more = {}
    if dissimilarity is not None and mu > 0:
        more["neighbourhood"] = 2 * step * w * dissimilarity / mu
    if mu == 0:
        step /= 2
    theorem = "DCGD: unified theory of SGD, theorem 4.1"
    return Plan(theorem, constants.regime, step, step * mu if mu else None, more, floor=w > 0, prox=True)


def diana_original(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """λ = 1 / (2(1 + ω)), γ = min{λ/μ, 2 / (L + μ + 2ω_av(L_max + μ))}; V falls by 1 − γμ. Prox allowed.

    Every f_i is μ-strongly convex. V = ‖x − x*‖² + cγ² mean‖h_i − ∇f_i(x*)‖² with c = 2ω_av/λ. The paper has one L
    for all, 2 / ((L + μ)(1 + 2ω_av)). Here ⟨∇f(x) − ∇f(x*), x − x*⟩ is split: a share γ(L + μ)/2 of it pays for
    ‖∇f(x) − ∇f(x*)‖² by f's own co-coercivity, the rest for mean‖∇f_i(x) − ∇f_i(x*)‖² by that of the f_i.
    Source: Mishchenko, Gorbunov, Takáč, Richtárik, "Distributed learning with compressed gradient differences" (2019),
    theorem for strongly convex f_i, with α = α_p/2; re-derived.

    >>> diana_original(Constants(3.0, (3.0, 3.0), 3.0, 1.0, 1), omega=1.0).more["lam"]
    0.25
    """
    assume.strongly_convex("diana_original", constants, "Use diana_convex, or add a ridge to the losses.")
    w = assume.mean_variance("diana_original", constants, omega, mean_variance)
    mu, lam = constants.strong, diana_shift(omega) / 2
    step = min(lam / mu, 2 / (constants.smoothness + mu + 2 * w * (constants.largest + mu)))
    return Plan("DIANA (2019), strongly convex", constants.regime, step, step * mu, {"lam": lam}, prox=True)


def diana_balanced(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """λ = t/(1 + ω), γ = min{λ/μ, 2 / (L + μ + ω_av(L_max + μ)/(1 − t))}; V falls by 1 − γμ. Prox allowed.

    `diana_original` with shifts no faster than they need: t = min{½, 4(1 + ω)μ / (L + μ + ω_av(L_max + μ))}, about
    twice what γμ asks of λ. The slower the shifts, the less of their noise is left, and 2ω_av becomes ω_av where κ is
    large. c = ω_av/(λ(1 − t)). Every f_i is μ-strongly convex. Source: the proof of `diana_original`, for any t < 1.

    >>> c = Constants(1.0, (1.0,), 1.0, 1e-6, 1)
    >>> round(diana_balanced(c, omega=1.0).step / diana_original(c, omega=1.0).step, 3)
    1.5
    """
    assume.strongly_convex("diana_balanced", constants, "Use diana_convex, or add a ridge to the losses.")
    w = assume.mean_variance("diana_balanced", constants, omega, mean_variance)
    mu, own = constants.strong, constants.smoothness + constants.strong
    noise = w * (constants.largest + mu)
    t = min(0.5, 4 * (1 + omega) * mu / (own + noise))
    lam = t * diana_shift(omega)
    step = min(lam / mu, 2 / (own + noise / (1 - t)))
    return Plan("DIANA (2019), slower shifts", constants.regime, step, step * mu, {"lam": lam}, prox=True)


def diana(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """λ = 1 / (1 + ω), γ = min{λ/(2μ), 1 / (L + 6ω_av L_max)}; V falls by 1 − min{γμ, λ/2}. f strongly convex, prox.

    V = ‖x − x*‖² + Mγ² mean‖h_i − ∇f_i(x*)‖², M = 4ω_av/λ. Every f_i is convex.
    Source: Gorbunov, Hanzely, Richtárik, "A unified theory of SGD" (AISTATS 2020), DIANA, with A = L + 2ω_av L_max,
    B = 2ω_av, C = λL_max; with L_max for L it is the usual 1 / ((1 + 6ω_av)L_max).

    >>> diana(Constants(1.0, (1.0, 1.0), 1.0, 0.01, 1), omega=1.0).step
    0.25
    """
    assume.strongly_convex("diana", constants, "Use diana_convex, diana_nonconvex, or add a ridge to the losses.")
    w = assume.mean_variance("diana", constants, omega, mean_variance)
    mu, lam = constants.strong, diana_shift(omega)
    step = min(lam / (2 * mu), 1 / (constants.smoothness + 6 * w * constants.largest))
    theorem = "DIANA: unified theory of SGD, theorem 4.1"
    return Plan(theorem, constants.regime, step, min(step * mu, lam / 2), {"lam": lam}, prox=True)


def diana_convex(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """λ = 1 / (1 + ω), γ = 1 / (2(L + 6ω_av L_max)): the mean over k < T of E D(x^k, x*) is at most V⁰ / (γT).

    D is f's Bregman divergence, f − f* without a penalty; V is `diana`'s. Every f_i is convex, prox allowed.
    Source: as for `diana`, with half its step; Khaled et al., "Unified analysis … for composite convex" (2020).

    >>> diana_convex(Constants(1.0, (1.0, 1.0), 1.0, 0.0, 1), omega=1.0).step
    0.125
    """
    assume.convex("diana_convex", constants, TO_NONCONVEX)
    w = assume.mean_variance("diana_convex", constants, omega, mean_variance)
    step = 1 / (2 * (constants.smoothness + 6 * w * constants.largest))
    return Plan("DIANA: unified theory, convex", "convex", step, None, {"lam": diana_shift(omega)}, prox=True)


def diana_nonconvex(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """λ = 1 / (1 + ω), γ = 1 / (L + L̃√(ω_av(1 + ω)/ω) / s*), s* = √((1 + 2ω)/(2ω)) − 1. Smoothness alone.

    E‖∇f‖² ≤ 2Ψ⁰ / (γT); under PL, Ψ falls by 1 − min{γμ, (1 − r)/2}, r = ω/(1 + ω). No assumption on dissimilarity.
    Source: EF-BV (NeurIPS 2022), theorem 1, with ν = 1; re-derived.

    >>> diana_nonconvex(Constants(1.0, (1.0, 1.0), 1.0, 0.0, 1), omega=0.0).step
    1.0
    """
    w = assume.mean_variance("diana_nonconvex", constants, omega, mean_variance)
    theorem, more = "DIANA: EF-BV (2022), theorem 1, ν = 1", {"lam": diana_shift(omega)}
    return followed(theorem, constants, omega / (1 + omega), w, more)


def rand_diana(constants: Constants, omega: float, mean_variance: float | None = None) -> Plan:
    """p = 1 / (1 + ω), γ = min{p/(2μ), 1 / (L + 6ω_av L_max)}; V falls by 1 − min{γμ, p/2}. f strongly convex, prox.

    V is `diana`'s with M = 4ω_av/p. Source: Shulgin and Richtárik, "Shifted compression framework" (UAI 2022), with the
    largest p that its complexity allows; re-derived.

    >>> rand_diana(Constants(1.0, (1.0, 1.0), 1.0, 0.01, 1), omega=1.0).more["p"]
    0.5
    """
    assume.strongly_convex("rand_diana", constants, "Use marina, or add a ridge to the losses.")
    w = assume.mean_variance("rand_diana", constants, omega, mean_variance)
    mu, p = constants.strong, rand_diana_probability(omega)
    step = min(p / (2 * mu), 1 / (constants.smoothness + 6 * w * constants.largest))
    return Plan("Rand-DIANA (2022)", constants.regime, step, min(step * mu, p / 2), {"p": p}, prox=True)


def sgd_diana(
    constants: Constants,
    omega: float,
    batch: int,
    mean_variance: float | None = None,
    variance: float | None = None,
) -> Plan:
    """DIANA on minibatches of b samples, drawn anew: linear, to a neighbourhood. Convex f_ij, f strongly convex, prox.

    λ = 1 / (1 + ω), γ = min{λ/(2μ), 1 / (L + 6ω_av L_max + (𝓛/b)(2/n + 10ω_av))}, ρ = min{γμ, λ/2}. `variance` is
    σ*², the mean over i of the variance of ∇f_ij(x*); if given, `more["neighbourhood"]` = γ²(2/b)(1/n + 5ω_av)σ*²/ρ.
    Source: unified theory of SGD (AISTATS 2020), by E‖g_i − ∇f_i‖² ≤ (2/b)(2𝓛D_i + σ*²_i).

    >>> sgd_diana(Constants(1.0, (1.0, 1.0), 1.0, 0.01, 8), omega=0.0, batch=1).step
    0.5
    """
    assume.strongly_convex("sgd_diana", constants, "Add a ridge to the losses.")
    assume.minibatch("sgd_diana", constants, batch)
    w = assume.mean_variance("sgd_diana", constants, omega, mean_variance)
    mu, lam = constants.strong, diana_shift(omega)
    noise = constants.samples / batch * (2 / constants.n + 10 * w)
    step = min(lam / (2 * mu), 1 / (constants.smoothness + 6 * w * constants.largest + noise))
    rate, more = min(step * mu, lam / 2), {"lam": lam}
    if variance is not None:
        more["neighbourhood"] = step**2 * 2 / batch * (1 / constants.n + 5 * w) * variance / rate
    return Plan("SGD-DIANA: unified theory of SGD", constants.regime, step, rate, more, floor=True, prox=True)
