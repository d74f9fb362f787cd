"""Partial participation: EF21-PP, PP-MARINA, DASHA-PP. Smoothness alone, PL where μ > 0; no penalty."""

from __future__ import annotations

import math

from thinwire._check import fault
from thinwire.theory import _assume as assume
from thinwire.theory._tracking import tracking
from thinwire.theory.feedback import ef21
from thinwire.theory.plan import Constants, Plan


def ef21_pp(constants: Constants, delta: float, participation: float) -> Plan:
    """EF21 with pδ for δ: a worker that takes part with probability p has a compressor that is C or, else, 0.

    E‖C_p(x) − x‖² ≤ p(1 − δ)‖x‖² + (1 − p)‖x‖² = (1 − pδ)‖x‖².
    Source: Fatkhullin et al., "EF21 with bells & whistles" (2021), EF21-PP; its s and ρ at their best are equal, and
    then it is this.

    >>> ef21_pp(Constants(1.0, (1.0,), 1.0, 0.0, 1), delta=1.0, participation=1.0).step
    1.0
    """
    assume.contractive("ef21_pp", delta)
    assume.probability("ef21_pp", participation, "the probability of taking part")
    plan = ef21(constants, delta * participation)
    return Plan("EF21-PP (2021)", plan.regime, plan.step, plan.rate, {"participation": participation})


def pp_marina(constants: Constants, omega: float, clients: int, p: float | None = None) -> Plan:
    """r clients a round, drawn with replacement: B = (1 − p)(1 + ω)L̃²/r, γ = 1 / (L + √(B/p)); p = (r/n)/(1 + ω).

    Under PL γ = min{1 / (L + √(2B/p)), p/(2μ)}, ρ = γμ.
    Source: Gorbunov, Burlachenko, Li, Richtárik, "MARINA" (ICML 2021), theorem 4.1.

    >>> pp_marina(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0, clients=1).step
    1.0
    """
    assume.unbiased("pp_marina", omega)
    if not 1 <= clients <= constants.n:
        raise ValueError(fault("pp_marina", f"the clients of a round must be 1 to n = {constants.n}", clients))
    p = clients / constants.n / (1 + omega) if p is None else p
    assume.probability("pp_marina", p)
    growth = (1 - p) * (1 + omega) * constants.l_tilde**2 / clients
    return tracking("PP-MARINA (2021), theorem 4.1", constants, p, growth, {"p": p})


def dasha_pp(constants: Constants, omega: float, participation: float) -> Plan:
    """a = p/(2ω + 1), b = p/(2 − p), γ = 1 / (L + L̃√(48ω(2ω + 1)/(np²) + 16(1 − p)/(np²))).

    Each worker takes part with probability p, independently of the others. Under PL 200 and 48 for 48 and
    16, and γ ≤ min{a, b}/(4μ), ρ = γμ.
    Source: Tyurin and Richtárik, "A computation and communication efficient method … partial participation" (NeurIPS
    2023), gradient setting. Constants as we know them; larger steps usually converge too.

    >>> dasha_pp(Constants(1.0, (1.0,), 1.0, 0.0, 1), omega=0.0, participation=1.0).step
    1.0
    """
    assume.unbiased("dasha_pp", omega)
    p, mu = participation, constants.strong
    assume.probability("dasha_pp", p, "the probability of taking part")
    more = {"a": p / (2 * omega + 1), "b": p / (2 - p), "participation": p}
    first, second = (200, 48) if mu > 0 else (48, 16)
    square = (first * omega * (2 * omega + 1) + second * (1 - p)) / (constants.n * p * p)
    step = 1 / (constants.smoothness + constants.l_tilde * math.sqrt(square))
    if mu == 0:
        return Plan("DASHA-PP (2023)", "nonconvex", step, None, more)
    step = min(step, min(more["a"], more["b"]) / (4 * mu))
    return Plan("DASHA-PP (2023), PL", "PL", step, step * mu, more)
