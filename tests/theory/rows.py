"""Every plan with a linear rate, beside the twin that it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thinwire import theory
from thinwire.theory import Plan

from ..reference import (
    methods,
    methods_accelerated,
    methods_bidirectional,
    methods_finite_sums,
    methods_integers,
    methods_local,
    methods_partial,
)
from ..reference.methods import Array
from .problem import BATCH, CLIENTS, PARTICIPATION, Ridge, Run

PLAIN, LASSO = Ridge.drawn(), Ridge.drawn(l1=0.5)  # of which half of the solution is zero
CONSTANTS = PLAIN.constants
OMEGA, DOWN, DELTA, P = 1.0, 0.5, 0.5, 0.5
"""Of Run.up, Run.down, Run.greedy; and MARINA's probability."""
EPS = 1e-12


@dataclass(frozen=True)
class Row:
    """A plan, and its twin run; `chance`: more than one seed makes sense; a step communicates with probability `p`."""

    name: str
    plan: Plan
    run: Callable[[Plan, Run], list[Array]]
    chance: bool = True
    p: float = 1.0


def diana(plan: Plan, r: Run) -> list[Array]:
    return methods.diana(r.grads, r.up, r.x, plan.step, r.steps, plan.more["lam"], r.prox)


def ef21(plan: Plan, r: Run) -> list[Array]:
    return methods.ef21(r.grads, r.greedy, r.x, plan.step, r.steps, r.prox)


def ef_bv(plan: Plan, r: Run) -> list[Array]:
    return methods.ef_bv(r.grads, r.up, r.x, plan.step, r.steps, plan.more["lam"], plan.more["nu"], r.prox)


def adiana(plan: Plan, r: Run) -> list[Array]:
    more = {name: value for name, value in plan.more.items() if name != "fresh"}
    fresh = plan.more["fresh"] == 1
    return methods_accelerated.adiana(
        r.grads, r.up, r.second, r.x, plan.step, r.steps, fresh=fresh, coin=r.coin, prox=r.prox, **more
    )


def lsvrg(plan: Plan, r: Run) -> list[Array]:
    lam, p = plan.more["lam"], plan.more["p"]
    return methods_finite_sums.vr_diana_lsvrg(
        r.problem.each, r.up, r.x, plan.step, r.steps, lam, p, r.picks, r.coin, r.prox
    )


def saga(plan: Plan, r: Run) -> list[Array]:
    lam = plan.more["lam"]
    return methods_finite_sums.vr_diana_saga(r.problem.each, r.up, r.x, plan.step, r.steps, lam, r.picks, r.prox)


def dasha_page(plan: Plan, r: Run) -> list[Array]:
    a, p = plan.more["a"], plan.more["p"]
    return methods_finite_sums.dasha_page(r.problem.each, r.up, r.x, plan.step, r.steps, a, p, r.picks, r.coin)


def locodl(plan: Plan, r: Run) -> list[Array]:
    p, rho, share, dual = (plan.more[name] for name in ("p", "rho", "share", "dual"))
    return methods_local.locodl(r.problem.at, r.up, r.X, plan.step, r.steps, p, rho, share, dual, r.coin)


def dore(plan: Plan, r: Run) -> list[Array]:
    alpha, beta, eta = (plan.more[name] for name in ("lam", "beta", "eta"))
    return methods_bidirectional.dore(r.grads, r.up, r.down, r.x, plan.step, r.steps, alpha, beta, eta, r.prox)


def mcm(plan: Plan, r: Run) -> list[Array]:
    lam, back = plan.more["lam"], plan.more["down"]
    return methods_bidirectional.mcm(r.grads, r.up, r.down, r.x, plan.step, r.steps, lam, back)


def dasha_pp(plan: Plan, r: Run) -> list[Array]:
    a, b = plan.more["a"], plan.more["b"]
    return methods_partial.dasha_pp(r.grads, r.up, r.x, plan.step, r.steps, a, b, PARTICIPATION, r.present)


def integers(plan: Plan, r: Run, shifts: bool = False) -> list[Array]:
    return methods_integers.intsgd(r.grads, r.x, plan.step, r.steps, plan.more["beta"], EPS, r.uniform, shifts=shifts)[
        0
    ]


DESCENT = [
    Row(
        "gradient descent",
        theory.gradient_descent(CONSTANTS),
        lambda plan, r: methods.gradient_descent(r.grads, r.x, plan.step, r.steps, r.prox),
        chance=False,
    ),
    Row(
        "heavy ball",
        theory.heavy_ball(CONSTANTS),
        lambda plan, r: methods_accelerated.heavy_ball(r.grads, r.x, plan.step, r.steps, plan.more["momentum"]),
        chance=False,
    ),
    Row(
        "nesterov",
        theory.nesterov(CONSTANTS),
        lambda plan, r: methods_accelerated.nesterov(r.grads, r.x, plan.step, r.steps, plan.more["momentum"], r.prox),
        chance=False,
    ),
    Row("adiana", theory.adiana(CONSTANTS, OMEGA), adiana),
    Row("adiana, refined", theory.adiana_refined(CONSTANTS, OMEGA), adiana),
    Row("adiana, tight", theory.adiana_tight(CONSTANTS, OMEGA), adiana),
]

SHIFTS = [
    Row("diana, original", theory.diana_original(CONSTANTS, OMEGA), diana),
    Row("diana, balanced", theory.diana_balanced(CONSTANTS, OMEGA), diana),
    Row("diana", theory.diana(CONSTANTS, OMEGA), diana),
    Row("diana, PL", theory.diana_nonconvex(CONSTANTS, OMEGA), diana),
    Row(
        "rand_diana",
        theory.rand_diana(CONSTANTS, OMEGA),
        lambda plan, r: methods.rand_diana(r.grads, r.up, r.x, plan.step, r.steps, plan.more["p"], r.coin, r.prox),
    ),
]

FEEDBACK = [
    Row("ef21", theory.ef21(CONSTANTS, DELTA), ef21, chance=False),
    Row("ef21, prox", theory.ef21(CONSTANTS, DELTA, prox=True), ef21, chance=False),
    Row("ef_bv", theory.ef_bv(CONSTANTS, 0.0, OMEGA), ef_bv),
    Row("ef_bv, prox", theory.ef_bv(CONSTANTS, 0.0, OMEGA, prox=True), ef_bv),
    Row(
        "clag",
        theory.clag(CONSTANTS, DELTA, zeta=2.0),
        lambda plan, r: methods.clag(r.grads, r.greedy, r.x, plan.step, r.steps, zeta=2.0),
        chance=False,
    ),
    Row(
        "marina",
        theory.marina(CONSTANTS, OMEGA, P),
        lambda plan, r: methods.marina(r.grads, r.up, r.x, plan.step, r.steps, P, r.coin),
    ),
    Row(
        "dasha",
        theory.dasha(CONSTANTS, OMEGA),
        lambda plan, r: methods.dasha(r.grads, r.up, r.x, plan.step, r.steps, plan.more["a"]),
    ),
]

FINITE_SUMS = [
    Row("vr_diana, L-SVRG", theory.vr_diana(CONSTANTS, OMEGA, BATCH), lsvrg),
    Row(
        "vr_diana, SAGA",
        theory.vr_diana(CONSTANTS, OMEGA, BATCH, p=theory.saga_probability(CONSTANTS, BATCH)),
        saga,
    ),
    Row(
        "vr_marina",
        theory.vr_marina(CONSTANTS, OMEGA, BATCH),
        lambda plan, r: methods_finite_sums.vr_marina(
            r.problem.each, r.up, r.x, plan.step, r.steps, plan.more["p"], r.picks, r.coin
        ),
    ),
    Row("dasha_page", theory.dasha_page(CONSTANTS, OMEGA, BATCH), dasha_page),
]

SCAFFNEW, LOCODL = theory.scaffnew(CONSTANTS), theory.locodl(CONSTANTS, OMEGA)
LOCAL = [
    Row(
        "scaffnew",
        SCAFFNEW,
        lambda plan, r: methods_local.scaffnew(r.problem.at, r.X, plan.step, r.steps, plan.more["p"], r.coin),
        p=SCAFFNEW.more["p"],
    ),
    Row("locodl", LOCODL, locodl, p=LOCODL.more["p"]),
]

BIDIRECTIONAL = [
    Row("dore", theory.dore(CONSTANTS, OMEGA, DOWN), dore),
    Row("mcm", theory.mcm(CONSTANTS, OMEGA, DOWN), mcm),
    Row(
        "ef21p_diana",
        theory.ef21p_diana(CONSTANTS, OMEGA, DELTA),
        lambda plan, r: methods_bidirectional.ef21p_diana(
            r.grads, r.up, r.greedy, r.x, plan.step, r.steps, plan.more["lam"]
        ),
    ),
]

PARTIAL = [
    Row(
        "ef21_pp",
        theory.ef21_pp(CONSTANTS, DELTA, PARTICIPATION),
        lambda plan, r: methods_partial.ef21_pp(r.grads, r.greedy, r.x, plan.step, r.steps, r.present),
    ),
    Row(
        "pp_marina",
        theory.pp_marina(CONSTANTS, OMEGA, CLIENTS),
        lambda plan, r: methods_partial.pp_marina(
            r.grads, r.up, r.x, plan.step, r.steps, plan.more["p"], r.clients, r.coin
        ),
    ),
    Row("dasha_pp", theory.dasha_pp(CONSTANTS, OMEGA, PARTICIPATION), dasha_pp),
]

INTEGERS = [
    Row("intsgd", theory.intsgd(CONSTANTS), integers),
    Row("intdiana", theory.intdiana(CONSTANTS), lambda plan, r: integers(plan, r, shifts=True)),
]

ROWS = [*DESCENT, *SHIFTS, *FEEDBACK, *FINITE_SUMS, *LOCAL, *BIDIRECTIONAL, *PARTIAL, *INTEGERS]
