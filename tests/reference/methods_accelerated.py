"""Twins with momentum: heavy ball, Nesterov, FISTA, ADIANA. The conventions are those of `methods`."""

from __future__ import annotations

import math

import numpy as np

from .methods import Array, Coin, Compress, Gradients, Prox, none


def heavy_ball(grads: Gradients, x: Array, gamma: float, steps: int, beta: float, prox: Prox = none) -> list[Array]:
    """Polyak (1964): x⁺ = x − γ∇f(x) + β(x − x_prev)."""
    old, xs = x, []
    for _ in range(steps):
        old, x = x, prox(x - gamma * grads(x).mean(0) + beta * (x - old), gamma)
        xs.append(x)
    return xs


def nesterov(grads: Gradients, x: Array, gamma: float, steps: int, beta: float, prox: Prox = none) -> list[Array]:
    """Nesterov (2018), scheme 2.2.22: y = x + β(x − x_prev), x⁺ = prox(y − γ∇f(y))."""
    old, xs = x, []
    for _ in range(steps):
        y = x + beta * (x - old)
        old, x = x, prox(y - gamma * grads(y).mean(0), gamma)
        xs.append(x)
    return xs


def fista(grads: Gradients, x: Array, gamma: float, steps: int, prox: Prox = none) -> list[Array]:
    """Beck and Teboulle (2009), constant step: y¹ = x⁰, t₁ = 1."""
    y, t, xs = x, 1.0, []
    for _ in range(steps):
        old, x = x, prox(y - gamma * grads(y).mean(0), gamma)
        t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y, t = x + (t - 1) / t_next * (x - old), t_next
        xs.append(x)
    return xs


def adiana(
    grads: Gradients,
    C: Compress,
    C_w: Compress,
    x: Array,
    eta: float,
    steps: int,
    *,
    lam: float,
    p: float,
    theta1: float,
    theta2: float,
    gamma: float,
    beta: float,
    fresh: bool,
    coin: Coin,
    prox: Prox = none,
) -> list[Array]:
    """Li, Kovalev, Qian, Richtárik (2020), algorithm 2; `fresh`: w⁺ = y⁺, as in He, Huang, Yuan (2023). Returns y."""
    y = z = w = x
    h_i, ys = np.zeros_like(grads(x)), []
    for k in range(steps):
        x = theta1 * z + theta2 * w + (1 - theta1 - theta2) * y
        g = (h_i + C(grads(x) - h_i, k)).mean(0)
        h_i = h_i + lam * C_w(grads(w) - h_i, k)
        old, y = y, prox(x - eta * g, eta)
        z = beta * z + (1 - beta) * x + gamma / eta * (y - x)
        if coin(k) < p:
            w = y if fresh else old
        ys.append(y)
    return ys
