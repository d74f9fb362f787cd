"""The step sizes and rates that the theorems promise, on quadratics, where they are to hold as they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

import thinwire as tw
from thinwire import theory

from .quadratics import Quadratics, run

PROBLEM = Quadratics.drawn(n=10, d=16)
D, N = 16, 10
ORDER = float(np.abs(PROBLEM.b).max())


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
    omega, L_max = omega_of(C), float(PROBLEM.L_i.max())
    gamma = theory.diana_step(L_max, PROBLEM.mu, omega, N)
    steps = math.ceil(75 / min(gamma * PROBLEM.mu, theory.diana_shift(omega) / 2))  # e^-75: the square of 2^-54
    xs, _ = run(PROBLEM, tw.diana(C), gamma, steps)
    assert distance(xs[-1]) <= (100 * 5 * 2.0**-52) ** 2 * distance(np.zeros(D))

    gamma = theory.dcgd_step(PROBLEM.L, L_max, omega, N)
    floor = 2 * gamma * omega / (PROBLEM.mu * N) * (PROBLEM.grads(PROBLEM.solution) ** 2).sum(1).mean()
    steps = math.ceil(20 / (gamma * PROBLEM.mu))  # e^-20 of the start is left
    stalled = np.mean([distance(x) for x in run(PROBLEM, tw.dcgd(C), gamma, 2 * steps)[0][steps:]])
    assert 1e-4 * floor < stalled < floor


@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_diana_s_rate(C: tw.Compressor) -> None:
    """E V^k ≤ (1 − ρ)^k V⁰, ρ = min{γμ, λ/2}, V = ‖x − x*‖² + Mγ² mean‖h_i − ∇f_i(x*)‖², M = 4ω/(nλ).

    V⁰ bounds ‖x^k − x*‖² with room: the average of 3 seeds stays below it at every k.
    """
    omega = omega_of(C)
    gamma, lam = theory.diana_step(float(PROBLEM.L_i.max()), PROBLEM.mu, omega, N), theory.diana_shift(omega)
    start = distance(PROBLEM.start)
    start += 4 * omega / (N * lam) * gamma**2 * (PROBLEM.grads(PROBLEM.solution) ** 2).sum(1).mean()
    rate = 1 - min(gamma * PROBLEM.mu, lam / 2)
    measured = np.mean([[distance(x) for x in run(PROBLEM, tw.diana(C), gamma, 60, seed=s)[0]] for s in range(3)], 0)
    assert (measured <= start * rate ** np.arange(1, 61)).all()


@dataclass(frozen=True)
class Promise:
    """γ for a link, under which mean_{k<T} E‖∇f(x^k)‖² ≤ `constant` · Δ₀ / (γT) if the first round is dense."""

    link: tw.Link
    gamma: float
    constant: float = 2.0


def promises() -> list[Promise]:
    L, Lt = PROBLEM.L, PROBLEM.L_tilde
    rows = []
    for C in UNBIASED:
        omega, marina = omega_of(C), tw.marina(C)
        rows.append(Promise(marina, theory.marina_step(L, Lt, omega, marina.recursion(D, N).p, N)))
        rows.append(Promise(tw.dasha(C), theory.dasha_step(L, Lt, omega, N)))
    for C in (tw.TopK(0.25), tw.Sign(), tw.RandK(0.5).contractive()):
        delta = C.delta(D)
        assert delta is not None
        rows.append(Promise(tw.ef21(C), theory.ef21_step(L, Lt, delta)))
        rows.append(Promise(tw.clag(C, zeta=2.0), theory.clag_step(L, Lt, delta, 2.0)))
    rows.append(Promise(tw.lag(zeta=2.0), theory.clag_step(L, Lt, 1.0, 2.0)))
    for C in (*UNBIASED, tw.TopK(0.25), tw.RandK(0.5).contractive()):
        step = theory.ef_bv_step(L, Lt, C.bias(D), C.variance(D), C.mean_variance(D, N))
        rows.append(Promise(tw.ef_bv(C), step))
    return rows


@pytest.mark.parametrize("row", promises(), ids=lambda row: repr(row.link))
def test_the_promised_rate_of_gradient_norms(row: Promise) -> None:
    """The average of 3 seeds against a bound on the expectation, which quadratics undercut: strongly convex, they
    converge linearly. What a wrong constant does, a step too long by the missing factor, is divergence."""
    steps, norms = 40, []
    for seed in range(3):
        xs, _ = run(PROBLEM, row.link, row.gamma, steps, dense_start=True, seed=seed)
        norms += [float((PROBLEM.grads(x).mean(0) ** 2).sum()) for x in (PROBLEM.start, *xs[:-1])]
    gap = PROBLEM.value(PROBLEM.start) - PROBLEM.value(PROBLEM.solution)
    assert np.mean(norms) <= row.constant * gap / (row.gamma * steps)
    assert norms[-1] < 0.5 * norms[0]


class TestNumbers:
    """The formulas at points where they can be worked out by hand, and in their limits."""

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

    def test_ef_bv_s_step_is_ef21_s_on_a_contraction(self) -> None:
        """η = √(1 − δ): r = 1 − δ, and s* = √((2 − δ)/(2 − 2δ)) − 1 is EF21's best s for the rate without PL's 2."""
        for delta in (0.1, 0.5, 0.9):
            ef_bv = theory.ef_bv_step(1.0, 1.0, math.sqrt(1 - delta), 0.0, 0.0)
            ef21 = theory.ef21_step(1.0, 1.0, delta)
            assert ef21 / 4 < ef_bv < ef21

    def test_no_compression_is_gradient_descent(self) -> None:
        assert theory.diana_step(4.0, 0.1, 0.0, 8) == 0.25
        assert theory.dcgd_step(4.0, 5.0, 0.0, 8) == 0.25
        assert theory.marina_step(4.0, 5.0, 0.0, 0.1, 8) == 0.25
        assert theory.marina_step(4.0, 5.0, 7.0, 1.0, 8) == 0.25
        assert theory.dasha_step(4.0, 5.0, 0.0, 8) == 0.25
        assert theory.ef21_step(4.0, 5.0, 1.0) == 0.25
        assert theory.clag_step(4.0, 5.0, 1.0, 0.0) == 0.25
        assert theory.ef_bv_step(4.0, 5.0, 0.0, 0.0, 0.0) == 0.25

    def test_clag_without_a_trigger_is_ef21(self) -> None:
        for delta in (0.01, 0.5, 0.99):
            assert math.isclose(theory.clag_step(1.0, 2.0, delta, 0.0), theory.ef21_step(1.0, 2.0, delta))

    def test_infinitely_many_workers_compress_for_free(self) -> None:
        assert math.isclose(theory.dasha_step(4.0, 5.0, 9.0, 10**12), 0.25, rel_tol=1e-4)
        assert math.isclose(theory.marina_step(4.0, 5.0, 9.0, 0.1, 10**12), 0.25, rel_tol=1e-4)
        assert math.isclose(theory.diana_step(4.0, 1e-9, 9.0, 10**12), 0.25, rel_tol=1e-4)

    def test_diana_without_strong_convexity_takes_half_the_step(self) -> None:
        assert theory.diana_step(4.0, 0.0, 0.0, 8) == 0.125


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
