"""Ranks with rows of their own: all end with the same bits, and with what one process finds in all the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import thinwire as tw
from tests.comm.ranks import run_ranks
from tests.estimators.data import SPARSE, TARGETS, THREE, TIGHT, TWO, X
from thinwire.estimators.base import WHOLE

CUT = 70
"""Rows of the first rank; the other has the rest."""


def fitted(model: Any, A: Any, y: Any, cuts: tuple[slice, slice] = (slice(CUT), slice(CUT, None))) -> list[Any]:
    def work(group: tw.ProcessGroup) -> Any:
        mine = cuts[group.ranks.start]
        return type(model)(**{**model.get_params(deep=False), "group": group}).fit(A[mine], y[mine])

    return run_ranks(2, work)


MODELS = [
    (tw.Ridge(2.0, tol=TIGHT), TARGETS),
    (tw.Lasso(0.1, tol=1e-14), TARGETS),
    (tw.LogisticRegression(tol=TIGHT), TWO),
    (tw.LogisticRegression("l1", C=0.2, tol=TIGHT), THREE),
    (tw.LinearSVC(C=0.3, tol=TIGHT), THREE),
]


@pytest.mark.parametrize(("model", "y"), MODELS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("A", [X, SPARSE], ids=["dense", "sparse"])
def test_two_ranks_find_what_one_process_finds(model: Any, y: Any, A: Any) -> None:
    first, second = fitted(clone(model).set_params(link=WHOLE), A, y)
    alone = clone(model).fit(A, y)
    for name in ("coef_", "intercept_"):
        assert np.asarray(getattr(first, name)).tobytes() == np.asarray(getattr(second, name)).tobytes()
        np.testing.assert_allclose(getattr(first, name), getattr(alone, name), rtol=0, atol=2e-6)
    assert first.bytes_sent_ == second.bytes_sent_ > 0
    assert alone.bytes_sent_ == 0


@pytest.mark.parametrize(("model", "y"), MODELS, ids=lambda value: type(value).__name__)
def test_two_ranks_that_send_few_bits_end_alike(model: Any, y: Any) -> None:
    first, second = fitted(clone(model).set_params(tol=1e-3), X, y)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert np.asarray(first.intercept_).tobytes() == np.asarray(second.intercept_).tobytes()
    assert first.status_ == second.status_
    assert first.n_iter_ == second.n_iter_ > 1


@pytest.mark.parametrize("model", [tw.LogisticRegression(), tw.LinearSVC()], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("names", [np.array([10, 20, 30]), np.array([-1.0, 0.0, 7.0]), np.array(["è", "b", "cc"])])
def test_classes_are_those_of_all_ranks(model: Any, names: Any) -> None:
    y = names[THREE]
    order = np.argsort(THREE, kind="stable")  # the first rank has never heard of the last class
    first, second = fitted(clone(model).set_params(link=WHOLE), X[order], y[order])
    np.testing.assert_array_equal(first.classes_, np.unique(names))
    np.testing.assert_array_equal(second.classes_, np.unique(names))
    assert first.classes_.dtype == names.dtype
    assert first.coef_.tobytes() == second.coef_.tobytes()


def test_a_rank_with_one_class_is_enough_for_two() -> None:
    order = np.argsort(TWO, kind="stable")
    ends = (slice(0, 30), slice(-30, None))
    first, second = fitted(tw.LogisticRegression(link=WHOLE), X[order], TWO[order], ends)
    assert first.classes_.tolist() == second.classes_.tolist() == ["no", "yes"]


def test_simulated_workers_of_two_processes() -> None:
    def work(group: tw.ProcessGroup) -> Any:
        mine = slice(CUT) if group.ranks.start == 0 else slice(CUT, None)
        return tw.Ridge(tol=TIGHT, group=group, link=WHOLE).fit(X[mine], TARGETS[mine])

    first, second = run_ranks(2, work, rows=3)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    np.testing.assert_allclose(first.coef_, tw.Ridge(tol=TIGHT).fit(X, TARGETS).coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rank, A: (A[:, : 6 - rank], {}), "rank 0 has 'columns = 6', rank 1 has 'columns = 5'"),
        (lambda rank, A: (A.astype([np.float64, np.float32][rank]), {}), "rank 1 has 'dtype = float32'"),
        (lambda rank, A: (A, {"alpha": rank + 1.0}), "rank 0 has 'alpha = 1.0', rank 1 has 'alpha = 2.0'"),
        (lambda rank, A: (A, {"random_state": rank}), "rank 0 has 'seed = 0', rank 1 has 'seed = 1'"),
    ],
)
def test_ranks_that_differ_are_named(change: Any, message: str) -> None:
    def work(group: tw.ProcessGroup) -> Any:
        A, params = change(group.ranks.start, X)
        return tw.Ridge(group=group, **params).fit(A, TARGETS)

    with pytest.raises(tw.PeerError, match=message):
        run_ranks(2, work)


def test_a_warm_start_begins_at_the_same_place_everywhere() -> None:
    def work(group: tw.ProcessGroup) -> Any:
        model = tw.Ridge(group=group, warm_start=True)
        model.coef_, model.intercept_ = np.full(6, float(group.ranks.start)), 0.0
        return model.fit(X, TARGETS)

    with pytest.raises(tw.PeerError, match="'start = "):
        run_ranks(2, work)


def test_labels_that_are_numbers_here_and_texts_there() -> None:
    def work(group: tw.ProcessGroup) -> Any:
        return tw.LogisticRegression(group=group).fit(X, [THREE, THREE.astype(str)][group.ranks.start])

    with pytest.raises(tw.PeerError, match=r"'labels = numbers', rank 1 has 'labels = texts'"):
        run_ranks(2, work)
