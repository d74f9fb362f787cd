"""Least squares of known spectra: what is best for them is known beforehand."""

from __future__ import annotations

import numpy as np

import thinwire as tw


def quadratic(values: np.ndarray, workers: int, *, ridge: float, scale: float = 1.0, seed: int = 0) -> tw.FiniteSum:
    """f = scale · (½ xᵀ H x − bᵀ x), H = Q diag(values) Qᵀ of all workers, which differ in b; `ridge` of it is l2."""
    rng = np.random.default_rng(seed)
    d = len(values)
    turned, _ = np.linalg.qr(rng.normal(size=(d, d)))
    one = np.sqrt(d * scale * (values - ridge))[:, None] * turned.T  # of d rows, whose mean makes f_i
    b = np.sqrt(scale) * rng.normal(size=d * workers)
    return tw.SquaredLoss(np.concatenate([one] * workers), b, l2=scale * ridge)


def spectrum(d: int, kappa: float) -> np.ndarray:
    """From 1/κ to 1, even in logarithms."""
    return np.geomspace(1 / kappa, 1.0, d)
