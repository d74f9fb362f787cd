"""The losses of linear models, φ(z, y) of a margin z = aᵀx and a target y: values, slopes, conjugates, curvature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_softmax, softmax, xlogy

from thinwire._check import call, fault
from thinwire.convex.shards import Array


class Loss(ABC):
    """φ(z, y), elementwise: z is (N,), or (N, K) for a loss of K outputs, whose slope is (N, K)."""

    curvature: float
    """The largest second derivative in z (the largest eigenvalue of the Hessian, with K outputs)."""
    least: float = 0.0
    """The least second derivative."""
    classes: bool = False
    """Whether targets are classes."""
    several: bool = False
    """Whether there is an output for each class."""

    @abstractmethod
    def value(self, z: Array, y: Array) -> Array:
        """φ(z, y), (N,)."""

    @abstractmethod
    def slope(self, z: Array, y: Array) -> Array:
        """φ'(z, y), of z's shape."""

    @abstractmethod
    def conjugate(self, s: Array, y: Array) -> Array:
        """φ*(s) = sup_z s z − φ(z, y), (N,), at slopes s: finite at any s that `slope` gave, or a fraction of it."""


class Logistic(Loss):
    """φ = log(1 + e^(−yz)), y = ±1.

    >>> Logistic().value(np.zeros(1), np.ones(1)).round(4)
    array([0.6931])
    """

    curvature, classes = 0.25, True

    def value(self, z: Array, y: Array) -> Array:
        return np.logaddexp(0, -y * z)

    def slope(self, z: Array, y: Array) -> Array:
        made: Array = -y * expit(-y * z)
        return made

    def conjugate(self, s: Array, y: Array) -> Array:
        part = np.clip(-s * y, 0, 1)
        made: Array = xlogy(part, part) + xlogy(1 - part, 1 - part)
        return made


class Squared(Loss):
    """φ = (z − y)² / 2.

    >>> Squared().slope(np.array([3.0]), np.array([1.0]))
    array([2.])
    """

    curvature = least = 1.0

    def value(self, z: Array, y: Array) -> Array:
        return np.square(z - y) / 2

    def slope(self, z: Array, y: Array) -> Array:
        return z - y

    def conjugate(self, s: Array, y: Array) -> Array:
        return np.square(s) / 2 + s * y


class Softmax(Loss):
    """φ = log Σ_k e^(z_k) − z_y, y the number of a class.

    >>> Softmax().slope(np.zeros((1, 2)), np.array([0.0]))
    array([[-0.5,  0.5]])
    """

    curvature, classes, several = 0.5, True, True

    def value(self, z: Array, y: Array) -> Array:
        return -np.take_along_axis(log_softmax(z, axis=1), _column(y), axis=1)[:, 0]

    def slope(self, z: Array, y: Array) -> Array:
        made: Array = softmax(z, axis=1)
        made[np.arange(len(made)), y.astype(np.int64)] -= 1
        return made

    def conjugate(self, s: Array, y: Array) -> Array:
        part = s.copy()
        part[np.arange(len(part)), y.astype(np.int64)] += 1
        part = np.clip(part, 0, 1)
        made: Array = xlogy(part, part).sum(axis=1)
        return made


@dataclass(frozen=True)
class Huber(Loss):
    """φ = e²/2 where |e| ≤ δ, otherwise δ|e| − δ²/2; e = z − y.

    >>> Huber(1.0).value(np.array([0.5, 3.0]), np.zeros(2))
    array([0.125, 2.5  ])
    """

    delta: float = 1.0

    curvature = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(fault(call("Huber", delta=self.delta), "delta must be positive", self.delta))

    def value(self, z: Array, y: Array) -> Array:
        size = np.abs(z - y)
        inner = np.minimum(size, self.delta)
        return inner * (size - inner / 2)

    def slope(self, z: Array, y: Array) -> Array:
        return np.clip(z - y, -self.delta, self.delta)

    def conjugate(self, s: Array, y: Array) -> Array:
        return np.square(s) / 2 + s * y


class SquaredHinge(Loss):
    """φ = max{0, 1 − yz}² / 2, y = ±1.

    >>> SquaredHinge().value(np.array([0.0, 2.0]), np.ones(2))
    array([0.5, 0. ])
    """

    curvature, classes = 1.0, True

    def value(self, z: Array, y: Array) -> Array:
        return np.square(np.maximum(0, 1 - y * z)) / 2

    def slope(self, z: Array, y: Array) -> Array:
        return -y * np.maximum(0, 1 - y * z)

    def conjugate(self, s: Array, y: Array) -> Array:
        return np.square(s) / 2 + s * y


def _column(y: Array) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return y.astype(np.int64)[:, None]
