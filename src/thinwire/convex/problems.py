"""Finite sums of linear models: what a user states, before it is known how many workers share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from thinwire._check import fault
from thinwire.convex.losses import Huber, Logistic, Loss, Softmax, Squared, SquaredHinge
from thinwire.convex.shards import Array

Data = Any
"""A dense array, a SciPy sparse matrix or a torch tensor, (N, p)."""


@dataclass(frozen=True, eq=False, repr=False)
class FiniteSum:
    """f(x) = (1/N) Σ_j φ(a_jᵀx, y_j) + (l2/2) ‖x‖² + nonconvex · Σ x²/(1 + x²), over N rows, wherever they lie.

    With `intercept`, x has one more coordinate, which stands for a column of ones and is neither squared nor penalised.
    With K outputs, x is (p, K), flattened. Split over n workers, worker i has f_i = (n/N) Σ_{j of i} φ + the rest: so f
    is their mean also where shards differ in length.

    Args:
        name: how it is shown.
        loss: φ.
        A: (N, p). float32 stays float32; everything else becomes float64.
        b: (N,) targets.
        l2: weight of the squares, at least 0.
        intercept: whether there is one.
        nonconvex: weight of the nonconvex regulariser.

    Raises:
        ValueError: not two-dimensional, lengths differ, no rows, NaN or Inf, a negative weight.

    >>> import numpy as np, thinwire as tw
    >>> tw.FiniteSum("SquaredLoss", tw.SquaredLoss(np.eye(2), [1, 2]).loss, np.eye(2), [1, 2]).data.shape
    (2, 2)
    """

    name: str
    loss: Loss
    A: Data
    b: Data
    l2: float = 0.0
    intercept: bool = False
    nonconvex: float = 0.0
    data: Array | sp.csr_matrix = field(init=False)
    targets: npt.NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        data, targets = _matrix(self.name, self.A), np.asarray(_numpy(self.b))
        if targets.shape != data.shape[:1]:
            raise ValueError(fault(f"{self.name}(A, b)", f"b must have shape ({data.shape[0]},), as A", targets.shape))
        if not self.loss.classes:
            targets = targets.astype(data.dtype)
        if targets.dtype.kind in "fiub" and not np.isfinite(targets).all():
            row = int(np.argmax(~np.isfinite(targets)))
            raise ValueError(fault(f"{self.name}(A, b)", "b must be finite", f"{targets[row]} in row {row}"))
        for name in ("l2", "nonconvex"):
            if not 0 <= getattr(self, name) < np.inf:
                rule = f"{name} must be at least 0, and finite"
                raise ValueError(fault(f"{self.name}(…)", rule, getattr(self, name)))
        if self.intercept:
            ones = np.ones((data.shape[0], 1), data.dtype)
            data = sp.hstack([data, ones], format="csr") if sp.issparse(data) else np.hstack([data, ones])
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "targets", targets)

    @property
    def facts(self) -> dict[str, object]:
        """What must be the same for all processes, whose rows differ."""
        loss = {"loss": self.name, **vars(self.loss)}
        return {
            **loss,
            "l2": self.l2,
            "intercept": self.intercept,
            "nonconvex": self.nonconvex,
            "dtype": self.data.dtype,
        }

    def __repr__(self) -> str:
        rows, features = self.data.shape[0], self.data.shape[1] - self.intercept
        kind = "sparse" if sp.issparse(self.data) else "dense"
        extra = f", l2={self.l2:.3g}" * bool(self.l2) + f", nonconvex={self.nonconvex:.3g}" * bool(self.nonconvex)
        return f"{self.name}({rows:,} × {features:,} {kind}{extra}{', intercept=True' * self.intercept})"


def _numpy(given: Data) -> Any:
    return given.detach().cpu().numpy() if hasattr(given, "detach") else given


def _matrix(name: str, given: Data) -> Array | sp.csr_matrix:
    where = f"{name}(A, b)"
    data: Any
    if sp.issparse(given):
        data = sp.csr_matrix(given)
        if not data.has_canonical_format:
            data = data.copy()  # what was given stays as it is
            data.sum_duplicates()
    else:
        data = np.asarray(_numpy(given))
    if data.ndim != 2 or not data.shape[0] or not data.shape[1]:
        raise ValueError(fault(where, "A must be (N, p) with at least one row and one column", data.shape))
    if data.dtype.kind not in "fiub":
        raise ValueError(fault(where, "A must hold real numbers", str(data.dtype)))
    data = data.astype(np.float32 if data.dtype == np.float32 else np.float64, copy=False)
    values = data.data if sp.issparse(data) else data
    if not np.isfinite(values).all():
        first = tuple(np.argwhere(~np.isfinite(values))[0])
        row, column = first if values.ndim == 2 else _place(data, first[0])
        raise ValueError(fault(where, "A must be finite", f"{values[first]} in row {row}, column {column}"))
    return data


def _place(data: sp.csr_matrix, entry: int) -> tuple[int, int]:
    """Row and column of a stored entry."""
    return int(np.searchsorted(data.indptr, entry, "right")) - 1, int(data.indices[entry])


def LogisticLoss(A: Data, b: Data, *, l2: float = 0.0, intercept: bool = False) -> FiniteSum:
    """φ = log(1 + e^(−yz)): two classes, whatever they are called; the greater one is y = +1.

    >>> import numpy as np, thinwire as tw
    >>> tw.LogisticLoss(np.eye(3), [0, 1, 1], l2=0.1)
    LogisticLoss(3 × 3 dense, l2=0.1)
    """
    return FiniteSum("LogisticLoss", Logistic(), A, b, l2, intercept)


def SquaredLoss(A: Data, b: Data, *, l2: float = 0.0, intercept: bool = False) -> FiniteSum:
    """φ = (z − y)²/2, y real.

    >>> import numpy as np, thinwire as tw
    >>> tw.SquaredLoss(np.eye(3), [0.5, 1, 2], intercept=True)
    SquaredLoss(3 × 3 dense, intercept=True)
    """
    return FiniteSum("SquaredLoss", Squared(), A, b, l2, intercept)


def SoftmaxLoss(A: Data, b: Data, *, l2: float = 0.0, intercept: bool = False) -> FiniteSum:
    """φ = log Σ_k e^(z_k) − z_y: K classes, and K outputs, so that x is (p, K), flattened.

    >>> import numpy as np, thinwire as tw
    >>> tw.SoftmaxLoss(np.eye(3), ["a", "b", "c"])
    SoftmaxLoss(3 × 3 dense)
    """
    return FiniteSum("SoftmaxLoss", Softmax(), A, b, l2, intercept)


def HuberLoss(A: Data, b: Data, *, delta: float = 1.0, l2: float = 0.0, intercept: bool = False) -> FiniteSum:
    """φ = e²/2 where |e| ≤ δ, otherwise δ|e| − δ²/2, with e = z − y. Source: Huber (1964).

    >>> import numpy as np, thinwire as tw
    >>> tw.HuberLoss(np.eye(3), [0.5, 1, 200], delta=0.5)
    HuberLoss(3 × 3 dense)
    """
    return FiniteSum("HuberLoss", Huber(delta), A, b, l2, intercept)


def SquaredHingeLoss(A: Data, b: Data, *, l2: float = 0.0, intercept: bool = False) -> FiniteSum:
    """φ = max{0, 1 − yz}²/2: two classes; a smooth support vector machine.

    >>> import numpy as np, thinwire as tw
    >>> tw.SquaredHingeLoss(np.eye(3), [-1, 1, 1])
    SquaredHingeLoss(3 × 3 dense)
    """
    return FiniteSum("SquaredHingeLoss", SquaredHinge(), A, b, l2, intercept)


def NonconvexLogistic(A: Data, b: Data, *, lam: float = 0.1, intercept: bool = False) -> FiniteSum:
    """φ = log(1 + e^(−yz)), with lam · Σ x²/(1 + x²): the nonconvex test problem of EF21, MARINA and DASHA.

    >>> import numpy as np, thinwire as tw
    >>> tw.NonconvexLogistic(np.eye(3), [0, 1, 1])
    NonconvexLogistic(3 × 3 dense, nonconvex=0.1)
    """
    return FiniteSum("NonconvexLogistic", Logistic(), A, b, 0.0, intercept, lam)
