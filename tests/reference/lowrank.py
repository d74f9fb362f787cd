"""PowerSGD in float64, straight from the paper; with the memory of the paper, or with epfml/powersgd's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class PowerSGD:
    """n workers, one matrix a × b; `q` is b × r."""

    def __init__(self, q: Array, *, local: bool) -> None:
        self.q, self.local = q, local
        self.e: Array | float = 0.0

    def step(self, g: Array) -> Array:
        """(n, a, b) -> the estimate of the mean, (a, b)."""
        m = g + self.e
        p, _ = np.linalg.qr((m @ self.q).mean(axis=0))
        q = m.transpose(0, 2, 1) @ p
        self.q = q.mean(axis=0)
        estimate: Array = p @ self.q.T
        self.e = m - (p @ q.transpose(0, 2, 1) if self.local else estimate)
        return estimate
