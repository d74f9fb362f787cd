"""Twins of which only some workers take part: EF21-PP, PP-MARINA, DASHA-PP. The conventions are those of `methods`.

`present(k) -> (n,)` says who takes part in the round at x^k; `clients(k) -> (r,)` who is drawn, with replacement.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .methods import Array, Coin, Compress, Gradients

Present = Callable[[int], npt.NDArray[np.bool_]]
Clients = Callable[[int], npt.NDArray[np.int64]]


def ef21_pp(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, present: Present) -> list[Array]:
    """Fatkhullin et al. (2021), EF21-PP, with g_i⁰ = C(∇f_i(x⁰)) from all: who is absent keeps g_i."""
    g_i, xs = C(grads(x), 0), []
    for k in range(1, steps + 1):
        x = x - gamma * g_i.mean(0)
        xs.append(x)
        g_i = g_i + np.where(present(k)[:, None], C(grads(x) - g_i, k), 0.0)
    return xs


def pp_marina(
    grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, p: float, clients: Clients, coin: Coin
) -> list[Array]:
    """Gorbunov et al. (2021), algorithm 4: g⁰ = ∇f(x⁰). A client that is drawn twice counts twice, with one message."""
    old, xs = grads(x), []
    g = old.mean(0)
    for k in range(1, steps + 1):
        x = x - gamma * g
        xs.append(x)
        new = grads(x)
        g = new.mean(0) if coin(k) < p else g + C(new - old, k)[clients(k)].mean(0)
        old = new
    return xs


def dasha_pp(
    grads: Gradients,
    C: Compress,
    x: Array,
    gamma: float,
    steps: int,
    a: float,
    b: float,
    participation: float,
    present: Present,
    g_i: Array | None = None,
) -> list[Array]:
    """Tyurin and Richtárik (2023), DASHA-PP, gradient setting: h_i⁰ = ∇f_i(x⁰), and so is g_i⁰ unless it is given."""
    old, xs = grads(x), []
    h_i, g_i = old, old if g_i is None else g_i
    for k in range(1, steps + 1):
        x = x - gamma * g_i.mean(0)
        xs.append(x)
        new, here = grads(x), present(k)[:, None]
        k_i = new - old - b * (h_i - old)
        m_i = C(k_i / participation - a / participation * (g_i - h_i), k)
        h_i, g_i, old = np.where(here, h_i + k_i / participation, h_i), np.where(here, g_i + m_i, g_i), new
    return xs
