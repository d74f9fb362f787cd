"""Penalties: prox is the minimiser, conjugates are the suprema, and what cannot be is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from thinwire.convex.penalties import L1, L1L2, L2, Box, GroupLasso, NonNegative, Penalty, Simplex, Zero

D = 6
EVERY = [
    Zero(),
    L1(0.0),
    L1(0.7),
    L2(0.0),
    L2(1.3),
    L1L2(0.5, 0.0),
    L1L2(0.5, 1.5),
    L1L2(0.0, 1.5),
    GroupLasso(0.6, [0, 0, 1, 2, 1, 1]),
    GroupLasso(0.0, list("aabbcc")),
    Box(-0.5, 2.0),
    Box(-math.inf, 1.0),
    Box(0.25, 0.25),
    NonNegative(),
    Simplex(),
    Simplex(3.0),
]
SEPARABLE = [penalty for penalty in EVERY if not isinstance(penalty, GroupLasso | Simplex)]

numbers = st.floats(-8, 8, allow_subnormal=False)
vectors = arrays(np.float64, D, elements=numbers)
steps = st.floats(0.05, 20)
each = pytest.mark.parametrize("penalty", EVERY, ids=repr)
quick = settings(max_examples=40, deadline=None)


def objective(penalty: Penalty, u: Any, x: Any, step: float) -> float:
    return penalty.value(u) + float((u - x) @ (u - x)) / (2 * step)


@each
@quick
@given(x=vectors, step=steps, other=vectors, along=st.floats(0, 1))
def test_prox_is_the_minimiser(penalty: Penalty, x: Any, step: float, other: Any, along: float) -> None:
    """The objective is (σ + 1/step)-strongly convex: F(u) ≥ F(prox) + (σ + 1/step)/2 ‖u − prox‖² at every point u.

    Points are feasible: any point of the domain is its own prox; near ones are drawn along the segment to a far one.
    """
    best = penalty.prox(x, step)
    assert penalty.value(best) < math.inf
    u = best + along * (penalty.prox(other, 1e-9) - best)
    if isinstance(penalty, Simplex):
        u = penalty.prox(u, 1.0)  # the segment leaves the plane by a rounding
    least = objective(penalty, best, x, step) + (penalty.strong + 1 / step) / 2 * float((u - best) @ (u - best))
    rounding = 100 * D * np.finfo(float).eps * (1 + 8**2) / min(step, 1)  # values reach D 8² / step
    assert objective(penalty, u, x, step) >= least - rounding


@each
@quick
@given(x=vectors, y=vectors, step=steps)
def test_prox_is_firmly_nonexpansive(penalty: Penalty, x: Any, y: Any, step: float) -> None:
    moved = penalty.prox(x, step) - penalty.prox(y, step)
    assert moved @ moved <= moved @ (x - y) + 1e3 * np.finfo(float).eps * 8**2  # a few roundings of D products of 8 · 8


@pytest.mark.parametrize("penalty", SEPARABLE, ids=repr)
@quick
@given(x=vectors, seed=st.integers(0, 99))
def test_a_step_for_each_coordinate(penalty: Penalty, x: Any, seed: int) -> None:
    step = np.random.default_rng(seed).uniform(0.1, 3, D)
    alone = [penalty.prox(x[j : j + 1], float(step[j]))[0] for j in range(D)]
    assert np.array_equal(penalty.prox(x, step), alone)


@pytest.mark.parametrize("penalty", [GroupLasso(1.0, [0, 1]), Simplex()], ids=repr)
def test_a_penalty_that_joins_coordinates_needs_one_step(penalty: Penalty) -> None:
    with pytest.raises(ValueError, match=r"one step for all; got \(2,\)\. Pass a float\."):
        penalty.prox(np.ones(2), np.ones(2))


@each
@quick
@given(y=vectors, ridge=st.floats(0.01, 10), x=vectors)
def test_the_conjugate_bounds_every_point_and_is_attained(penalty: Penalty, y: Any, ridge: float, x: Any) -> None:
    """Fenchel–Young at any point, and equality at the prox of y / ridge."""

    def concave(u: Any) -> float:
        return float(y @ u) - penalty.value(u) - ridge / 2 * float(u @ u)

    conjugate = penalty.conjugate(y, ridge)
    rounding = 100 * np.finfo(float).eps * (abs(conjugate) + (1 + ridge) * D * 8**2)
    assert concave(penalty.prox(x, 1.0)) <= conjugate + rounding
    assert concave(penalty.prox(y / ridge, 1 / ridge)) >= conjugate - rounding


@each
@quick
@given(x=vectors, step=steps)
def test_moreau_the_prox_gives_equality_in_fenchel_young(penalty: Penalty, x: Any, step: float) -> None:
    """p = prox(x) and y = (x − p)/step ∈ ∂R(p): R(p) + R*(y) = ⟨p, y⟩. Roundings beyond R*'s domain are scaled off."""
    p = penalty.prox(x, step)
    y = (x - p) / step
    total = penalty.value(p) + penalty.conjugate(y / penalty.gauge(y))
    roundings = 100 * D * np.finfo(float).eps  # of numbers up to 8² in R and in ⟨p, y⟩ step
    assert total == pytest.approx(float(p @ y), abs=roundings * (1 + 1 / step) * 64)


@pytest.mark.parametrize("penalty", SEPARABLE, ids=repr)
@pytest.mark.parametrize("ridge", [0.0, 0.4, 3.0])
def test_conjugates_against_brute_force(penalty: Penalty, ridge: float) -> None:
    """In one dimension, by SciPy's bounded search over [−60, 60], which holds every maximiser here that is finite."""
    for y in (-2.0, -0.7, -0.3, 0.0, 0.2, 0.5, 1.9):
        vector = np.array([y])
        value = penalty.conjugate(vector, ridge)
        low, high = (float(penalty.prox(np.array([end]), 1e-9)[0]) for end in (-60.0, 60.0))
        slope = [penalty.value(np.array([end])) + ridge / 2 * end**2 - y * end for end in (low, high)]
        found = minimize_scalar(
            lambda u, y=y: penalty.value(np.array([u])) + ridge / 2 * u * u - y * u,
            bounds=(low, high) if low < high else (low, low + 1e-300),
            method="bounded",
            options={"xatol": 1e-9},
        )
        best = max(-found.fun, -slope[0], -slope[1])
        if value == math.inf:
            assert best > 5  # it grows with the interval
        else:
            assert value == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("penalty", [GroupLasso(0.8, [0, 0]), GroupLasso(0.8, [0, 1]), Simplex(2.0)], ids=repr)
def test_conjugates_against_brute_force_in_the_plane(penalty: Penalty) -> None:
    """Over a grid: u* is at most h = 0.1/√2 away, where h²/2 + the penalty's change, at most 2 · 0.8 h, is lost."""
    axis = np.linspace(-6, 6, 121)
    for y in (np.array([0.3, -0.4]), np.array([2.0, 1.0]), np.array([-1.5, 0.1])):
        points = [np.array([a, b]) for a in axis for b in axis]
        if isinstance(penalty, Simplex):
            points = [penalty.prox(point, 1.0) for point in points]
        best = max(float(y @ u) - penalty.value(u) - 0.5 * float(u @ u) for u in points)
        assert best - 1e-14 <= penalty.conjugate(y, 1.0) <= best + 0.12


@each
@quick
@given(y=vectors, factor=st.floats(0.01, 1e6))
def test_the_gauge_is_the_least_scale_that_fits(penalty: Penalty, y: Any, factor: float) -> None:
    y = y * factor
    t = penalty.gauge(y)
    assert t >= 1
    if t == math.inf:
        assert penalty.conjugate(y) == math.inf
        assert penalty.conjugate(y / 1e9) == math.inf
        return
    assert penalty.conjugate(y / t) < math.inf
    if t > 1:
        assert penalty.conjugate(y / (t * (1 - 1e-12))) == math.inf


@each
@quick
@given(x=arrays(np.float32, D, elements=st.floats(-8, 8, width=32)), step=steps)
def test_float32_stays(penalty: Penalty, x: Any, step: float) -> None:
    made = penalty.prox(x, step)
    assert made.dtype == np.float32
    assert penalty.value(made) < math.inf
    exact = penalty.prox(x.astype(np.float64), float(step))
    assert np.abs(made - exact).max() <= 8 * np.finfo(np.float32).eps * 8  # a few operations on numbers up to 8
    t = penalty.gauge(x)
    assert t == math.inf or penalty.conjugate(x / t) < math.inf


@each
def test_arguments_are_not_changed(penalty: Penalty) -> None:
    x = np.linspace(-3, 3, D)
    given_x = x.copy()
    made = penalty.prox(x, 0.5)
    made += 1
    penalty.conjugate(x, 1.0)
    assert np.array_equal(x, given_x)


def test_strong_convexity_is_that_of_the_squares() -> None:
    assert [p.strong for p in (L2(1.3), L1L2(0.5, 1.5), L1(2.0), Zero(), Simplex())] == [1.3, 1.5, 0, 0, 0]


def test_special_cases_are_equal() -> None:
    x = np.linspace(-3, 3, D)
    assert np.array_equal(L1L2(0.5, 0.0).prox(x, 0.7), L1(0.5).prox(x, 0.7))
    assert np.array_equal(L1L2(0.0, 0.5).prox(x, 0.7), L2(0.5).prox(x, 0.7))
    assert np.array_equal(Box(0.0, math.inf).prox(x, 0.7), NonNegative().prox(x, 0.7))
    apart = GroupLasso(0.5, list(range(D)))  # groups of one are the Lasso, up to the rounding of x (1 − t/|x|)
    assert apart.prox(x, 0.7) == pytest.approx(L1(0.5).prox(x, 0.7), abs=1e-15)


@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e150])
def test_the_simplex_holds_at_all_scales(scale: float) -> None:
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=1000) * scale
        assert Simplex().value(Simplex().prox(x, 1.0)) == 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: L1(-1.0), r"L1\(lam=-1.0\): lam must be a number ≥ 0"),
        (lambda: L2(math.nan), r"L2\(lam=nan\): lam must be a number ≥ 0"),
        (lambda: L1L2(1.0, math.inf), r"L1L2\(l2=inf\): l2 must be a number ≥ 0"),
        (lambda: Box(1.0, 0.0), r"Box\(low=1.0, high=0.0\): there must be numbers from low to high"),
        (lambda: Box(math.nan, 0.0), r"Box\(low=nan\): low must be a number"),
        (lambda: Box(math.inf, math.inf), "there must be numbers from low to high"),
        (lambda: Simplex(0.0), r"Simplex\(radius=0.0\): radius must be positive"),
        (lambda: Simplex(-1.0), r"Simplex\(radius=-1.0\): radius must be a number ≥ 0"),
        (lambda: GroupLasso(1.0, []), r"GroupLasso\(lam=1.0\): groups must have one label for each coordinate"),
        (lambda: GroupLasso(1.0, [0, 1]).value(np.ones(3)), "<2 groups of 2 coordinates>.*got 3"),
        (lambda: GroupLasso(1.0, [0, 1]).prox(np.ones(1), 1.0), "as many coordinates as groups has labels; got 1"),
        (lambda: L1(1.0).prox(np.ones(1), 0.0), r"L1\(lam=1.0\): step must be positive; got 0.0"),
        (lambda: L1(1.0).prox(np.ones(2), np.array([1.0, -1.0])), "step must be positive"),
        (lambda: Box(0.0, 1.0).prox(np.ones(1), math.nan), "step must be positive"),
        (lambda: L2(1.0).conjugate(np.ones(1), -1.0), r"L2\(lam=1.0\): ridge must be a number ≥ 0; got -1.0"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_penalties_are_values() -> None:
    assert L1(0.5) == L1(0.5)
    assert GroupLasso(1.0, ["b", "a"]) == GroupLasso(1.0, np.array(["b", "a"]))
    assert hash(GroupLasso(1.0, [1, 2])) == hash(GroupLasso(1.0, [1, 2]))
