"""Twins with local steps, Scaffnew and LoCoDL. The conventions are those of `methods`, but `at` takes every worker's x.

`at(X) -> (n, d)`: row i is ∇f_i(X_i). Communication happens in iteration k if coin(k) < p. Both return the mean of the
workers' X_i after each iteration.
"""

from __future__ import annotations

import numpy as np

from .methods import Array, Coin, Compress, Gradients


def scaffnew(at: Gradients, X: Array, gamma: float, steps: int, p: float, coin: Coin) -> list[Array]:
    """Mishchenko et al. (2022), algorithm 2; h_i⁰ = 0."""
    h_i, xs = np.zeros_like(X), []
    for k in range(steps):
        X_hat = X - gamma * (at(X) - h_i)
        if coin(k) < p:
            X = np.broadcast_to(X_hat.mean(0), X_hat.shape)
            h_i = h_i + p / gamma * (X - X_hat)
        else:
            X = X_hat
        xs.append(X.mean(0))
    return xs


def locodl(
    at: Gradients,
    C: Compress,
    X: Array,
    gamma: float,
    steps: int,
    p: float,
    rho: float,
    share: float,
    dual: float,
    coin: Coin,
) -> list[Array]:
    """Condat, Maranjyan, Richtárik (2025), algorithm 1, for mean(f_i − (share/2)‖x‖²) + (share/2)‖x‖²; u_i, v = 0."""
    y, u_i, xs = X.mean(0), np.zeros_like(X), []
    v = np.zeros_like(y)
    for k in range(steps):
        X_hat = X - gamma * (at(X) - share * X - u_i)
        y_hat = y - gamma * (share * y - v)
        if coin(k) < p:
            d_i = C(X_hat - y_hat, k)
            half = d_i.mean(0) / 2
            X, y = (1 - rho) * X_hat + rho * (y_hat + half), y_hat + rho * half
            u_i, v = u_i + dual * (half - d_i), v + dual * half
        else:
            X, y = X_hat, y_hat
        xs.append(X.mean(0))
    return xs
