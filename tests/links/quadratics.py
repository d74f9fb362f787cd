"""n heterogeneous quadratics, the problem that the links' tests minimise.

Importing it makes `tests/reference` importable as the package `reference`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

import thinwire as tw
from thinwire.keys import Purpose
from thinwire.rounds import finish
from thinwire.training.scaled import Scaled

Array = npt.NDArray[np.float64]
SEED = 7


@dataclass(frozen=True)
class Quadratics:
    """f_i(x) = ½ xᵀA_i x − b_iᵀx with spectra in [1, top], so that ∇f_i(x*) ≠ 0; A is (n, d, d), b is (n, d)."""

    A: Array
    b: Array

    @staticmethod
    def drawn(n: int, d: int, top: float = 5.0, seed: int = 0) -> Quadratics:
        rng = np.random.default_rng(seed)
        turns = np.linalg.qr(rng.normal(size=(n, d, d))).Q
        A = turns @ (rng.uniform(1, top, size=(n, d, 1)) * turns.transpose(0, 2, 1))
        return Quadratics((A + A.transpose(0, 2, 1)) / 2, rng.normal(size=(n, d)))

    @property
    def n(self) -> int:
        return len(self.b)

    @property
    def start(self) -> Array:
        return np.ones(self.b.shape[1])

    def grads(self, x: Array) -> Array:
        return np.einsum("nij,j->ni", self.A, x) - self.b

    @property
    def solution(self) -> Array:
        return np.linalg.solve(self.A.mean(0), self.b.mean(0))

    def value(self, x: Array) -> float:
        return float(x @ self.A.mean(0) @ x / 2 - self.b.mean(0) @ x)

    @property
    def L(self) -> float:
        return float(np.linalg.eigvalsh(self.A.mean(0))[-1])

    @property
    def mu(self) -> float:
        return float(np.linalg.eigvalsh(self.A.mean(0))[0])

    @property
    def L_i(self) -> Array:
        return np.linalg.eigvalsh(self.A)[:, -1]

    @property
    def L_tilde(self) -> float:
        return float(np.sqrt((self.L_i**2).mean()))


def run(
    problem: Quadratics,
    link: tw.Link,
    gamma: float,
    steps: int,
    *,
    route: str | None = "gather",
    seed: int = SEED,
    dense_start: bool = False,
    geometry: float | None = None,
) -> tuple[list[Array], tw.Exchange]:
    """x^1, x^2, … of gradient steps on what the link delivers, and the exchange as it is then."""
    exchange = tw.Exchange(
        link, problem.b.shape[1], tw.LocalGroup(problem.n), route=route, seed=seed, dtype=torch.float64
    )
    carrier = exchange if geometry is None else Scaled(exchange, geometry)
    x, xs = problem.start, []
    for k in range(steps):
        v = torch.from_numpy(problem.grads(x))
        outcome = finish(carrier.round(v, k, dense=dense_start and k == 0))
        carrier.commit(outcome)
        x = x - gamma * outcome.estimate.numpy()
        xs.append(x)
    return xs, exchange


def compress(compressor: tw.Compressor, n: int, x: Array, k: int) -> Array:
    """decode(encode(x)) under the keys of step k, as the library's gather route draws them."""
    bound, key = compressor.bind(n), tw.Key(SEED, k, 0, range(n))
    return bound.decode(bound.encode(torch.from_numpy(x), key)).double().numpy()


def coin(k: int) -> float:
    return tw.Key(SEED, k).uniform(Purpose.COIN)
