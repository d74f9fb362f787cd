"""The same optimum as scikit-learn's solvers find, dense and sparse, with an intercept and without, on more workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import is_classifier

import thinwire as tw
from tests.estimators.data import NAMES, SPARSE, X, pairs


def same(ours: Any, theirs: Any, within: float = 1e-6) -> None:
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=within)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=within)
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_) or not theirs.fit_intercept


@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "none"])
@pytest.mark.parametrize("data", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_scikit_learns(name: str, data: Any, intercept: bool) -> None:
    ours, theirs, y = pairs(intercept)[name]
    ours.fit(data, y)
    theirs.fit(data, y)
    same(ours, theirs)
    if is_classifier(ours):
        np.testing.assert_array_equal(ours.predict(data), theirs.predict(data))
    else:
        np.testing.assert_allclose(ours.predict(data), theirs.predict(data), atol=1e-5)
    if "logistic" in name or "softmax" in name:
        np.testing.assert_allclose(ours.predict_proba(data), theirs.predict_proba(data), atol=1e-5)
        np.testing.assert_allclose(ours.predict_log_proba(data), theirs.predict_log_proba(data), atol=1e-4)


@pytest.mark.parametrize("link", [None, "diana(ternary)", tw.ef21(tw.TopK(0.5))])
@pytest.mark.parametrize("name", ["ridge", "lasso", "logistic l1", "softmax, few", "svm"])
def test_five_workers_who_send_few_bits_find_it_too(name: str, link: tw.Link | str | None) -> None:
    ours, theirs, y = pairs(True)[name]
    ours.set_params(workers=5, link=link).fit(X, y)
    same(ours, theirs.fit(X, y))
    assert ours.bytes_sent_ > 0
