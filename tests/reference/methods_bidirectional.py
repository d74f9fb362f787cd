"""Twins compressed both ways: DORE, MCM, EF21-P + DIANA. The conventions are those of `methods`.

`down(x, k) -> (d,)` is the server's compressor under the keys of step k.
"""

from __future__ import annotations

import numpy as np

from .methods import Array, Compress, Gradients, Prox, none


def dore(
    grads: Gradients,
    C: Compress,
    down: Compress,
    x: Array,
    gamma: float,
    steps: int,
    alpha: float,
    beta: float,
    eta: float,
    prox: Prox = none,
) -> list[Array]:
    """Liu, Li, Tang, Yan (2020), algorithm 1. Returns x̂, which all hold."""
    h_i, e, xs = np.zeros_like(grads(x)), np.zeros_like(x), []
    for k in range(steps):
        delta = C(grads(x) - h_i, k)
        g = (h_i + delta).mean(0)
        h_i = h_i + alpha * delta
        q = prox(x - gamma * g, gamma) - x + eta * e
        sent = down(q, k)
        e, x = q - sent, x + beta * sent
        xs.append(x)
    return xs


def mcm(
    grads: Gradients, C: Compress, down: Compress, x: Array, gamma: float, steps: int, lam: float, back: float
) -> list[Array]:
    """Philippenko and Dieuleveut (2021), MCM: gradients at ŵ = H + C_d(x − H), H⁰ = ŵ⁰ = x⁰. Returns the server's x."""
    h_i, H, w, xs = np.zeros_like(grads(x)), x, x, []
    for k in range(steps):
        delta = C(grads(w) - h_i, k)
        x = x - gamma * (h_i + delta).mean(0)
        h_i = h_i + lam * delta
        sent = down(x - H, k)
        w, H = H + sent, H + back * sent
        xs.append(x)
    return xs


def ef21p_diana(
    grads: Gradients, C: Compress, down: Compress, x: Array, gamma: float, steps: int, lam: float
) -> list[Array]:
    """Gruntkowska, Tyurin, Richtárik (2023), EF21-P + DIANA: gradients at w, w⁰ = x⁰. Returns the server's x."""
    h_i, w, xs = np.zeros_like(grads(x)), x, []
    for k in range(steps):
        delta = C(grads(w) - h_i, k)
        x = x - gamma * (h_i + delta).mean(0)
        h_i = h_i + lam * delta
        w = w + down(x - w, k)
        xs.append(x)
    return xs
