"""f = mean f_i as this process holds it: the values and gradients of its own workers' f_i."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from thinwire.convex.losses import Loss
from thinwire.convex.shards import Array, Integers, Shards


@dataclass(frozen=True, eq=False)
class Objective:
    """The f_i of the workers held, f_i(x) = c_i Σ_j φ(a_jᵀx, y_j) + r(x), over worker i's rows of a matrix.

    Args:
        loss: φ.
        shards: the rows a_j, (N', p).
        y: (N',) targets, as the loss reads them.
        scale: (rows,) c_i: n/N, so that f = mean f_i is the mean over all N samples of n workers.
        outputs: K, of a loss that has several: x has p · K coordinates.
        ridge: (d,) weights of x²/2 in r, nought for an intercept.
        nonconvex: (d,) weights of x²/(1 + x²) in r, or None.
    """

    loss: Loss
    shards: Shards
    y: Array
    scale: Array
    outputs: int
    ridge: Array
    nonconvex: Array | None = None

    @property
    def rows(self) -> int:
        """Workers held."""
        return self.shards.rows

    @property
    def d(self) -> int:
        """Coordinates of x."""
        return self.shards.width * self.outputs

    @cached_property
    def _each(self) -> Array:
        each = np.repeat(self.scale, self.shards.counts)
        return each[:, None] if self.loss.several else each

    def margins(self, x: Array) -> Array:
        """A x; or each worker's A_i x_i, where x is (rows, d)."""
        shaped = x.reshape(*x.shape[:-1], -1, self.outputs) if self.loss.several else x
        return self.shards.forward(shaped) if x.ndim == 1 else self.shards.forward_each(shaped)

    def back(self, slopes: Array) -> Array:
        """c_i A_iᵀ s_i, (rows, d)."""
        return self.shards.backward(slopes * self._each).reshape(self.rows, self.d)

    def values(self, x: Array) -> Array:
        """f_i(x), (rows,)."""
        return self.scale * self.shards.sums(self.loss.value(self.margins(x), self.y)) + self.smooth(x)

    def gradients(self, x: Array) -> Array:
        """∇f_i(x), (rows, d): at one x, (d,), or at each worker's own, (rows, d)."""
        made = self.data_gradients(x)
        made += self.pull(x)
        return made

    def data_gradients(self, x: Array) -> Array:
        """∇(f_i − r)(x), (rows, d)."""
        return self.back(self.loss.slope(self.margins(x), self.y))

    def smooth(self, x: Array) -> float:
        """r(x) of one x."""
        value = float(np.dot(self.ridge * x, x)) / 2
        if self.nonconvex is not None:
            square = np.square(x)
            value += float(np.sum(self.nonconvex * square / (1 + square)))
        return value

    def pull(self, x: Array) -> Array:
        """∇r(x), of x's shape."""
        made = self.ridge * x
        if self.nonconvex is not None:
            made += self.nonconvex * (2 * x / np.square(1 + np.square(x)))
        return made

    def digest(self) -> str:
        """A hash of the rows, their targets, and whose they are."""
        made = hashlib.sha256(self.y.tobytes() + self.shards.bounds.tobytes())
        for part in self.shards.arrays():
            made.update(np.ascontiguousarray(part).data)
        return made.hexdigest()

    def picked(self, indices: Integers) -> Objective:
        """The same f_i from some of its rows, (rows, b) numbers: their mean stands for the mean of all of them."""
        y = self.y[(indices + self.shards.bounds[:-1, None]).reshape(-1)]
        scale = self.scale * (self.shards.counts / indices.shape[1]).astype(self.scale.dtype)
        return replace(self, shards=self.shards.pick(indices), y=y, scale=scale)
