"""What workers compute: gradients are derivatives, the f_i average to f, and no worker's bits depend on another."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import thinwire as tw
from thinwire.convex.losses import Huber, Logistic, Loss, Softmax, Squared, SquaredHinge
from thinwire.convex.objective import Objective
from thinwire.convex.setup import bind, constants
from thinwire.convex.wire import Exact, Traffic

from .cases import CLASSES, PROBLEMS, N, bound, data, labels

EVERY = pytest.mark.parametrize("name", PROBLEMS)
BOTH = pytest.mark.parametrize("sparse", [False, True])


def point(f: Objective, seed: int = 3) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=f.d)


@EVERY
@BOTH
@pytest.mark.parametrize("intercept", [False, True])
def test_gradients_are_derivatives(name: str, sparse: bool, intercept: bool) -> None:
    """Central differences, h = 1e-5: an error of h² and of 1e-16/h, of values of order 1 to 100."""
    f = bound(PROBLEMS[name](data(sparse=sparse), l2=0.1, intercept=intercept), workers=4)
    x, h = point(f), 1e-5
    found = f.gradients(x)
    for j in range(f.d):
        e = np.eye(f.d)[j] * h
        np.testing.assert_allclose((f.values(x + e) - f.values(x - e)) / (2 * h), found[:, j], rtol=1e-6, atol=1e-6)


@EVERY
@BOTH
def test_the_workers_average_to_the_whole_also_where_shards_differ_in_length(name: str, sparse: bool) -> None:
    problem = PROBLEMS[name](data(sparse=sparse), l2=0.1, intercept=True)
    groups = np.repeat([0, 1, 2], [5, 20, N - 25])
    one, three = bound(problem, 1), bound(problem, 3, groups)
    x = point(one)
    np.testing.assert_allclose(three.gradients(x).mean(0), one.gradients(x)[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(three.values(x).mean(), one.values(x)[0], rtol=1e-12)


@EVERY
@BOTH
def test_a_worker_computes_the_same_bits_among_others_and_alone(name: str, sparse: bool) -> None:
    """Shards of two lengths, as an even split makes them; the scale n/N is a power of two, so it rounds nothing."""
    rows = 64
    A = data(rows=rows, sparse=sparse)
    problem = PROBLEMS[name](A, l2=0.1)
    together = bound(problem, 4)
    x = point(together)
    every = together.gradients(x)
    each = together.gradients(np.stack([x * (i + 1) for i in range(4)]))
    for i in range(4):
        part = np.arange(16 * i, 16 * (i + 1))
        alone = Objective(
            together.loss,
            type(together.shards)(A[part], np.array([0, 16])),
            together.y[part],
            together.scale[i : i + 1],
            together.outputs,
            together.ridge,
            together.nonconvex,
        )
        assert (alone.gradients(x)[0] == every[i]).all()
        assert (alone.gradients((x * (i + 1))[None])[0] == each[i]).all()


@EVERY
@BOTH
def test_a_minibatch_of_all_samples_is_the_whole(name: str, sparse: bool) -> None:
    f = bound(PROBLEMS[name](data(sparse=sparse), l2=0.1), workers=3)
    everything = np.tile(np.arange(N // 3), (3, 1))
    x = point(f)
    np.testing.assert_allclose(f.picked(everything).gradients(x), f.gradients(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", [Logistic(), Squared(), Huber(0.7), SquaredHinge(), Softmax()])
def test_conjugates_are_suprema(loss: Loss) -> None:
    """Fenchel–Young: φ(z) + φ*(s) ≥ s z, with equality where s is the slope at z."""
    rng = np.random.default_rng(0)
    shape = (200, CLASSES) if loss.several else (200,)
    y = rng.integers(0, CLASSES, 200).astype(float) if loss.several else rng.choice([-1.0, 1.0], 200)
    z, other = rng.normal(size=shape) * 2, rng.normal(size=shape) * 2
    s = loss.slope(z, y)

    def product(a: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> object:
        return (s * a).sum(axis=1) if loss.several else s * a

    np.testing.assert_allclose(loss.value(z, y) + loss.conjugate(s, y), product(z), rtol=1e-10, atol=1e-12)
    assert (loss.value(other, y) + loss.conjugate(s, y) >= product(other) - 1e-12).all()


@EVERY
@BOTH
def test_the_constants_hold(name: str, sparse: bool) -> None:
    """‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖ for f, each f_i and each sample, and ⟨…⟩ ≥ μ‖x − y‖²; exact for squared losses."""
    problem = PROBLEMS[name](data(sparse=sparse), l2=0.1)
    group = tw.LocalGroup(4)
    exact = Exact(group, Traffic())
    f = bind(problem, group, exact)
    found = constants(f, exact)
    rng = np.random.default_rng(5)
    for _ in range(20):
        x, y = rng.normal(size=(2, f.d)) * rng.choice([0.01, 1, 10])
        change, distance = f.gradients(x) - f.gradients(y), np.linalg.norm(x - y)
        assert (np.linalg.norm(change, axis=1) <= np.array(found.workers) * distance * (1 + 1e-12)).all()
        assert np.linalg.norm(change.mean(0)) <= found.smoothness * distance * (1 + 1e-12)
        picks = rng.integers(0, N // 4, (4, 1))
        single = f.picked(picks).gradients(x) - f.picked(picks).gradients(y)
        assert (np.linalg.norm(single, axis=1) <= found.samples * distance * (1 + 1e-12)).all()
        if found.convex:
            assert change.mean(0) @ (x - y) >= found.strong * distance**2 * (1 - 1e-10)
    assert found.m == N // 4
    assert found.convex == (name != "nonconvex logistic")
    if name == "squared":
        dense = problem.data.toarray() if sparse else problem.data
        spectrum = np.linalg.eigvalsh(dense.T @ dense / N) + 0.1
        np.testing.assert_allclose([found.strong, found.smoothness], spectrum[[0, -1]], rtol=1e-8)


def test_all_kinds_of_data_are_the_same_problem() -> None:
    A = data()
    b = labels(A, 2)
    x = np.ones(A.shape[1])
    wanted = bound(tw.LogisticLoss(A, b), 2).gradients(x)
    names = np.array(["no", "yes"])[b]
    kinds = [(A.tolist(), b.tolist()), (torch.from_numpy(A), torch.from_numpy(b)), (sp.coo_matrix(A), names)]
    kinds.append((A, b * 2 + 5))
    for matrix, targets in kinds:
        np.testing.assert_allclose(bound(tw.LogisticLoss(matrix, targets), 2).gradients(x), wanted, rtol=1e-12)
    assert bound(tw.LogisticLoss(A.astype(np.float32), b), 2).gradients(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "A, b, message",
    [
        (np.ones(3), [1, 2, 3], r"A must be \(N, p\)"),
        (np.ones((0, 3)), [], "at least one row"),
        (np.ones((3, 2)), [1, 2], r"b must have shape \(3,\)"),
        (np.array([[1.0, np.nan]]), [1], "nan in row 0, column 1"),
        (sp.csr_matrix([[0.0, 1.0], [0.0, np.inf]]), [1, 2], "inf in row 1, column 1"),
        (np.ones((2, 1)), [1, np.nan], "b must be finite; got 'nan in row 1'"),
        (np.array([["a"], ["b"]]), [1, 2], "real numbers"),
    ],
)
def test_bad_data_is_refused(A: object, b: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tw.SquaredLoss(A, b)


def test_bad_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="l2 must be at least 0"):
        tw.SquaredLoss(np.eye(2), [1, 2], l2=-1.0)
    with pytest.raises(ValueError, match="delta must be positive"):
        tw.HuberLoss(np.eye(2), [1, 2], delta=0)
