"""Logistic regression, of two classes or more."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from thinwire._check import fault, one_of
from thinwire.comm import Group
from thinwire.convex import L1, LogisticLoss, Oracle, Penalty, SoftmaxLoss
from thinwire.estimators.base import FLOATS, Array, Classifying, centred, dots
from thinwire.link import Link


class LogisticRegression(ClassifierMixin, Classifying):  # type: ignore[misc]  # scikit-learn has no types
    """min R(w) + C Σ_j φ_j, φ = log(1 + e^(−yz)) or log Σ_k e^(z_k) − z_y, as scikit-learn's LogisticRegression.

    R is ‖w‖²/2 ("l2"), ‖w‖₁ ("l1"), l1_ratio ‖w‖₁ + (1 − l1_ratio) ‖w‖²/2 ("elasticnet") or 0 (None); the intercept is
    free. More than two classes are multinomial. It stops where ‖G‖ ≤ tol, G the gradient (with ‖w‖₁, the gradient
    mapping) of the objective divided by C N; scikit-learn's lbfgs compares the largest coordinate of the same
    gradient. Dense columns are centred meanwhile, which changes the intercept's coordinate only. Where nothing is
    penalised, the classes' coefficients have mean 0, and their intercepts always have. Source: Cox (1958).

    Args:
        penalty: "l2", "l1", "elasticnet" or None.
        C: weight of the data, positive.
        l1_ratio: the share of ‖w‖₁ in "elasticnet", 0 to 1.
        fit_intercept, tol, max_iter, warm_start, random_state: as there; an iteration is a round of communication.
        link, oracle, workers, group, step: as `thinwire.solve` takes them; a link may be its text.

    >>> import numpy as np, thinwire as tw
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> y = np.where(X[:, 0] > 0, "yes", "no")
    >>> model = tw.LogisticRegression(link="diana(ternary)", workers=4).fit(X, y)
    >>> model.predict([[1.0, 0, 0], [-1, 0, 0]]).tolist(), model.status_.name
    (['yes', 'no'], 'CONVERGED')
    """

    def __init__(
        self,
        penalty: str | None = "l2",
        *,
        C: float = 1.0,
        l1_ratio: float | None = None,
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
        self.penalty = penalty
        self.C = C
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

    def _share(self) -> float:
        """Of ‖w‖₁ in the penalty."""
        one_of("LogisticRegression", "penalty", self.penalty, ("l2", "l1", "elasticnet", None))
        self._number("C", 0, above=True)
        if self.penalty != "elasticnet":
            if self.l1_ratio is not None:
                way_out = 'Set penalty="elasticnet".'
                raise ValueError(fault("LogisticRegression", "l1_ratio is for elasticnet", self.l1_ratio, way_out))
            return float(self.penalty == "l1")
        self._number("l1_ratio", 0, 1)
        assert self.l1_ratio is not None  # a number
        return self.l1_ratio

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the rows of X, (N, p), and their labels y, (N,): under a ProcessGroup, to all ranks' rows and classes.

        Raises:
            ValueError: bad parameters or data, one class only: always before the first round.
            PeerError: the ranks' parameters or columns differ, or one is gone.
        """
        share = self._share()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS)
        check_classification_targets(y)
        peers = self._begin(X)
        self.classes_ = peers.classes(self._where(), y)
        A, mean, rows = centred(X, self.fit_intercept, peers)
        width, K = X.shape[1], len(self.classes_) if len(self.classes_) > 2 else 1
        weight = 0.0 if self.penalty is None else 1 / (self.C * rows)
        penalty: Penalty | None = L1(weight * share) if share else None
        make = SoftmaxLoss if K > 1 else LogisticLoss
        codes = np.searchsorted(self.classes_, y)
        problem = make(A, codes, l2=weight * (1 - share), intercept=bool(self.fit_intercept))
        x0 = self._start(mean) if self._fits((K, width)) else None
        solution = self._run(problem, penalty, lambda moment: moment.mapping <= self.tol, x0, peers, K)
        x = solution.x.reshape(-1, K)
        self.coef_ = x[:width].T.copy()
        if K > 1 and self.penalty is None:  # nothing else keeps all classes from moving alike
            self.coef_ -= self.coef_.mean(axis=0)
        level = x[width] - dots(self.coef_, mean) if self.fit_intercept else np.zeros(K)
        self.intercept_ = (level - level.mean() * (K > 1)).astype(x.dtype)
        self._end([solution], peers)
        return self

    def _start(self, mean: Array) -> Array:
        levels = [self.intercept_ + dots(self.coef_, mean)] if self.fit_intercept else []
        made: Array = np.concatenate([self.coef_.T, *(level[None] for level in levels)])
        return made.reshape(-1)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (N, K)."""
        z = self.decision_function(X)
        made: Array = np.stack([expit(-z), expit(z)], axis=1) if z.ndim == 1 else softmax(z, axis=1)
        return made

    def predict_log_proba(self, X: Any) -> Array:
        """Its logarithm, (N, K)."""
        z = self.decision_function(X)
        made: Array = np.stack([log_expit(-z), log_expit(z)], axis=1) if z.ndim == 1 else log_softmax(z, axis=1)
        return made
