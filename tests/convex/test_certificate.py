"""Certificates: bounds that hold."""

import numpy as np

import thinwire as tw


def test_the_distance_holds_where_an_intercept_is_free_of_a_strong_penalty():
    rng = np.random.default_rng(0)
    problem = tw.SquaredLoss(rng.normal(size=(60, 5)), rng.normal(size=60) + 5, intercept=True)
    method = {"penalty": tw.L2(50.0), "rule": tw.Nesterov(), "link": tw.dcgd(tw.Identity(bits=64))}
    best = tw.solve(problem, tol=1e-15, **method)
    for rounds in (1, 3, 6):
        found = tw.solve(problem, tol=1e-15, max_rounds=rounds, **method)
        assert np.linalg.norm(found.x - best.x) <= found.certificate.distance


def test_values_that_overflow_are_divergence():
    A, b = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60.0)
    assert tw.solve(tw.SquaredLoss(A, b, l2=0.1), step=1e160, workers=4).status is tw.Status.DIVERGED
