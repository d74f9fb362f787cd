"""Least squares: Ridge, Lasso, ElasticNet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from thinwire._check import fault
from thinwire.comm import Group
from thinwire.convex import L1, Moment, Oracle, Penalty, SquaredLoss
from thinwire.estimators.base import FLOATS, Array, Wired, centred, dots, norm
from thinwire.link import Link


class Squares(RegressorMixin, Wired, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """(1/2N) ‖y − Xw − b‖² + (l2/2) ‖w‖² + R(w), b free.

    The intercept of dense data is eliminated by the exact means of all rows; for sparse data it is one more unknown.
    """

    alpha: float
    by_gap = True
    """Whether `tol` is of the gap, where a bound of it is at hand; else of the gradient mapping."""

    @abstractmethod
    def _weights(self, rows: int) -> tuple[float, Penalty | None]:
        """l2 and R, for so many rows in all."""

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the rows of X, (N, p), and y, (N,): under a ProcessGroup, to all ranks' rows.

        Raises:
            ValueError: bad parameters or data, always before the first round.
            PeerError: the ranks' parameters or columns differ, or one is gone.
        """
        self._number("alpha", 0)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, y_numeric=True)
        peers = self._begin(X)
        A, mean, rows = centred(X, self.fit_intercept, peers)
        if self.fit_intercept and rows < 2:
            raise ValueError(fault(self._where(), "an intercept needs two rows or more", "1 sample"))
        column, (level,), _ = centred(np.asarray(y, A.dtype)[:, None], self.fit_intercept, peers)
        free = bool(self.fit_intercept and sp.issparse(A))
        x0 = np.append(self.coef_, [self.intercept_ - level] * free) if self._fits((X.shape[1],)) else None
        l2, penalty = self._weights(rows)
        problem = SquaredLoss(A, column[:, 0], l2=l2, intercept=free)
        unit = peers.sum(np.append(A.T @ column, np.square(column, dtype=np.float64).sum())) / rows
        slope = norm(unit[:-1])

        def near(moment: Moment) -> bool:
            if self.by_gap and moment.gap is not None:
                return moment.gap <= self.tol * float(unit[-1])
            return moment.mapping <= self.tol * slope

        solution = self._run(problem, penalty, near, x0, peers)
        self.coef_ = solution.x[: X.shape[1]].copy()
        self.intercept_ = A.dtype.type(level + solution.x[X.shape[1] :].sum() - dots(self.coef_, mean))
        self._end([solution], peers)
        return self

    def predict(self, X: Any) -> Array:
        """X w + b, of `coef_` and `intercept_`: (N,)."""
        return self._scores(X)


class Ridge(Squares):
    """min ‖y − Xw − b‖² + alpha ‖w‖², as `sklearn.linear_model.Ridge`.

    There is one target, (N,), and one alpha. scikit-learn's usual solver is a factorisation, which knows no tolerance;
    here as in its iterative ones it stops where ‖∇‖ ≤ tol · (‖∇‖ at w = 0, b = ȳ). Source: Hoerl and Kennard (1970).

    Args:
        alpha: weight of the squares, at least 0.
        fit_intercept, tol, max_iter, warm_start, random_state: as there; an iteration is a round of communication.
        link, oracle, workers, group, step: as `thinwire.solve` takes them; a link may be its text.

    >>> import numpy as np, thinwire as tw
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = tw.Ridge(alpha=1e-3, link="diana(ternary)", workers=4, tol=1e-8).fit(X, X @ [1.0, 2.0, 3.0] + 4)
    >>> model.coef_.round(2), float(model.intercept_.round(2)), model.status_.name
    (array([1., 2., 3.]), 4.0, 'CONVERGED')
    """

    by_gap = False

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 10_000,
        warm_start: bool = False,
        random_state: Any = None,
        link: Link | str | None = None,
        oracle: Oracle | None = None,
        workers: int = 1,
        group: Group | None = None,
        step: float | str = "theory",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.link = link
        self.oracle = oracle
        self.workers = workers
        self.group = group
        self.step = step

    def _weights(self, rows: int) -> tuple[float, Penalty | None]:
        return self.alpha / rows, None


class Lasso(Squares):
    """min (1/2N) ‖y − Xw − b‖² + alpha ‖w‖₁, as `sklearn.linear_model.Lasso`.

    It stops as there, where the duality gap is at most tol · ‖y − ȳ‖²/N; where no bound of it is at hand (some sparse
    data with an intercept), where the gradient mapping is at most tol · (‖∇f‖ at w = 0). Source: Tibshirani (1996).

    Args:
        alpha: weight of ‖w‖₁, at least 0.
        fit_intercept, tol, max_iter, warm_start, random_state: as there; an iteration is a round of communication.
        link, oracle, workers, group, step: as `thinwire.solve` takes them; a link may be its text.

    >>> import numpy as np, thinwire as tw
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> tw.Lasso(alpha=0.5, workers=4, tol=1e-8).fit(X, X @ [0.1, 2.0, 3.0]).coef_.round(1)
    array([0. , 1.5, 2.5])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 10_000,
        warm_start: bool = False,
        random_state: Any = None,
        link: Link | str | None = None,
        oracle: Oracle | None = None,
        workers: int = 1,
        group: Group | None = None,
        step: float | str = "theory",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.link = link
        self.oracle = oracle
        self.workers = workers
        self.group = group
        self.step = step

    def _weights(self, rows: int) -> tuple[float, Penalty | None]:
        return 0.0, L1(self.alpha)


class ElasticNet(Squares):
    """min (1/2N) ‖y − Xw − b‖² + alpha l1_ratio ‖w‖₁ + (alpha/2) (1 − l1_ratio) ‖w‖², as scikit-learn's ElasticNet.

    It stops as `Lasso` does. Source: Zou and Hastie (2005).

    Args:
        alpha: weight of both penalties, at least 0.
        l1_ratio: the share of ‖w‖₁, 0 to 1.
        fit_intercept, tol, max_iter, warm_start, random_state: as there; an iteration is a round of communication.
        link, oracle, workers, group, step: as `thinwire.solve` takes them; a link may be its text.

    >>> import numpy as np, thinwire as tw
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> tw.ElasticNet(alpha=0.5, l1_ratio=0.9, workers=4, tol=1e-8).fit(X, X @ [0.1, 2.0, 3.0]).coef_.round(1)
    array([0. , 1.5, 2.4])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 10_000,
        warm_start: bool = False,
        random_state: Any = None,
        link: Link | str | None = None,
        oracle: Oracle | None = None,
        workers: int = 1,
        group: Group | None = None,
        step: float | str = "theory",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.link = link
        self.oracle = oracle
        self.workers = workers
        self.group = group
        self.step = step

    def _weights(self, rows: int) -> tuple[float, Penalty | None]:
        self._number("l1_ratio", 0, 1)
        return self.alpha * (1 - self.l1_ratio), L1(self.alpha * self.l1_ratio)
