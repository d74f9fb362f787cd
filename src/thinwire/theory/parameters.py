"""The parameters that a method takes from its compressor alone: what the presets of links read."""

from __future__ import annotations


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
