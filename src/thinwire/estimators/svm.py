"""The linear support vector machine."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from thinwire.comm import Group
from thinwire.convex import Moment, Oracle, Solution, SquaredHingeLoss
from thinwire.estimators.base import Array, Classifying, norm
from thinwire.estimators.peers import Peers
from thinwire.link import Link


class LinearSVC(ClassifierMixin, Classifying):  # type: ignore[misc]  # scikit-learn has no types
    """min (‖w‖² + (b/s)²)/2 + C Σ_j max{0, 1 − y_j z_j}², z = wᵀx + b, as `sklearn.svm.LinearSVC` by default.

    That is the squared hinge with squares as penalty; s is `intercept_scaling`, the value of one more column, which is
    penalised as the others are, as there. Of K > 2 classes each is separated from the rest, one after the other. It
    stops as liblinear does, where ‖∇‖ ≤ tol · min(n₊, n₋)/N · (‖∇‖ at 0), n₊ and n₋ the rows of both sides. Data
    become float64, as there. Source: Fan et al., "LIBLINEAR" (JMLR 2008).

    Args:
        C: weight of the data, positive.
        intercept_scaling: s, positive: the larger, the less the intercept is penalised, and the worse the condition.
        fit_intercept, tol, max_iter, random_state: as there; an iteration is a round of communication.
        warm_start: begin at the `coef_` and `intercept_` that are there, which scikit-learn's cannot.
        link, oracle, workers, group, step: as `thinwire.solve` takes them; a link may be its text.

    >>> import numpy as np, thinwire as tw
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = tw.LinearSVC(workers=4).fit(X, X.argmax(axis=1))
    >>> model.predict(np.eye(3)).tolist(), [status.name for status in model.status_]
    ([0, 1, 2], ['CONVERGED', 'CONVERGED', 'CONVERGED'])
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        intercept_scaling: float = 1.0,
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
        self.C = C
        self.intercept_scaling = intercept_scaling
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

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the rows of X, (N, p), and their labels y, (N,): under a ProcessGroup, to all ranks' rows and classes.

        Raises:
            ValueError: bad parameters or data, one class only: always before the first round.
            PeerError: the ranks' parameters or columns differ, or one is gone.
        """
        self._number("C", 0, above=True)
        self._number("intercept_scaling", 0, above=True)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        peers = self._begin(X)
        self.classes_ = peers.classes(self._where(), y)
        sides = self.classes_ if len(self.classes_) > 2 else self.classes_[1:]
        warm = self._fits((len(sides), X.shape[1]))
        A, scale, starts = X, 0.0, self.coef_ if warm else None
        if self.fit_intercept:
            scale = float(self.intercept_scaling)
            column = np.full((X.shape[0], 1), scale)
            A = sp.hstack([X, column], format="csr") if sp.issparse(X) else np.hstack([X, column])
            starts = np.column_stack([self.coef_, self.intercept_ / scale]) if warm else None
        solutions = [
            self._one(A, np.where(y == side, 1.0, -1.0), None if starts is None else starts[number], peers)
            for number, side in enumerate(sides)
        ]
        self.coef_ = np.stack([solution.x[: X.shape[1]] for solution in solutions])
        self.intercept_ = scale * np.array([solution.x[X.shape[1] :].sum() for solution in solutions])
        self._end(solutions, peers)
        return self

    def _one(self, A: Array, y: Array, x0: Array | None, peers: Peers) -> Solution:
        """One side against the rest: the objective divided by 2CN."""
        total = peers.sum(np.concatenate([A.T @ y, [np.sum(y > 0), np.sum(y < 0)]]))
        rows = total[-2:].sum()
        unit = total[-2:].min() / rows * norm(total[:-2]) / rows

        def near(moment: Moment) -> bool:
            return moment.mapping <= self.tol * float(unit)

        return self._run(SquaredHingeLoss(A, y, l2=1 / (2 * self.C * rows)), None, near, x0, peers)
