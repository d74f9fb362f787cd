"""What the estimators share: common parameters, the way to `solve` and back, and what a linear model predicts."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from thinwire._check import fault
from thinwire.comm import Group, LocalGroup
from thinwire.convex import FiniteSum, Moment, Nesterov, Oracle, Penalty, Solution, Status, solve
from thinwire.estimators.peers import Peers
from thinwire.link import Link
from thinwire.spec import parse_link

Array = npt.NDArray[Any]
Near = Callable[[Moment], bool]
FLOATS = (np.float64, np.float32)
WHOLE = "dcgd(identity(bits=64))"
"""What one worker alone sends by, if no link was asked for: it has nobody to save bytes for."""
OWN = ("group", "workers", "random_state")
"""Parameters that are compared by what is made of them."""


class Wired(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A linear model whose rows lie on several workers, fitted by `thinwire.solve`.

    The parameters are the estimators' own; those named here all of them have.
    """

    fit_intercept: bool
    tol: float
    max_iter: int
    warm_start: bool
    random_state: Any
    link: Link | str | None
    oracle: Oracle | None
    workers: int
    group: Group | None
    step: float | str
    coef_: Array
    intercept_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self) -> Any:
        """A copy talks to the same workers: a group is no value that could be copied."""
        given = self.get_params(deep=False)
        return type(self)(
            **{name: value if name == "group" else clone(value, safe=False) for name, value in given.items()}
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but a ProcessGroup, which does not outlive its process: what is loaded predicts, and fits locally."""
        state: dict[str, Any] = super().__getstate__()
        return state if isinstance(self.group, LocalGroup) else {**state, "group": None}

    def _where(self) -> str:
        return f"{type(self).__name__}.fit(X, y)"

    def _number(self, name: str, low: float, high: float = np.inf, *, whole: bool = False, above: bool = False) -> None:
        """Check a parameter: a number from low (or above it) to high."""
        value = getattr(self, name)
        kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
        if not fits or (above and value == low):
            start = f"above {low:g}" if above else f"at least {low:g}"
            rule = f"{name} must be {'an integer' if whole else 'a number'}, {start}"
            raise ValueError(fault(type(self).__name__, rule + f" and at most {high:g}" * (high < np.inf), value))

    def _begin(self, X: Array) -> Peers:
        """Check the common parameters, and that all processes came with the same ones and the same columns."""
        name = type(self).__name__
        self._number("tol", 0)
        self._number("max_iter", 1, whole=True)
        self._number("workers", 1, whole=True)
        if not (self.link is None or isinstance(self.link, Link | str)):
            raise ValueError(fault(name, 'link must be a Link, its text ("diana(ternary)") or None', self.link))
        if not (self.oracle is None or isinstance(self.oracle, Oracle)):
            raise ValueError(fault(name, "oracle must be an Oracle, such as LSVRG(), or None", self.oracle))
        given = self.random_state
        seed = 0 if given is None else given if isinstance(given, int) else check_random_state(given).randint(2**31)
        peers = Peers(self.group or LocalGroup(int(self.workers)), int(seed))
        mine = {"columns": X.shape[1], "dtype": X.dtype, "sparse": sp.issparse(X)}
        start = hashlib.sha256(self.coef_.tobytes() + np.asarray(self.intercept_).tobytes()) if self._warm() else None
        shared = {key: value for key, value in self.get_params(deep=False).items() if key not in OWN}
        peers.agree({"estimator": name, **shared, **mine, "seed": seed, "start": start and start.hexdigest()})
        return peers

    def _warm(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "coef_")

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether there is a warm start; it must have the shape that is wanted."""
        if self._warm() and self.coef_.shape != shape:
            rule = f"a warm start needs a coef_ of shape {shape}, for the same columns and classes"
            raise ValueError(
                fault(self._where(), rule, self.coef_.shape, "Set warm_start=False, or clone the estimator.")
            )
        return self._warm()

    def _run(
        self,
        problem: FiniteSum,
        penalty: Penalty | None,
        near: Near,
        x0: Array | None,
        peers: Peers,
        outputs: int = 1,
    ) -> Solution:
        """`solve` until `near`, whose measure does not depend on where a warm start began, as the solver's own does.

        Full gradients that arrive as they are go into Nesterov's rule, all others into the gradient's.
        """
        link = parse_link(self.link) if isinstance(self.link, str) else self.link
        if link is None and peers.group.size == 1:
            link = parse_link(WHOLE)
        lossless = link is not None and _lossless(link.bind(peers.group.size), problem.data.shape[1] * outputs)
        whole = self.oracle is None or self.oracle.family == "full"
        solution = solve(
            problem,
            penalty=penalty,
            link=link,
            rule=Nesterov() if lossless and whole else None,
            oracle=self.oracle,
            step=self.step,
            group=peers.group,
            x0=x0,
            tol=float(np.finfo(np.float64).tiny),  # met by an exact optimum only: `near` decides
            max_rounds=int(self.max_iter),
            seed=peers.seed,
            callback=lambda moment, x: near(moment),
        )
        return replace(solution, status=Status.CONVERGED) if solution.status is Status.STOPPED else solution

    def _end(self, solutions: list[Solution], peers: Peers) -> None:
        """The attributes that say how it went: lists of them where there is a solution for each class."""
        one = len(solutions) == 1
        self.solution_ = solutions[0] if one else solutions
        self.certificate_ = solutions[0].certificate if one else [solution.certificate for solution in solutions]
        self.status_ = solutions[0].status if one else [solution.status for solution in solutions]
        self.n_iter_ = max(solution.rounds for solution in solutions)
        self.bytes_sent_ = sum(solution.bytes_sent for solution in solutions)
        failed = next((solution for solution in solutions if not solution.converged), None)
        if failed is not None and peers.group.ranks.start == 0:  # one rank speaks for all
            found, advice = failed.certificate, failed.status.value.replace("max_rounds", "max_iter")
            rule = f"did not converge to tol={self.tol:g} in {failed.rounds} rounds: {advice}"
            left = f"The gradient mapping is {found.mapping:.3g}" + (
                "." if found.gap is None else f", the gap at most {found.gap:.3g}."
            )
            warnings.warn(fault(self._where(), rule, None, left), ConvergenceWarning, stacklevel=3)

    def _scores(self, X: Any) -> Array:
        """X coefᵀ + intercept."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)
        made: Array = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
        return made


class Classifying(Wired):
    """What classifiers share: (1, p) coefficients for two classes, (K, p) for K."""

    classes_: Array

    def decision_function(self, X: Any) -> Array:
        """X Wᵀ + b, of `coef_` and `intercept_`: (N,) for two classes, positive for the second; (N, K) for K."""
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """The class of the largest score, (N,)."""
        scores = self.decision_function(X)
        found = (scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(axis=1)
        made: Array = self.classes_[found]
        return made


def _lossless(link: Link, d: int) -> bool:
    return not (link.compressor.bias(d) or link.compressor.variance(d)) and link.zeta is None


def centred(X: Array, wanted: bool, peers: Peers) -> tuple[Array, Array, int]:
    """X − x̄, the exact mean x̄ of all workers' rows, (p,), and their number N; x̄ = 0 if X is sparse, or unless wanted.

    With an intercept that is not penalised it is the same problem, of a better condition: b is b − x̄ᵀw of X itself.
    """
    moved = wanted and not sp.issparse(X)
    sums = X.sum(axis=0, dtype=np.float64) if moved else np.zeros(X.shape[1])
    total = peers.sum(np.append(sums, X.shape[0]))
    mean = total[:-1] / total[-1]
    return (X - mean).astype(X.dtype) if moved else X, mean, int(total[-1])


def dots(rows: Array, x: Array) -> Array:
    """⟨row, x⟩ of each row. Here and in `norm` NumPy adds up: the bits of a BLAS product would be the machine's."""
    made: Array = (rows * x).sum(axis=-1)
    return made


def norm(x: Array) -> float:
    """‖x‖."""
    return float(np.sqrt(np.square(x).sum()))
