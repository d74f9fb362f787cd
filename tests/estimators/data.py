"""Small data of a good condition, and scikit-learn's estimators, run until nothing moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn import linear_model, svm

import thinwire as tw

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 6)) + 0.3
X[RNG.random(X.shape) < 0.3] = 0  # so that it is sparse, too
SPARSE = sp.csr_matrix(X)
SCORES = X @ RNG.normal(size=(6, 3)) + 2 * RNG.normal(size=(160, 3))  # classes overlap: no coefficient is large
TARGETS = SCORES[:, 0]
TWO = np.where(SCORES[:, 0] > 0.5, "yes", "no")
THREE = SCORES.argmax(axis=1)

TIGHT = 1e-9
"""A tol that leaves coefficients within 1e-6: all P are at least 1e-3 strongly convex, and ‖x − x*‖ ≤ ‖G‖/μ."""

Pair = tuple[Any, Any, Any]
"""Ours, scikit-learn's, y."""


def logistic(y: Any, C: float, share: float | None, intercept: bool) -> Pair:
    """Both logistic regressions; `share` of ‖w‖₁, None for no penalty."""
    penalty = {None: None, 0.0: "l2", 1.0: "l1"}.get(share, "elasticnet")
    ours = tw.LogisticRegression(
        penalty, C=C, l1_ratio=share if penalty == "elasticnet" else None, fit_intercept=intercept, tol=TIGHT
    )
    solver = {"solver": "saga", "tol": 1e-13} if share else {"solver": "newton-cg", "tol": 1e-11}
    theirs = linear_model.LogisticRegression(
        C=C if penalty else np.inf, l1_ratio=share or 0.0, fit_intercept=intercept, max_iter=20_000, **solver
    )
    return ours, theirs, y


def pairs(intercept: bool) -> dict[str, Pair]:
    """All estimators and their kinds, by name."""
    more = {"fit_intercept": intercept}
    exact = {"tol": 1e-14, "max_iter": 100_000, **more}
    return {
        "ridge": (tw.Ridge(2.0, tol=TIGHT, **more), linear_model.Ridge(2.0, **exact), TARGETS),
        "least squares": (tw.Ridge(0, tol=TIGHT, **more), linear_model.LinearRegression(tol=1e-14, **more), TARGETS),
        "lasso": (tw.Lasso(0.2, tol=1e-14, **more), linear_model.Lasso(0.2, **exact), TARGETS),
        "elastic net": (
            tw.ElasticNet(0.3, l1_ratio=0.7, tol=1e-14, **more),
            linear_model.ElasticNet(0.3, l1_ratio=0.7, **exact),
            TARGETS,
        ),
        "logistic l2": logistic(TWO, 0.7, 0.0, intercept),
        "logistic l1": logistic(TWO, 0.2, 1.0, intercept),
        "logistic elastic net": logistic(TWO, 0.2, 0.4, intercept),
        "logistic": logistic(TWO, 1.0, None, intercept),
        "softmax l2": logistic(THREE, 0.7, 0.0, intercept),
        "softmax, few": logistic(THREE, 0.05, 0.0, intercept),
        "softmax l1": logistic(THREE, 0.2, 1.0, intercept),
        "softmax": logistic(THREE, 1.0, None, intercept),
        "svm": (tw.LinearSVC(C=0.3, tol=TIGHT, **more), svm.LinearSVC(C=0.3, dual=False, **exact), TWO),
        "svm, scaled": (
            tw.LinearSVC(C=0.3, intercept_scaling=3.0, tol=TIGHT, **more),
            svm.LinearSVC(C=0.3, intercept_scaling=3.0, dual=False, **exact),
            TWO,
        ),
        "svm, three": (tw.LinearSVC(C=0.3, tol=TIGHT, **more), svm.LinearSVC(C=0.3, dual=False, **exact), THREE),
    }


NAMES = list(pairs(True))
