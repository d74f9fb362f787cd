"""Where methods without memory stop, and that those with memory do not; and the promises that are not rates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from thinwire import theory
from thinwire.theory import Plan

from ..reference import methods, methods_accelerated, methods_finite_sums
from ..reference.methods import Array
from ..reference.methods_integers import intsgd
from .problem import BATCH, CLIENTS, PARTICIPATION, Ridge, Run
from .rows import CONSTANTS, DELTA, LASSO, OMEGA, PLAIN, ROWS, P, diana, lsvrg

FLAT = Ridge.drawn(n=4, m=1, d=6, ridge=1e-3)
"""4 samples in 6 dimensions: but for the ridge, only convex."""


def late(problem: Ridge, xs: list[Array]) -> float:
    """The mean of ‖x − x*‖² over the second half of a run."""
    return float(np.mean([problem.distance(x) for x in xs[len(xs) // 2 :]]))


def long_enough(plan: Plan) -> int:
    rounds = plan.rounds(1e-20)
    assert rounds is not None
    return math.ceil(rounds)


@pytest.mark.parametrize("problem", [PLAIN, LASSO], ids=["plain", "l1"])
def test_dcgd_stops_at_the_floor_of_its_theorem_and_diana_does_not(problem: Ridge) -> None:
    """The theorem bounds the floor from above; what is 1e-3 of that is no convergence."""
    plan = theory.dcgd(CONSTANTS, OMEGA, dissimilarity=problem.dissimilarity)
    run, floor = Run(problem, 2 * long_enough(plan)), plan.more["neighbourhood"]
    xs = methods.dcgd(run.grads, run.up, run.x, plan.step, run.steps, run.prox)
    assert 1e-3 * floor < late(problem, xs) < floor
    exact = theory.diana(CONSTANTS, OMEGA)
    assert late(problem, diana(exact, Run(problem, 3 * long_enough(exact)))) < 1e-20 * problem.distance(run.x)


@pytest.mark.parametrize("problem", [PLAIN, LASSO], ids=["plain", "l1"])
def test_sgd_diana_stalls_and_vr_diana_does_not(problem: Ridge) -> None:
    """What is left is the noise of sampling, which L-SVRG takes away with a step of the same order."""
    each = problem.each(problem.solution)
    variance = float(((each - each.mean(1, keepdims=True)) ** 2).sum(2).mean())
    plan = theory.sgd_diana(CONSTANTS, OMEGA, BATCH, variance=variance)
    run, floor = Run(problem, long_enough(plan)), plan.more["neighbourhood"]
    xs = methods_finite_sums.sgd_diana(
        problem.each, run.up, run.x, plan.step, run.steps, plan.more["lam"], run.picks, run.prox
    )
    assert 1e-3 * floor < late(problem, xs) < floor
    reduced = theory.vr_diana(CONSTANTS, OMEGA, BATCH)
    assert reduced.step > plan.step / 4
    assert problem.distance(lsvrg(reduced, Run(problem, long_enough(reduced)))[-1]) < 1e-20 * problem.distance(run.x)


def test_without_strong_convexity_the_gap_of_the_average_falls_as_1_over_k() -> None:
    """mean f(x^k) − f* ≤ V⁰/(γT), V⁰ = ‖x⁰ − x*‖² + Mγ²ζ*², for DIANA; FISTA's bound holds at every k."""
    constants = replace(FLAT.constants, strong=0.0)
    plan = theory.diana_convex(constants, OMEGA)
    assert plan.rate is None
    run = Run(FLAT, 300)
    gaps = [FLAT.value(x) - FLAT.value(FLAT.solution) for x in (run.x, *diana(plan, run)[:-1])]
    M = 4 * OMEGA / (FLAT.n * plan.more["lam"])
    assert np.mean(gaps) <= (FLAT.distance(run.x) + M * plan.step**2 * FLAT.dissimilarity) / (plan.step * run.steps)

    fast = theory.fista(constants)
    xs = methods_accelerated.fista(run.grads, run.x, fast.step, run.steps)
    gaps = [FLAT.value(x) - FLAT.value(FLAT.solution) for x in xs]
    k = np.arange(1, run.steps + 1)
    assert (np.array(gaps) <= 2 * constants.smoothness * FLAT.distance(run.x) / (k + 1) ** 2).all()


SMOOTH = replace(CONSTANTS, strong=0.0, convex=False)
NONCONVEX = {
    "ef21": theory.ef21(SMOOTH, DELTA),
    "marina": theory.marina(SMOOTH, OMEGA, P),
    "dasha": theory.dasha(SMOOTH, OMEGA),
    "vr_marina": theory.vr_marina(SMOOTH, OMEGA, BATCH),
    "dasha_page": theory.dasha_page(SMOOTH, OMEGA, BATCH),
    "ef21_pp": theory.ef21_pp(SMOOTH, DELTA, PARTICIPATION),
    "pp_marina": theory.pp_marina(SMOOTH, OMEGA, CLIENTS),
    "dasha_pp": theory.dasha_pp(SMOOTH, OMEGA, PARTICIPATION),
    "intsgd": theory.intsgd(SMOOTH),
    "intdiana": theory.intdiana(SMOOTH),
}


@pytest.mark.parametrize("name", NONCONVEX)
def test_gradient_norms_of_the_longer_steps_for_smoothness_alone(name: str) -> None:
    """mean E‖∇f(x^k)‖² ≤ 2Δ₀/(γT) after a dense first round, the average of 3 seeds. Quadratics undercut it: what a
    wrong constant does, a step too long by the missing factor, is divergence."""
    plan, steps, norms = NONCONVEX[name], 60, []
    assert plan.regime == "nonconvex"
    for seed in range(3):
        run = Run(PLAIN, steps, seed, dense=True)
        xs = next(row for row in ROWS if row.name == name).run(plan, run)
        norms += [float((run.grads(x).mean(0) ** 2).sum()) for x in (run.x, *xs[:-1])]
    gap = PLAIN.value(run.x) - PLAIN.value(PLAIN.solution)
    assert np.mean(norms) <= 2 * gap / (plan.step * steps)
    assert norms[-1] < 0.5 * norms[0]


def test_integers_stay_small_with_shifts_only() -> None:
    """At x* IntSGD sends α∇f_i(x*) and α → ∞; with shifts the integers are of order √(d/2n) γL_i, here below 1."""
    plan, run = theory.intdiana(CONSTANTS), Run(PLAIN, 800)
    arguments = (run.grads, run.x, plan.step, run.steps, plan.more["beta"], 1e-12, run.uniform)
    assert max(intsgd(*arguments)[1]) > 1e6
    assert max(intsgd(*arguments, shifts=True)[1]) < 100
