"""Certificates: bounds that hold."""

from __future__ import annotations

import numpy as np
import pytest

import thinwire as tw

from .cases import N, data


def test_the_distance_holds_where_an_intercept_is_free_of_a_strong_penalty() -> None:
    rng = np.random.default_rng(0)
    problem = tw.SquaredLoss(rng.normal(size=(60, 5)), rng.normal(size=60) + 5, intercept=True)
    method = {"penalty": tw.L2(50.0), "rule": tw.Nesterov(), "link": tw.dcgd(tw.Identity(bits=64))}
    best = tw.solve(problem, tol=1e-15, **method)
    for rounds in (1, 3, 6):
        found = tw.solve(problem, tol=1e-15, max_rounds=rounds, **method)
        assert np.linalg.norm(found.x - best.x) <= found.certificate.distance


def test_values_that_overflow_are_divergence() -> None:
    A, b = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60.0)
    assert tw.solve(tw.SquaredLoss(A, b, l2=0.1), step=1e160, workers=4).status is tw.Status.DIVERGED


@pytest.mark.parametrize("penalty", [tw.Box(-0.1, 0.1), tw.Simplex(), tw.NonNegative()], ids=repr)
def test_float32_iterates_meet_constraints_by_their_own_rounding(penalty: tw.Penalty) -> None:
    problem = tw.SquaredLoss(data().astype(np.float32), np.ones(N))
    assert tw.solve(problem, penalty=penalty, workers=3, tol=1e-4).converged


def test_the_distance_holds_down_to_rounding() -> None:
    """There the duality gap is a difference of numbers near 1, and may come out as zero; the distance must not.

    1e-13: κ < 400 times the rounding of x* as it is computed here.
    """
    problem = tw.SquaredLoss(data(), data() @ np.ones(6), l2=0.01)
    wanted = np.linalg.solve(data().T @ data() / N + 0.01 * np.eye(6), data().T @ (data() @ np.ones(6)) / N)
    for tol in (1e-10, 1e-15, 1e-20, 1e-25):
        found = tw.solve(problem, workers=3, tol=tol, max_rounds=3000)
        assert found.certificate.distance is not None
        assert np.linalg.norm(found.x - wanted) <= found.certificate.distance + 1e-13
