"""How near an iterate is to the optimum, by what can be computed exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thinwire.convex.objective import Objective
from thinwire.convex.penalties import Penalty
from thinwire.convex.shards import Array
from thinwire.convex.wire import Exact, NotFinite

ROUNDINGS = 32 * np.finfo(np.float64).eps
"""What sums of numbers may be off by, of their size: added to bounds that are differences of such sums."""


@dataclass(frozen=True)
class Certificate:
    """What is known of a point, from the exact gradient there.

    Args:
        value: P(x) = f(x) + R(x).
        mapping: ‖G‖, G = (x − prox_{R/L}(x − ∇f(x)/L)) L: the gradient, where there is no penalty.
        gap: an upper bound of P(x) − min P, or None: the duality gap, or what strong convexity makes of the mapping.
        distance: an upper bound of ‖x − x*‖, or None where P is not strongly convex.

    >>> import numpy as np, thinwire as tw
    >>> certificate = tw.solve(tw.SquaredLoss(np.eye(2), [1, 2]), tol=1e-8).certificate
    >>> bool(certificate.gap < 1e-7), bool(certificate.distance < 1e-3)
    (True, True)
    """

    value: float
    mapping: float
    gap: float | None
    distance: float | None


@dataclass(frozen=True, eq=False)
class Examiner:
    """Computes certificates: an exact mean of d + 2 numbers a worker, and where l2 = 0 one more of a single number.

    1. ∇(f_i − r), the mean of φ and of φ* at the slopes, of each worker. 2. Their exact means.
    3. ‖G‖ and P. 4. The least of two bounds of the gap: by duality, the slopes scaled into the dual's domain; and by
    strong convexity, −min_y ⟨∇f, y − x⟩ + (μ/2) ‖y − x‖² + R(y) − R(x).

    Args:
        objective, penalty, features: the problem.
        exact: its collectives.
        smoothness: L.
        strong: μ of f.
    """

    objective: Objective
    penalty: Penalty
    features: slice
    exact: Exact
    smoothness: float
    strong: float

    def __call__(self, x: Array) -> Certificate:
        f, loss = self.objective, self.objective.loss
        penalty = self.penalty.value(x[self.features])  # in x's own precision: its edges are where that rounds them to
        x = x.astype(np.float64)  # and so are the margins: of float32 data the certificate is exact, too
        margins = f.margins(x)
        slopes = loss.slope(margins, f.y)
        rows = np.empty((f.rows, f.d + 2))
        rows[:, :-2] = f.back(slopes)
        rows[:, -2] = f.scale * f.shards.sums(loss.value(margins, f.y))
        rows[:, -1] = self._conjugates(slopes)
        try:
            mean = self.exact.mean(rows)
        except NotFinite:  # of a finite point, whose values overflow: all workers hear of it
            return Certificate(math.inf, math.inf, None, None)
        value = mean[-2] + f.smooth(x) + penalty
        if not math.isfinite(value):
            return Certificate(value, math.inf, None, None)
        gradient = mean[:-2] + f.pull(x)
        moved = self._prox(x - gradient / self.smoothness, 1 / self.smoothness)
        gaps = [self._dual(value, slopes, mean[:-2], mean[-1])]
        if self.strong:
            y = self._prox(x - gradient / self.strong, 1 / self.strong)
            there, step = self.penalty.value(y[self.features]), y - x
            fall = float(np.dot(gradient, step) + self.strong / 2 * np.dot(step, step)) + there - penalty
            gaps.append(ROUNDINGS * (abs(there) + abs(penalty)) - fall)
        gap = min((max(found, 0.0) for found in gaps if found is not None), default=None)
        strong = self.strong + (self.penalty.strong if self.features.stop is None else 0)  # an intercept is free of R
        distance = math.sqrt(2 * gap / strong) if strong and gap is not None else None
        return Certificate(float(value), float(np.linalg.norm(x - moved)) * self.smoothness, gap, distance)

    def _prox(self, x: Array, step: float) -> Array:
        x[self.features] = self.penalty.prox(x[self.features], step)
        return x

    def _conjugates(self, slopes: Array) -> Array:
        f = self.objective
        return f.scale * f.shards.sums(f.loss.conjugate(slopes, f.y))

    def _dual(self, value: float, slopes: Array, data_gradient: Array, conjugate: float) -> float | None:
        """P(x) + mean φ*(t s) + Ψ*(−t mean A_iᵀ s_i), Ψ = r + R, the largest t ≤ 1 in Ψ*'s domain."""
        f = self.objective
        if f.nonconvex is not None or self.features.stop is not None:  # an intercept's coordinate is free: t = 0
            return None
        ridge, t = float(f.ridge[0]), 1.0
        if not ridge:
            gauge = self.penalty.gauge(-data_gradient)
            if not math.isfinite(gauge):
                return None
            if gauge > 1:
                t = (1 - 4 * np.finfo(float).eps) / gauge
                conjugate = float(self.exact.mean(self._conjugates(t * slopes)[:, None])[0])
        other = self.penalty.conjugate(-t * data_gradient, ridge)
        gap = value + conjugate + other + ROUNDINGS * (abs(value) + abs(conjugate) + abs(other))
        return float(gap) if math.isfinite(gap) else None
