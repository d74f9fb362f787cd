"""The methods as their papers write them: slow float64 NumPy twins, one algorithm each.

Every twin takes `grads(x) -> (n, d)`, the gradients of all f_i at x; `C(x, k) -> (n, d)`, the compressor's
decode(encode(x)) under the keys of step k; a start x; a step size; and the number of steps. It returns x^1, x^2, ….
Gradients at x^k travel under the keys of step k. `coin(k)` is uniform in [0, 1), the same for all workers. Where a
penalty R is allowed, `prox(x, γ)` is argmin_z R(z) + ‖z − x‖²/(2γ).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Gradients = Callable[[Array], Array]
Compress = Callable[[Array, int], Array]
Coin = Callable[[int], float]
Prox = Callable[[Array, float], Array]


def none(x: Array, gamma: float) -> Array:
    """The prox of R = 0."""
    return x


def gradient_descent(grads: Gradients, x: Array, gamma: float, steps: int, prox: Prox = none) -> list[Array]:
    xs = []
    for _ in range(steps):
        x = prox(x - gamma * grads(x).mean(0), gamma)
        xs.append(x)
    return xs


def dcgd(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, prox: Prox = none) -> list[Array]:
    xs = []
    for k in range(steps):
        x = prox(x - gamma * C(grads(x), k).mean(0), gamma)
        xs.append(x)
    return xs


def diana(
    grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, alpha: float, prox: Prox = none
) -> list[Array]:
    """Mishchenko et al. (2019), algorithm 1 without momentum: the server stores one vector h."""
    h_i, h, xs = np.zeros_like(grads(x)), np.zeros_like(x), []
    for k in range(steps):
        delta = C(grads(x) - h_i, k)
        h_i = h_i + alpha * delta
        x = prox(x - gamma * (h + delta.mean(0)), gamma)
        h = h + alpha * delta.mean(0)
        xs.append(x)
    return xs


def diana_scaled(
    grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, alpha: float, beta2: float
) -> list[Array]:
    """DIANA with s C((v − h) / s), q the running mean square of the estimates, log₂ s = max(round(log₂ q / 4), −13).

    s = 1 where q = 0, and before there were five estimates. In step t = k + 1 the older ones weigh
    β₂ (1 − β₂^k) / (1 − β₂^t): that is m / (1 − β₂^t) of m ← β₂ m + (1 − β₂) v̂².
    """
    h_i, h, q, xs = np.zeros_like(grads(x)), np.zeros_like(x), np.zeros_like(x), []
    for k in range(steps):
        log_s = np.floor(np.log2(np.where(q > 0, q, 1.0)) / 4 + 0.5)
        s = np.exp2(np.where((q > 0) & (k >= 5), np.maximum(log_s, -13), 0))
        delta = s * C((grads(x) - h_i) / s, k)
        estimate = h + delta.mean(0)
        h_i, h = h_i + alpha * delta, h + alpha * delta.mean(0)
        old = beta2 * (1 - beta2**k) / (1 - beta2 ** (k + 1))
        q = np.where(q > 0, old * q + (1 - old) * estimate**2, estimate**2)
        x = x - gamma * estimate
        xs.append(x)
    return xs


def ef21(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, prox: Prox = none) -> list[Array]:
    """Richtárik et al. (2021), algorithm 2, with g_i⁰ = C(∇f_i(x⁰)); with a prox as in EF-BV."""
    g_i, xs = C(grads(x), 0), []
    for k in range(1, steps + 1):
        x = prox(x - gamma * g_i.mean(0), gamma)
        xs.append(x)
        g_i = g_i + C(grads(x) - g_i, k)
    return xs


def ef_bv(
    grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, lam: float, nu: float, prox: Prox = none
) -> list[Array]:
    """Condat, Yi, Richtárik (2022), algorithm 1."""
    h_i, h, xs = np.zeros_like(grads(x)), np.zeros_like(x), []
    for k in range(steps):
        d_i = C(grads(x) - h_i, k)
        h_i = h_i + lam * d_i
        g = h + nu * d_i.mean(0)
        h = h + lam * d_i.mean(0)
        x = prox(x - gamma * g, gamma)
        xs.append(x)
    return xs


def dasha(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, a: float) -> list[Array]:
    """Tyurin and Richtárik (2023), algorithm 1; h_i is the gradient there, g_i⁰ = C(∇f_i(x⁰))."""
    h_i, xs = grads(x), []
    g_i = C(h_i, 0)
    g = g_i.mean(0)
    for k in range(1, steps + 1):
        x = x - gamma * g
        xs.append(x)
        new = grads(x)
        m_i = C(new - h_i - a * (g_i - h_i), k)
        g_i, g, h_i = g_i + m_i, g + m_i.mean(0), new
    return xs


def marina(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, p: float, coin: Coin) -> list[Array]:
    """Gorbunov et al. (2021), algorithm 1: g⁰ = ∇f(x⁰)."""
    old, xs = grads(x), []
    g = old.mean(0)
    for k in range(1, steps + 1):
        x = x - gamma * g
        xs.append(x)
        new = grads(x)
        g = new.mean(0) if coin(k) < p else g + C(new - old, k).mean(0)
        old = new
    return xs


def rand_diana(
    grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, p: float, coin: Coin, prox: Prox = none
) -> list[Array]:
    """Shulgin and Richtárik (2022), in the library's variation.

    In the paper a step first uses h_i + C(∇f_i − h_i), and then, with probability p, renews h_i. Here the gradients
    that renew the shifts, having been sent whole, are the estimate of that step too; and the first step renews.
    """
    h_i, xs = np.zeros_like(grads(x)), []
    for k in range(steps):
        g_i = grads(x)
        if k == 0 or coin(k) < p:
            h_i = estimate = g_i
        else:
            estimate = h_i + C(g_i - h_i, k)
        x = prox(x - gamma * estimate.mean(0), gamma)
        xs.append(x)
    return xs


def lag(grads: Gradients, x: Array, gamma: float, steps: int, zeta: float) -> list[Array]:
    """Chen et al. (2018) as a three-point compressor (Richtárik et al., 2022): g_i⁰ = ∇f_i(x⁰)."""
    return clag(grads, lambda v, k: v, x, gamma, steps, zeta)


def clag(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int, zeta: float) -> list[Array]:
    """Richtárik et al. (2022), 3PC's CLAG: C_{h,y}(v) = h + C(v − h) if ‖v − h‖² > ζ‖v − y‖², else h."""
    old = grads(x)
    h, xs = C(old, 0), []
    for k in range(1, steps + 1):
        x = x - gamma * h.mean(0)
        xs.append(x)
        new = grads(x)
        speaks = ((new - h) ** 2).sum(1) > zeta * ((new - old) ** 2).sum(1)
        h = h + C(np.where(speaks[:, None], new - h, 0.0), k)
        old = new
    return xs


def ef14(grads: Gradients, C: Compress, x: Array, gamma: float, steps: int) -> list[Array]:
    """Stich et al. (2018), Karimireddy et al. (2019): the memory e_i is in units of γ g."""
    e_i, xs = np.zeros_like(grads(x)), []
    for k in range(steps):
        p_i = e_i + gamma * grads(x)
        c_i = C(p_i, k)
        e_i = p_i - c_i
        x = x - c_i.mean(0)
        xs.append(x)
    return xs
