"""Twins with integers on the wire, IntSGD and IntDIANA. The conventions are those of `methods`.

`uniform(k) -> (n, d)`, in [0, 1), rounds at random: Int(t) = ⌊t + u⌋. The first round travels whole, having no scale.
"""

from __future__ import annotations

import math

import numpy as np

from .methods import Array, Coin, Gradients


def intsgd(
    grads: Gradients, x: Array, gamma: float, steps: int, beta: float, eps: float, uniform: Coin, shifts: bool = False
) -> tuple[list[Array], list[float]]:
    """Mishchenko et al. (2022), algorithm 1, and the largest integer of each round; `shifts`: IntDIANA, λ = 1.

    α = √d / √(2n r/γ² + ε²), r ← βr + (1 − β)‖x^k − x^{k−1}‖².
    """
    h_i, r, xs, integers = np.zeros_like(grads(x)), 0.0, [], []
    n, d = h_i.shape
    for k in range(steps):
        g_i = grads(x)
        if k == 0:
            estimate = g_i
        else:
            alpha = math.sqrt(d) / math.sqrt(2 * n * r / gamma**2 + eps**2)
            sent = np.floor(alpha * (g_i - h_i) + uniform(k))
            integers.append(float(np.abs(sent).max()))
            estimate = h_i + sent / alpha
        if shifts:
            h_i = estimate
        old, x = x, x - gamma * estimate.mean(0)
        r = beta * r + (1 - beta) * float(((x - old) ** 2).sum())
        xs.append(x)
    return xs, integers
