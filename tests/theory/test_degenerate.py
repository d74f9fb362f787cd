"""The twins, where they must equal a simpler one: exact messages, everyone present, a coin that always falls alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
from .problem import Run
from .rows import LASSO, PLAIN

RUN, GAMMA, STEPS = Run(PLAIN, 30), 0.1, 30
GRADS, UP, X = RUN.grads, RUN.up, RUN.x
DESCENT = methods.gradient_descent(GRADS, X, GAMMA, STEPS)
DIANA = methods.diana(GRADS, UP, X, GAMMA, STEPS, 0.5)
MARINA = methods.marina(GRADS, UP, X, GAMMA, STEPS, 0.5, RUN.coin)


def exact(x: Array, k: int) -> Array:
    return x


def always(k: int) -> float:
    return 0.0


def all_samples(k: int) -> npt.NDArray[np.int64]:
    return np.tile(np.arange(PLAIN.m), (PLAIN.n, 1))


def everyone(k: int) -> npt.NDArray[np.bool_]:
    return np.ones(PLAIN.n, dtype=bool)


def same(xs: list[Array], expected: list[Array]) -> None:
    """Float64 sums in another order, over 30 steps that contract."""
    np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=0, atol=1e-12)


def test_momentum_of_zero_is_gradient_descent() -> None:
    same(methods_accelerated.heavy_ball(GRADS, X, GAMMA, STEPS, 0.0), DESCENT)
    same(methods_accelerated.nesterov(GRADS, X, GAMMA, STEPS, 0.0), DESCENT)
    lasso = methods.gradient_descent(LASSO.grads, X, GAMMA, STEPS, LASSO.prox)
    same(methods_accelerated.nesterov(LASSO.grads, X, GAMMA, STEPS, 0.0, LASSO.prox), lasso)


def test_adiana_that_always_takes_y_is_diana() -> None:
    """θ₁ = θ₂ = 0: x = y, and w plays no part but for the shifts."""
    for C, expected in ((exact, DESCENT), (UP, DIANA)):
        xs = methods_accelerated.adiana(
            GRADS,
            C,
            UP,
            X,
            GAMMA,
            STEPS,
            lam=0.5,
            p=1,
            theta1=0,
            theta2=0,
            gamma=GAMMA,
            beta=1,
            fresh=True,
            coin=always,
        )
        same(xs, expected)


def test_all_samples_are_the_full_gradient() -> None:
    sums, each = methods_finite_sums, PLAIN.each
    same(sums.sgd_diana(each, UP, X, GAMMA, STEPS, 0.5, all_samples), DIANA)
    same(sums.vr_diana_lsvrg(each, UP, X, GAMMA, STEPS, 0.5, 0.1, all_samples, RUN.coin), DIANA)
    same(sums.vr_diana_saga(each, UP, X, GAMMA, STEPS, 0.5, all_samples), DIANA)
    same(sums.vr_marina(each, UP, X, GAMMA, STEPS, 0.5, all_samples, RUN.coin), MARINA)
    dasha = methods.dasha(GRADS, UP, X, GAMMA, STEPS, 0.3)
    same(sums.dasha_page(each, UP, X, GAMMA, STEPS, 0.3, 0.1, all_samples, RUN.coin), dasha)
    same(sums.dasha_page(each, UP, X, GAMMA, STEPS, 0.3, 1.0, RUN.picks, RUN.coin), dasha)


def test_all_workers_present() -> None:
    some = methods_partial
    same(some.ef21_pp(GRADS, RUN.greedy, X, GAMMA, STEPS, everyone), methods.ef21(GRADS, RUN.greedy, X, GAMMA, STEPS))
    same(some.pp_marina(GRADS, UP, X, GAMMA, STEPS, 0.5, lambda k: np.arange(PLAIN.n), RUN.coin), MARINA)

    def first_whole(x: Array, k: int) -> Array:
        return UP(x, k) if k else x

    dasha = methods.dasha(GRADS, first_whole, X, GAMMA, STEPS, 0.3)
    same(some.dasha_pp(GRADS, UP, X, GAMMA, STEPS, 0.3, 1.0, 1.0, everyone), dasha)


def test_an_exact_downlink() -> None:
    both = methods_bidirectional
    same(both.mcm(GRADS, UP, exact, X, GAMMA, STEPS, 0.5, 0.5), DIANA)
    same(both.ef21p_diana(GRADS, UP, exact, X, GAMMA, STEPS, 0.5), DIANA)
    same(both.dore(GRADS, UP, exact, X, GAMMA, STEPS, 0.5, 1.0, 0.7), DIANA)
    lasso = methods.diana(LASSO.grads, UP, X, GAMMA, STEPS, 0.5, LASSO.prox)
    same(both.dore(LASSO.grads, UP, exact, X, GAMMA, STEPS, 0.5, 1.0, 0.7, LASSO.prox), lasso)


def test_a_communication_after_every_step() -> None:
    """LoCoDL without compression (ρ = χ = 1, dual = 1/γ) then keeps X and y at their mean, half of each."""
    same(methods_local.scaffnew(PLAIN.at, RUN.X, GAMMA, STEPS, 1.0, always), DESCENT)
    xs = methods_local.locodl(PLAIN.at, exact, RUN.X, GAMMA, STEPS, 1.0, 1.0, 0.5, 1 / GAMMA, always)
    same(xs, methods.gradient_descent(GRADS, X, GAMMA / 2, STEPS))


def test_integers_without_rounding() -> None:
    """A scale so fine that rounding is below 1e-12: ε → 0 and r = 0 (β = 1)."""
    for shifts in (False, True):
        xs, integers = methods_integers.intsgd(GRADS, X, GAMMA, STEPS, 1.0, 1e-13, RUN.uniform, shifts)
        same(xs, DESCENT)
        assert max(integers) > 1e10
