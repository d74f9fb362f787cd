"""Small problems whose best method is known beforehand."""

from __future__ import annotations

import numpy as np

import thinwire as tw


def least_squares(
    d: int, kappa: float, workers: int, *, rows: int = 4, scale: float = 1.0, seed: int = 0
) -> tw.FiniteSum:
    """f = scale · (½ xᵀ H x − bᵀx), spectrum of H even in logarithms from 1/κ to 1; a ridge of half of 1/κ.

    All workers have the same H, and right-hand sides of their own.
    """
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(d, d)))
    mu = 1 / kappa
    values = np.geomspace(mu, 1, d) - mu / 2
    one = (turned * np.sqrt(values)).T
    one = np.concatenate([one] * max(1, -(-rows // d)))
    A = np.concatenate([one] * workers) * np.sqrt(len(one) / (len(one) / d) * scale)
    b = rng.normal(size=len(A)) * np.sqrt(scale)
    return tw.SquaredLoss(A, b, l2=mu / 2 * scale)


def logistic(d: int, workers: int, *, l2: float, seed: int = 0) -> tw.FiniteSum:
    """Two clouds of normal points."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(8 * workers, d)) / np.sqrt(d)
    return tw.LogisticLoss(A, (A @ rng.normal(size=d) + rng.normal(size=len(A)) > 0).astype(int), l2=l2)
