"""The proof behind `adiana_tight`: its Lyapunov function falls, in exact expectation, from wherever one begins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from thinwire import theory
from thinwire.theory._acceleration import Acceleration

GRID = list(itertools.product((1, 30, 1000), (0.0, 1.0, 30.0), (1.0, 1e3, 1e6)))


def constants(n: int, kappa: float) -> theory.Constants:
    return theory.Constants(1.0, (1.0,) * n, 1.0, 1 / kappa, 1)


@pytest.mark.parametrize(("n", "omega", "kappa"), GRID)
def test_the_rate_is_of_the_best_known_order_and_above_those_of_papers(n: int, omega: float, kappa: float) -> None:
    given = constants(n, kappa)
    plan = theory.adiana_tight(given, omega)
    assert plan.rate is not None
    assert 1 / plan.rate <= 6 * (1 + omega + (1 + omega / math.sqrt(n)) * math.sqrt(kappa))
    for other in (theory.adiana(given, omega), theory.adiana_refined(given, omega)):
        assert other.rate is not None
        assert plan.rate >= other.rate


@pytest.mark.parametrize("omega", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("l1", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_lyapunov_function_falls(omega: float, l1: float, seed: int) -> None:
    """C(v) = (1 + ω)v with probability 1/(1 + ω), else 0: of two workers' two messages and the coin, 32 outcomes."""
    rng, n, d = np.random.default_rng(seed), 2, 3
    B = rng.normal(size=(n, d, d)) * np.geomspace(0.2, 1.5, d)
    A, b = B @ B.transpose(0, 2, 1) + 0.05 * np.eye(d), rng.normal(size=(n, d))
    ends = np.linalg.eigvalsh(A.mean(0))
    largest = [float(top) for top in np.linalg.eigvalsh(A)[:, -1]]
    L, mu = float(ends[-1]), float(ends[0])
    given = theory.Constants(L, tuple(largest), max(largest), mu, 1)

    def grads(x):
        return np.einsum("nij,j->ni", A, x) - b

    def prox(x, step):
        return np.sign(x) * np.maximum(np.abs(x) - step * l1, 0)

    def value(x):
        return x @ A.mean(0) @ x / 2 - b.mean(0) @ x + l1 * np.abs(x).sum()

    best = np.zeros(d)
    for _ in range(3_000):
        best = prox(best - grads(best).mean(0) / L, 1 / L)

    plan = theory.adiana_tight(given, omega)
    rate, (p, eta, r) = Acceleration(given, omega, omega / n).best()
    assert (plan.rate, plan.more["p"], plan.step) == (rate, p, eta)
    theta1, theta2, gamma, beta, lam = (plan.more[name] for name in ("theta1", "theta2", "gamma", "beta", "lam"))
    long, c = gamma / beta, 0.0
    if omega:
        left, share = lam - rate, (1 - lam) * p
        t = math.sqrt(1 + left / share) - 1
        s = math.sqrt((1 + r) * p * (1 + 1 / t) / (left - share * t))
        c = eta * omega / n * (1 + 1 / s) / (left - share * t)

    def lyapunov(y, z, w, h):
        gaps = value(y) - value(best) + theta2 / (p - rate) * (value(w) - value(best))
        far = theta1 * (1 + long * mu) / (2 * long) * np.sum((z - best) ** 2)
        return gaps + far + c * np.mean(np.sum((h - grads(w)) ** 2, axis=1))

    y, z, w = best + rng.normal(size=(3, d)) * rng.exponential(size=(3, 1))
    h = grads(w) + rng.normal(size=(n, d)) * rng.exponential()
    before = lyapunov(y, z, w, h)
    x = theta1 * z + theta2 * w + (1 - theta1 - theta2) * y
    after = 0.0
    speaks = 1 / (1 + omega)
    for outcome in itertools.product((0, 1), repeat=2 * n):
        said = np.array(outcome)[:, None]
        chance = float(np.prod(np.where(said, speaks, 1 - speaks)))
        g = (h + said[:n] / speaks * (grads(x) - h)).mean(0)
        learnt = h + lam * said[n:] / speaks * (grads(w) - h)
        moved = prox(x - eta * g, eta)
        z_new = beta * z + (1 - beta) * x + gamma / eta * (moved - x)
        renewed = p * lyapunov(moved, z_new, y, learnt) + (1 - p) * lyapunov(moved, z_new, w, learnt)
        after += chance * renewed
    assert after <= (1 - rate) * before * (1 + 1e-9)
