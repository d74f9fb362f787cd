"""Twins on finite sums: SGD-DIANA, VR-DIANA, VR-MARINA, DASHA-PAGE. The conventions are those of `methods`.

`each(x) -> (n, m, d)` has the gradients of all f_ij at x; `picks(k) -> (n, b)` the samples that worker i draws at x^k.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .methods import Array, Coin, Compress, Prox, none

Each = Callable[[Array], Array]
Picks = Callable[[int], npt.NDArray[np.int64]]


def drawn(table: Array, picks: npt.NDArray[np.int64]) -> Array:
    """The mean of the picked rows of (n, m, d), for each worker: (n, d)."""
    return np.take_along_axis(table, picks[:, :, None], axis=1).mean(1)


def sgd_diana(
    each: Each, C: Compress, x: Array, gamma: float, steps: int, alpha: float, picks: Picks, prox: Prox = none
) -> list[Array]:
    """Mishchenko et al. (2019), algorithm 1 with minibatches, without momentum."""
    h_i, xs = np.zeros_like(each(x).mean(1)), []
    for k in range(steps):
        delta = C(drawn(each(x), picks(k)) - h_i, k)
        x = prox(x - gamma * (h_i + delta).mean(0), gamma)
        h_i = h_i + alpha * delta
        xs.append(x)
    return xs


def vr_diana_lsvrg(
    each: Each,
    C: Compress,
    x: Array,
    gamma: float,
    steps: int,
    alpha: float,
    p: float,
    picks: Picks,
    coin: Coin,
    prox: Prox = none,
) -> list[Array]:
    """Horváth et al. (2019), algorithm 2, L-SVRG: w is renewed with the x before the step, by one coin for all."""
    w, h_i, xs = x, np.zeros_like(each(x).mean(1)), []
    for k in range(steps):
        g_i = drawn(each(x) - each(w), picks(k)) + each(w).mean(1)
        delta = C(g_i - h_i, k)
        if coin(k) < p:
            w = x
        x = prox(x - gamma * (h_i + delta).mean(0), gamma)
        h_i = h_i + alpha * delta
        xs.append(x)
    return xs


def vr_diana_saga(
    each: Each, C: Compress, x: Array, gamma: float, steps: int, alpha: float, picks: Picks, prox: Prox = none
) -> list[Array]:
    """Horváth et al. (2019), algorithm 2, SAGA: the table holds ∇f_ij(w_ij), at first ∇f_ij(x⁰)."""
    table, h_i, xs = each(x), np.zeros_like(each(x).mean(1)), []
    for k in range(steps):
        new = each(x)
        g_i = drawn(new - table, picks(k)) + table.mean(1)
        delta = C(g_i - h_i, k)
        rows = picks(k)[:, :, None]
        np.put_along_axis(table, rows, np.take_along_axis(new, rows, axis=1), axis=1)
        x = prox(x - gamma * (h_i + delta).mean(0), gamma)
        h_i = h_i + alpha * delta
        xs.append(x)
    return xs


def vr_marina(
    each: Each, C: Compress, x: Array, gamma: float, steps: int, p: float, picks: Picks, coin: Coin
) -> list[Array]:
    """Gorbunov et al. (2021), algorithm 2: g⁰ = ∇f(x⁰); the same samples at both points."""
    old, xs = each(x), []
    g = old.mean((0, 1))
    for k in range(1, steps + 1):
        x = x - gamma * g
        xs.append(x)
        new = each(x)
        g = new.mean((0, 1)) if coin(k) < p else g + C(drawn(new - old, picks(k)), k).mean(0)
        old = new
    return xs


def dasha_page(
    each: Each, C: Compress, x: Array, gamma: float, steps: int, a: float, p: float, picks: Picks, coin: Coin
) -> list[Array]:
    """Tyurin and Richtárik (2023), algorithm 1, DASHA-PAGE: h_i⁰ = ∇f_i(x⁰), g_i⁰ = C(h_i⁰), one coin for all."""
    old, xs = each(x), []
    h_i = old.mean(1)
    g_i = C(h_i, 0)
    for k in range(1, steps + 1):
        x = x - gamma * g_i.mean(0)
        xs.append(x)
        new = each(x)
        h_new = new.mean(1) if coin(k) < p else h_i + drawn(new - old, picks(k))
        g_i = g_i + C(h_new - h_i - a * (g_i - h_i), k)
        h_i, old = h_new, new
    return xs
