"""The ends of spectra, on the safe side: smoothness from above, strong convexity from below.

Lanczos with full reorthogonalisation (Golub and Van Loan, "Matrix computations", chapter 10; two Gram–Schmidt passes
are enough). The Ritz value θ of H, with the residual ρ of its vector, has an eigenvalue of H within ρ; Krylov spaces
find the largest first, so θ + ρ is above it unless the start is orthogonal to its vector, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal

from thinwire._check import fault

Array = npt.NDArray[np.float64]
Apply = Callable[[Array], npt.NDArray[np.floating[Any]]]

ITERATIONS = 500
"""Lanczos vectors that are kept at most, for each row: a limit of memory."""
DENSE = 1000
"""Up to here the smallest eigenvalue is that of the dense matrix: 8 MB, a second."""
BLOCK = 64
CAUTION = 1e-3
"""How much smaller than asked the residual must be: see step 4 of `largest`."""


def largest(apply: Apply, rows: int, d: int, *, rtol: float = 1e-10) -> Array:
    """An upper bound of the largest eigenvalue of each of `rows` symmetric operators H_r ⪰ 0 on R^d, all at once.

    1. q_1 is one fixed pseudo-random vector, the same for all rows and at every call.
    2. q_{k+1} = H q_k made orthogonal to all before; T = Qᵀ H Q is tridiagonal, θ its largest eigenvalue, s its vector.
    3. A row is done when ρ = β_k |s_k| ≤ rtol θ / 1000, when k = d (then T is H), or after 500 vectors.
    4. Its bound is θ + max(ρ, rtol θ). ρ alone can be small at a lesser eigenvalue than the largest, when the two are
       rtol θ apart or a little more: q_1 must see the larger one 1000 times less for that, not just as well.

    A row's bits depend on its own operator only, if those of `apply` do.

    Args:
        apply: (rows, d) -> (rows, d), H_r of the r-th row; rows that are done come as zeros. float64.
        rows, d: how many operators, and their size.
        rtol: how far above the truth, relatively, the bound may be where Lanczos converges.

    Raises:
        ValueError: `apply` gives NaN or Inf.

    >>> top = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    >>> largest(lambda V: top * V, rows=2, d=3).round(6)
    array([3., 5.])
    """
    limit = min(d, ITERATIONS)
    bound = np.zeros(rows)
    active = np.arange(rows)
    q = np.broadcast_to(_start(d), (rows, d))
    basis = np.zeros((rows, min(limit, 16), d))
    alpha, beta = np.zeros((2, rows, limit))
    for k in range(1, limit + 1):
        if k > basis.shape[1]:
            basis = np.concatenate([basis, np.zeros((len(active), min(k - 1, limit - k + 1), d))], axis=1)
        basis[:, k - 1] = q
        w = _applied(apply, q, active, rows)
        for again in (False, True):
            seen = _dots(basis[:, :k], w)
            w -= (seen[:, None, :] @ basis[:, :k])[:, 0]
            alpha[:, k - 1] += seen[:, -1] if not again else 0
        beta[:, k - 1] = np.sqrt(_dots(w[:, None, :], w)[:, 0]) if k < d else 0
        # T is solved now and then; and at once where w is nothing but rounding: all that q_1 can reach is known then.
        stop = rtol * CAUTION
        due = beta[:, k - 1] <= stop * alpha[:, :k].max(axis=1)
        due |= k <= 4 or k % 4 == 0 or k == limit
        theta, residual = _ritz(alpha[due, :k], beta[due, :k])
        bound[active[due]] = theta + np.maximum(residual, rtol * theta)
        going = np.ones(len(active), dtype=bool)
        going[due] = residual > stop * theta
        if k == limit or not going.any():
            break
        active, basis, alpha, beta, w = active[going], basis[going], alpha[going], beta[going], w[going]
        q = w / beta[:, k - 1 : k]
    return bound


def smallest(apply: Apply, d: int, top: float) -> float:
    """A lower bound, at least 0, of the smallest eigenvalue of one symmetric operator H ⪰ 0 on R^d.

    Up to d = 1000 the dense matrix's, less the d roundings of `top` that it may be off by; beyond, top minus the upper
    bound of the largest of top I − H, which is off by 1e-10 top or, where Lanczos did not converge, by its residual.

    Args:
        apply: (m, d) -> (m, d), H of each row. float64.
        d: the size of H.
        top: at least the largest eigenvalue, from `largest`.

    Raises:
        ValueError: `apply` gives NaN or Inf.

    >>> round(smallest(lambda V: V * np.array([1.0, 2.0, 3.0]), d=3, top=3.0), 6)
    1.0
    """
    if d > DENSE:
        return max(top - float(largest(lambda V: top * V - apply(V), 1, d)[0]), 0.0)
    H = np.empty((d, d))
    for start in range(0, d, BLOCK):
        units = np.eye(min(BLOCK, d - start), d, start)
        H[start : start + BLOCK] = _finite(apply(units))
    least = float(np.linalg.eigvalsh((H + H.T) / 2)[0])
    return max(least - d * float(np.finfo(float).eps) * top, 0.0)


def _start(d: int) -> Array:
    """A fixed unit vector without a pattern: raw bits of Philox, which no release of NumPy changes, in (0, 1)."""
    v = (np.random.Philox(key=0).random_raw(d) + 1.0) * 2.0**-64
    return np.asarray(v / np.sqrt(v @ v))


def _applied(apply: Apply, q: Array, active: npt.NDArray[np.intp], rows: int) -> Array:
    full = np.zeros((rows, q.shape[1]))
    full[active] = q
    return _finite(apply(full))[active]


def _finite(made: npt.NDArray[np.floating[Any]]) -> Array:
    if not np.isfinite(made).all():
        raise ValueError(fault("spectrum", "the operator must give finite numbers", None, "Are the data finite?"))
    return np.asarray(made, dtype=np.float64)


def _ritz(alpha: Array, beta: Array) -> tuple[Array, Array]:
    """θ ≥ 0 and its residual β_k |s_k| of each tridiagonal matrix, α and β (m, k)."""
    m, k = alpha.shape
    theta, last = np.empty((2, m))
    for row in range(m):
        values, s = eigh_tridiagonal(alpha[row], beta[row, :-1], select="i", select_range=(k - 1, k - 1))
        theta[row], last[row] = values[0], s[-1, 0]
    return np.maximum(theta, 0), beta[:, -1] * np.abs(last)


def _dots(known: Array, w: Array) -> Array:
    """⟨q_j, w⟩ of each row: one product of BLAS for each, so that its bits do not depend on the others."""
    return np.asarray((known @ w[:, :, None])[:, :, 0])
