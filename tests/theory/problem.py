"""The problem on which theory is tested, ridge regression on unlike workers, with compressors made of NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from thinwire.theory import Constants

from ..reference.methods import Array, Gradients, Prox, gradient_descent, none

BATCH, CLIENTS, PARTICIPATION = 2, 4, 0.5


@dataclass(frozen=True)
class Ridge:
    """f_ij(x) = ½(aᵀx − b)² + (λ/2)‖x‖², a and b from (n, m, d) and (n, m); R(x) = `l1` ‖x‖₁.

    Every worker has an x* of its own, so that ∇f_i(x*) ≠ 0; all are flattest along the first coordinate, so that no
    theorem gains by asking for the μ of every f_i.
    """

    a: Array
    b: Array
    ridge: float
    l1: float = 0.0

    @staticmethod
    def drawn(n: int = 8, m: int = 10, d: int = 6, ridge: float = 1.0, l1: float = 0.0) -> Ridge:
        rng = np.random.default_rng(5)
        a = rng.normal(size=(n, m, d)) * np.linspace(0.02, 2, d) * rng.uniform(0.5, 1.5, size=(n, 1, 1))
        return Ridge(a, np.einsum("nmd,nd->nm", a, 3 * rng.normal(size=(n, d))), ridge, l1)

    @property
    def n(self) -> int:
        return len(self.b)

    @property
    def m(self) -> int:
        return self.b.shape[1]

    def each(self, x: Array) -> Array:
        """∇f_ij(x): (n, m, d)."""
        return (self.a @ x - self.b)[:, :, None] * self.a + self.ridge * x

    @cached_property
    def hessians(self) -> Array:
        return np.einsum("nmd,nme->nde", self.a, self.a) / self.m + self.ridge * np.eye(self.a.shape[2])

    @cached_property
    def right(self) -> Array:
        return np.einsum("nmd,nm->nd", self.a, self.b) / self.m

    def grads(self, x: Array) -> Array:
        return self.hessians @ x - self.right

    def at(self, X: Array) -> Array:
        """∇f_i at every worker's own point."""
        return np.einsum("nde,ne->nd", self.hessians, X) - self.right

    def value(self, x: Array) -> float:
        """f(x), up to a constant."""
        return float(x @ self.hessians.mean(0) @ x / 2 - self.right.mean(0) @ x)

    @property
    def prox(self) -> Prox:
        if self.l1 == 0:
            return none
        return lambda x, gamma: np.sign(x) * np.maximum(np.abs(x) - gamma * self.l1, 0)

    @cached_property
    def constants(self) -> Constants:
        L_i = np.linalg.eigvalsh(self.hessians)[:, -1]
        spectrum = np.linalg.eigvalsh(self.hessians.mean(0))
        samples = float((self.a**2).sum(2).max()) + self.ridge
        strong = float(np.linalg.eigvalsh(self.hessians)[:, 0].min())  # of every f_i, as the strictest theorems ask
        return Constants(float(spectrum[-1]), tuple(map(float, L_i)), samples, strong, self.m)

    @cached_property
    def solution(self) -> Array:
        """Proximal gradient steps until nothing changes; without a penalty, linear equations."""
        if self.l1 == 0:
            return np.linalg.solve(self.hessians.mean(0), self.right.mean(0))
        return gradient_descent(self.grads, np.ones(self.a.shape[2]), 1 / self.constants.smoothness, 5000, self.prox)[
            -1
        ]

    def distance(self, x: Array) -> float:
        return float(((x - self.solution) ** 2).sum())

    @property
    def dissimilarity(self) -> float:
        """ζ*² = mean ‖∇f_i(x*)‖²."""
        return float((self.grads(self.solution) ** 2).sum(1).mean())


@dataclass(frozen=True)
class Run:
    """A twin's arguments: a problem, a number of steps, and all chance, as functions of (seed, k).

    `dense`: the messages of step 0 travel whole, so that estimates that follow the gradient start from it.
    """

    problem: Ridge
    steps: int
    seed: int = 0
    dense: bool = False

    def chance(self, k: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, k, stream))

    def _rand_k(self, x: Array, share: float, k: int, stream: int) -> Array:
        """Independent random coordinates × d/k for every row: ω = 1/share − 1."""
        kept = round(share * x.shape[-1])
        ranks = self.chance(k, stream).random(x.shape).argsort(-1).argsort(-1)
        return np.where(ranks < kept, x / share, 0.0)

    def up(self, x: Array, k: int) -> Array:
        """ω = 1."""
        return x if self.dense and k == 0 else self._rand_k(x, 1 / 2, k, 0)

    def second(self, x: Array, k: int) -> Array:
        """ω = 1, another message."""
        return self._rand_k(x, 1 / 2, k, 1)

    def down(self, x: Array, k: int) -> Array:
        """ω = 1/2."""
        return self._rand_k(x, 2 / 3, k, 2)

    def greedy(self, x: Array, k: int) -> Array:
        """The larger half of the coordinates of every row: δ = 1/2."""
        if self.dense and k == 0:
            return x
        ranks = np.abs(x).argsort(-1).argsort(-1)
        return np.where(ranks >= x.shape[-1] // 2, x, 0.0)

    def coin(self, k: int) -> float:
        return float(self.chance(k, 3).random())

    def picks(self, k: int) -> npt.NDArray[np.int64]:
        return self.chance(k, 4).integers(self.problem.m, size=(self.problem.n, BATCH))

    def present(self, k: int) -> npt.NDArray[np.bool_]:
        return self.chance(k, 5).random(self.problem.n) < PARTICIPATION

    def clients(self, k: int) -> npt.NDArray[np.int64]:
        return self.chance(k, 6).integers(self.problem.n, size=CLIENTS)

    def uniform(self, k: int) -> Array:
        return self.chance(k, 7).random((self.problem.n, len(self.x)))

    @property
    def x(self) -> Array:
        return np.ones(self.problem.a.shape[2])

    @property
    def X(self) -> Array:
        """x for every worker."""
        return np.ones((self.problem.n, len(self.x)))

    @property
    def grads(self) -> Gradients:
        return self.problem.grads

    @property
    def prox(self) -> Prox:
        return self.problem.prox
