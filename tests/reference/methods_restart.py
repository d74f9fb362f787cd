"""The twin of FISTA with restarts. The conventions are those of `methods`."""

from __future__ import annotations

import math

from .methods import Array, Gradients, Prox, none


def restarted(grads: Gradients, x: Array, gamma: float, steps: int, prox: Prox = none) -> tuple[list[Array], list[int]]:
    """O'Donoghue and Candès (2015), gradient scheme: t = 1 anew where ⟨y − x⁺, x⁺ − x⟩ > 0. And where it was."""
    y, t, xs, restarts = x, 1.0, [], []
    for k in range(steps):
        old, x = x, prox(y - gamma * grads(y).mean(0), gamma)
        xs.append(x)
        if (y - x) @ (x - old) > 0:
            y, t = x, 1.0
            restarts.append(k + 1)
        else:
            t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
            y, t = x + (t - 1) / t_next * (x - old), t_next
    return xs, restarts
