"""scikit-learn's own suite: what every estimator must do, with no failure that would have to be explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import thinwire as tw

# Some of its data are badly scaled on purpose; what is checked there does not need an optimum to four digits.
ROUNDS = 300


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        tw.Ridge(max_iter=ROUNDS),
        tw.Lasso(max_iter=ROUNDS),
        tw.ElasticNet(max_iter=ROUNDS),
        tw.LogisticRegression(max_iter=ROUNDS),
        tw.LinearSVC(max_iter=ROUNDS),
    ]
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
