"""The step sizes and rates that the theorems promise, on quadratics, where they are to hold as they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

import thinwire as tw
from thinwire import theory

from .quadratics import Quadratics, run

PROBLEM = Quadratics.drawn(n=10, d=16)
D, N = 16, 10
CONSTANTS = theory.Constants(
    PROBLEM.L, tuple(map(float, PROBLEM.L_i)), float(PROBLEM.L_i.max()), PROBLEM.mu, m=1, convex=True
)
SMOOTH = replace(CONSTANTS, strong=0.0, convex=False)
DISSIMILARITY = float((PROBLEM.grads(PROBLEM.solution) ** 2).sum(1).mean())


def distance(x: np.ndarray) -> float:
    return float(((x - PROBLEM.solution) ** 2).sum())


UNBIASED = [tw.RandK(0.5), tw.Ternary(), tw.Rotated(bits=1), tw.RandK(0.5) >> tw.Natural()]


def omega_of(C: tw.Compressor) -> float:
    omega = C.omega(D)
    assert omega is not None
    return omega


@pytest.mark.parametrize("C", UNBIASED[:3], ids=repr)
def test_diana_converges_linearly_to_machine_precision_while_dcgd_stalls(C: tw.Compressor) -> None:
    """Machine precision: x* solves A x = b to κ(A)·2^-52‖x*‖ at best, with κ < 5 here; 100 × that is asked.

    DCGD stays at a floor of order (2γ/μn) ω ζ*², its theorem's; nothing that is 10^4 below it would be a floor.
    """
    plan = theory.diana(CONSTANTS, omega_of(C))
    rounds = plan.rounds(2.0**-108)  # of the squared distance
    assert rounds is not None
    xs, _ = run(PROBLEM, tw.diana(C), plan.step, math.ceil(rounds))
    assert distance(xs[-1]) <= (100 * 5 * 2.0**-52) ** 2 * distance(np.zeros(D))

    plan = theory.dcgd(CONSTANTS, omega_of(C), dissimilarity=DISSIMILARITY)
    floor = plan.more["neighbourhood"]
    steps = math.ceil(20 / (plan.step * PROBLEM.mu))  # e^-20 of the start is left
    stalled = np.mean([distance(x) for x in run(PROBLEM, tw.dcgd(C), plan.step, 2 * steps)[0][steps:]])
    assert 1e-4 * floor < stalled < floor


@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_diana_s_rate(C: tw.Compressor) -> None:
    """E V^k ≤ (1 − ρ)^k V⁰, ρ = min{γμ, λ/2}, V = ‖x − x*‖² + Mγ² mean‖h_i − ∇f_i(x*)‖², M = 4ω/(nλ).

    V⁰ bounds ‖x^k − x*‖² with room: the average of 3 seeds stays below it at every k.
    """
    plan = theory.diana(CONSTANTS, omega_of(C))
    assert plan.rate is not None
    M = 4 * omega_of(C) / (N * plan.more["lam"])
    start = distance(PROBLEM.start) + M * plan.step**2 * DISSIMILARITY
    runs = [run(PROBLEM, tw.diana(C), plan.step, 60, seed=seed)[0] for seed in range(3)]
    measured = np.mean([[distance(x) for x in xs] for xs in runs], 0)
    assert (measured <= start * (1 - plan.rate) ** np.arange(1, 61)).all()


@dataclass(frozen=True)
class Promise:
    """The plan for a link, under which mean_{k<T} E‖∇f(x^k)‖² ≤ 2Δ₀ / (γT) if the first round is dense."""

    link: tw.Link
    plan: theory.Plan


def promises() -> list[Promise]:
    rows = []
    for C in UNBIASED:
        omega, marina = omega_of(C), tw.marina(C)
        rows.append(Promise(marina, theory.marina(SMOOTH, omega, marina.recursion(D, N).p)))
        rows.append(Promise(tw.dasha(C), theory.dasha(SMOOTH, omega)))
    for C in (tw.TopK(0.25), tw.Sign(), tw.RandK(0.5).contractive()):
        delta = C.delta(D)
        assert delta is not None
        rows.append(Promise(tw.ef21(C), theory.ef21(SMOOTH, delta)))
        rows.append(Promise(tw.clag(C, zeta=2.0), theory.clag(SMOOTH, delta, 2.0)))
    rows.append(Promise(tw.lag(zeta=2.0), theory.clag(SMOOTH, 1.0, 2.0)))
    for C in (*UNBIASED, tw.TopK(0.25), tw.RandK(0.5).contractive()):
        plan = theory.ef_bv(SMOOTH, C.bias(D), C.variance(D), C.mean_variance(D, N))
        rows.append(Promise(tw.ef_bv(C), plan))
    return rows


@pytest.mark.parametrize("row", promises(), ids=lambda row: repr(row.link))
def test_the_promised_rate_of_gradient_norms(row: Promise) -> None:
    """The average of 3 seeds against a bound on the expectation, which quadratics undercut: strongly convex, they
    converge linearly. What a wrong constant does, a step too long by the missing factor, is divergence."""
    steps, norms = 40, []
    for seed in range(3):
        xs, _ = run(PROBLEM, row.link, row.plan.step, steps, dense_start=True, seed=seed)
        norms += [float((PROBLEM.grads(x).mean(0) ** 2).sum()) for x in (PROBLEM.start, *xs[:-1])]
    gap = PROBLEM.value(PROBLEM.start) - PROBLEM.value(PROBLEM.solution)
    assert np.mean(norms) <= 2 * gap / (row.plan.step * steps)
    assert norms[-1] < 0.5 * norms[0]


class TestNumbers:
    """The formulas that presets read; those of the plans are in tests/theory."""

    def test_dasha_s_momentum_solves_its_equation(self) -> None:
        for omega in (0.0, 0.5, 3.0, 99.0):
            a = theory.dasha_momentum(omega)
            assert math.isclose((1 - a) ** 2 + 2 * a * a * omega, 1 - a, abs_tol=1e-15)

    def test_ef_bv_s_scaling_contracts_best(self) -> None:
        for bias, variance in ((0.0, 1.0), (0.3, 2.0), (0.9, 0.1), (0.5, 0.0)):

            def left(scale: float, bias: float = bias, variance: float = variance) -> float:
                return (1 - scale + scale * bias) ** 2 + scale**2 * variance

            best = theory.ef_bv_scaling(bias, variance)
            assert 0 < best <= 1
            assert all(left(best) <= left(scale) + 1e-15 for scale in np.linspace(0.001, 1, 500))


@pytest.mark.parametrize("d", [3, 7, 12, 30])
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_mean_variance_of_perm_k(n: int, d: int) -> None:
    """E‖mean C_i(x_i) − x̄‖² ≤ ω_av mean‖x_i‖², also with more workers than coordinates and for every share of a cut
    key: the average of 300 draws, within 5 sigma of its bound; and, unbiased, its mean within 5 sigma of x̄."""
    import torch

    C, draws, shares = tw.PermK(workers=n), 300, 2
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n * 100 + d)) + 1
    rows = x.repeat_interleave(shares, dim=0)
    means = []
    for k in range(draws):
        key = tw.Key(1, k, 0, range(n)).cut(range(shares))
        means.append(C.decode(C.encode(rows, key)).view(n, shares, d).mean(0)[1])
    every = torch.stack(means).double()
    errors = (every - x.double().mean(0)).square().sum(1)
    bound = C.mean_variance(d, n) * float(x.double().square().sum(1).mean())
    assert errors.mean() <= bound + 5 * errors.std() / math.sqrt(draws)
    spread = every.std(0) / math.sqrt(draws)
    assert ((every.mean(0) - x.double().mean(0)).abs() <= 5 * spread + 1e-6).all()
