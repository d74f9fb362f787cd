"""What a probe says of gradients, in float64 straight from the formulas: a link's errors, and noise among workers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def averages(g: Array, beta: float) -> Array:
    """(T, n, d) -> the running averages m / (1 − β^t), m ← β m + (1 − β) g."""
    m, out = np.zeros_like(g[0]), []
    for t, now in enumerate(g, 1):
        m = beta * m + (1 - beta) * now
        out.append(m / (1 - beta**t))
    return np.array(out)


def error_and_drift(g: Array, v: Array, estimate: Array) -> tuple[float, float]:
    """g and v, what is to be sent, (T, n, d); the estimates of the mean of v, (T, d)."""
    wrong = estimate - v.mean(1)
    error = (wrong**2).sum() / (v.mean(1) ** 2).sum()
    drift = (wrong.sum(0) ** 2).sum() / (g.mean(1) ** 2).sum()
    return float(error), float(drift)


def feedback(v: Array, C: Callable[[Array, int], Array]) -> Array:
    """Error feedback of (T, n, d) by C(x, t): the estimates, (T, d)."""
    e, out = np.zeros_like(v[0]), []
    for t, now in enumerate(v):
        m = C(e + now, t)
        e = e + now - m
        out.append(m.mean(0))
    return np.array(out)


def scatter(g: Array) -> tuple[float, float, float]:
    """(T, n, d) -> ‖G‖², tr Σ and mean_i ‖G_i − G‖², by sums over pairs of steps: products of different steps' noise
    have mean zero."""
    steps, n, _ = g.shape
    mean, own = g.mean(1), g - g.mean(1, keepdims=True)
    pairs = [(s, t) for s in range(steps) for t in range(steps) if s != t]
    apart = float(np.mean([(own[s] * own[t]).sum() / n for s, t in pairs]))
    noise = float(((own**2).sum() / (n * steps) - apart) * n / (n - 1))
    return float((mean**2).sum() / steps - noise / n), noise, apart
