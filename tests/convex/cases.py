"""Small problems of every kind, and their data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

import thinwire as tw
from thinwire.convex.objective import Objective
from thinwire.convex.setup import bind
from thinwire.convex.split import Split
from thinwire.convex.wire import Exact, Traffic

N, P = 60, 6
CLASSES = 3


def data(seed: int = 0, rows: int = N, sparse: bool = False) -> Any:
    """Normal rows whose columns differ in size; in the sparse ones two thirds are zero."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(rows, P)) * np.linspace(0.5, 1.5, P)
    if not sparse:
        return A
    return sp.csr_matrix(np.where(rng.random(A.shape) < 1 / 3, A, 0))


def labels(A: Any, classes: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Classes that a noisy linear model would give, all of them present."""
    rng = np.random.default_rng(seed)
    scores = A @ rng.normal(size=(P, classes)) + rng.normal(size=(A.shape[0], classes))
    made = scores.argmax(axis=1)
    made[:classes] = range(classes)
    return made


def reals(A: Any, seed: int = 1) -> np.ndarray[Any, Any]:
    """Targets of a noisy linear model."""
    rng = np.random.default_rng(seed)
    return np.asarray(A @ rng.normal(size=P) + 0.5 * rng.normal(size=A.shape[0]))


PROBLEMS: dict[str, Callable[..., tw.FiniteSum]] = {
    "logistic": lambda A, **more: tw.LogisticLoss(A, labels(A, 2), **more),
    "squared": lambda A, **more: tw.SquaredLoss(A, reals(A), **more),
    "softmax": lambda A, **more: tw.SoftmaxLoss(A, labels(A, CLASSES), **more),
    "huber": lambda A, **more: tw.HuberLoss(A, reals(A), delta=0.7, **more),
    "squared hinge": lambda A, **more: tw.SquaredHingeLoss(A, labels(A, 2), **more),
    "nonconvex logistic": lambda A, l2=0.0, **more: tw.NonconvexLogistic(A, labels(A, 2), lam=0.3, **more),
}
"""Every problem by its name, made of its data."""


def bound(problem: tw.FiniteSum, workers: int, split: Split = "even") -> Objective:
    """The objective of so many workers, all here."""
    group = tw.LocalGroup(workers)
    return bind(problem, group, Exact(group, Traffic()), split)
