"""As people use them: warm starts, searches, pipelines, pickles, warnings, and what is said to bad input."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import thinwire as tw
from tests.comm.ranks import run_ranks
from tests.estimators.data import SPARSE, TARGETS, THREE, TWO, X

MODELS = [
    (tw.Ridge(), TARGETS),
    (tw.Lasso(0.1), TARGETS),
    (tw.ElasticNet(0.1), TARGETS),
    (tw.LogisticRegression(), TWO),
    (tw.LogisticRegression(), THREE),
    (tw.LinearSVC(), TWO),
    (tw.LinearSVC(), THREE),
]


def named(value: Any) -> str | None:
    return type(value).__name__ if hasattr(value, "fit") else None


@pytest.mark.parametrize("data", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_a_warm_start_takes_fewer_rounds_and_ends_in_the_same_place(model: Any, y: Any, data: Any) -> None:
    of_squares = getattr(model, "by_gap", False)  # a gap is of the order of the square of a gradient
    model = clone(model).set_params(tol=1e-15 if of_squares else 1e-8, warm_start=True)
    cold = model.fit(data, y).n_iter_
    coef, intercept = model.coef_.copy(), np.copy(model.intercept_)
    warm = model.fit(data, y).n_iter_
    assert warm <= max(1, cold // 10)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, intercept, atol=1e-6)


@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_the_attributes_say_how_it_went(model: Any, y: Any) -> None:
    model = clone(model).set_params(workers=4, link="diana(ternary)", random_state=3, tol=1e-2).fit(X, y)
    solutions = model.solution_ if isinstance(model.solution_, list) else [model.solution_]
    assert len(solutions) == (3 if isinstance(model, tw.LinearSVC) and y is THREE else 1)
    statuses = model.status_ if isinstance(model.status_, list) else [model.status_]
    certificates = model.certificate_ if isinstance(model.certificate_, list) else [model.certificate_]
    assert statuses == [solution.status for solution in solutions] == [tw.Status.CONVERGED] * len(solutions)
    assert certificates == [solution.certificate for solution in solutions]
    assert model.n_iter_ == max(solution.rounds for solution in solutions)
    assert model.bytes_sent_ == sum(solution.bytes_sent for solution in solutions) > 0
    assert model.n_features_in_ == X.shape[1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_the_seed_fixes_every_bit(model: Any, y: Any) -> None:
    def fit(seed: Any) -> Any:
        few = clone(model).set_params(workers=3, link="diana(ternary)", max_iter=10)
        return few.set_params(random_state=seed).fit(X, y).coef_

    assert fit(1).tobytes() == fit(1).tobytes()
    assert fit(1).tobytes() != fit(2).tobytes()
    assert fit(None).tobytes() == fit(0).tobytes()
    assert fit(np.random.RandomState(5)).tobytes() == fit(np.random.RandomState(5)).tobytes()


@pytest.mark.parametrize("oracle", [tw.LSVRG(batch=8), tw.SAGA(batch=8)])
def test_stochastic_gradients_that_forget_their_variance(oracle: tw.Oracle) -> None:
    model = tw.LogisticRegression(C=0.1, oracle=oracle, workers=2, link="diana(ternary)", tol=1e-5).fit(X, TWO)
    exact = tw.LogisticRegression(C=0.1, tol=1e-9).fit(X, TWO)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=1e-3)  # tol / μ, μ = 1/CN = 1/16, and some


@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_float32_stays_where_scikit_learn_keeps_it(model: Any, y: Any) -> None:
    kept = np.float64 if isinstance(model, tw.LinearSVC) else np.float32
    for data in (X, SPARSE):
        model = clone(model).fit(data.astype(np.float32), y)
        assert model.coef_.dtype == np.asarray(model.intercept_).dtype == kept
        np.testing.assert_allclose(model.coef_, clone(model).fit(data, y).coef_, atol=1e-2)  # both within their tol


@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_pickles_and_clones(model: Any, y: Any) -> None:
    model = clone(model).set_params(link=tw.diana(tw.Ternary()), oracle=tw.Full(), workers=2, tol=1e-2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.get_params() == model.get_params()
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coef_")


def test_a_clone_talks_to_the_same_workers_and_a_pickle_to_none() -> None:
    def work(group: tw.ProcessGroup) -> Any:
        model = tw.Ridge(group=group).fit(X, TARGETS)
        assert clone(model).group is group
        assert pickle.loads(pickle.dumps(model)).group is None
        assert copy.deepcopy(model).fit(X, TARGETS).bytes_sent_ == 0
        return clone(model).fit(X, TARGETS).coef_

    first, second = run_ranks(2, work)
    assert first.tobytes() == second.tobytes()


def test_in_a_pipeline_and_a_search() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), tw.LogisticRegression(link="diana(ternary)", workers=2, tol=1e-2)),
        {"logisticregression__C": [1e-2, 1.0], "logisticregression__penalty": ["l1", "l2"]},
        cv=3,
    ).fit(X, TWO)
    assert search.best_params_["logisticregression__C"] == 1.0
    assert search.score(X, TWO) > 0.6


@pytest.mark.parametrize(("model", "y"), MODELS, ids=named)
def test_too_few_rounds_are_said_so_with_advice(model: Any, y: Any) -> None:
    model = clone(model).set_params(max_iter=2, tol=1e-12)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    status = model.status_[0] if isinstance(model.status_, list) else model.status_
    assert status is not tw.Status.CONVERGED
    said = str(caught[0].message)
    assert said.startswith(f"{type(model).__name__}.fit(X, y): did not converge to tol=1e-12 in 2 rounds: ")
    assert status.value.replace("max_rounds", "max_iter") in said
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tw.Ridge(-1), r"Ridge: alpha must be a number, at least 0; got -1\."),
        (tw.ElasticNet(l1_ratio=2), "ElasticNet: l1_ratio must be a number, at least 0 and at most 1; got 2"),
        (tw.LogisticRegression("l3"), "penalty must be one of 'l2', 'l1', 'elasticnet', None; got 'l3'"),
        (tw.LogisticRegression("elasticnet"), "l1_ratio must be a number, at least 0 and at most 1"),
        (tw.LogisticRegression(l1_ratio=0.5), 'l1_ratio is for elasticnet; got 0.5. Set penalty="elasticnet"'),
        (tw.LogisticRegression(C=0), "C must be a number, above 0; got 0"),
        (tw.LinearSVC(intercept_scaling="1"), "intercept_scaling must be a number, above 0; got '1'"),
        (tw.Lasso(tol=float("nan")), "tol must be a number, at least 0; got nan"),
        (tw.Lasso(max_iter=0), "max_iter must be an integer, at least 1; got 0"),
        (tw.Lasso(workers=2.5), "workers must be an integer, at least 1; got 2.5"),
        (tw.Lasso(link="diana(ternery)"), "Did you mean 'ternary'"),
        (tw.Lasso(link=3), "link must be a Link, its text .* or None; got 3"),
        (tw.Lasso(oracle="lsvrg"), r"oracle must be an Oracle, such as LSVRG\(\), or None; got 'lsvrg'"),
        (tw.Lasso(step="fast"), 'step must be "theory"'),
        (tw.Lasso(workers=1000), "rows"),
        (tw.Lasso(random_state="now"), "cannot be used to seed"),
    ],
)
def test_bad_parameters_are_refused(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.fit(X, THREE)


@pytest.mark.parametrize("model", [tw.LogisticRegression(), tw.LinearSVC()], ids=named)
def test_one_class_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match=r"y must have at least two classes, not one class only; got \['a'\]"):
        model.fit(X, ["a"] * len(X))


def test_a_warm_start_of_another_shape_is_refused() -> None:
    model = tw.Ridge(warm_start=True).fit(X, TARGETS)
    with pytest.raises(ValueError, match=r"a warm start needs a coef_ of shape \(5,\).*got \(6,\)"):
        model.fit(X[:, :5], TARGETS)


def test_constant_columns_get_nothing() -> None:
    constant = np.hstack([X, np.full((len(X), 1), 3.0)])
    for model, y in MODELS[:5]:
        assert np.allclose(clone(model).fit(constant, y).coef_[..., -1], 0, atol=1e-3)


def test_scikit_learn_is_loaded_by_those_who_use_it() -> None:
    code = "import sys, thinwire as tw; a = 'sklearn' in sys.modules; tw.Ridge; print(a, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False True\n"
    with pytest.raises(AttributeError, match="module 'thinwire' has no attribute 'Rigde'"):
        tw.Rigde  # noqa: B018  # type: ignore[attr-defined]
