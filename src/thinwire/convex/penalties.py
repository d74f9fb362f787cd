"""Penalties R with their proximal operators and conjugates: what the optimum pays besides the loss.

Each acts on one flat vector x of d numbers (d·K of them for K outputs), float64 or float32, which comes back as it
came. ⟨·,·⟩ and ‖·‖ are Euclidean. Sources: Parikh and Boyd, "Proximal algorithms" (2014), chapter 6, for the operators;
Rockafellar, "Convex analysis" (1970), section 12, for the conjugates.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from thinwire._check import call, fault

Array = npt.NDArray[np.floating[Any]]
Step = float | Array


class Penalty(ABC):
    """R, closed and convex, with values in (−∞, ∞].

    >>> import numpy as np, thinwire as tw
    >>> tw.L1(1.0).prox(np.array([3.0, -0.5]), step=2.0).tolist()
    [1.0, -0.0]
    """

    constrains = False
    """Whether it is infinite somewhere."""

    @property
    def strong(self) -> float:
        """The largest σ for which R − σ/2 ‖·‖² is convex."""
        return 0.0

    @abstractmethod
    def value(self, x: Array) -> float:
        """R(x); infinite outside of a constraint."""

    @abstractmethod
    def prox(self, x: Array, step: Step) -> Array:
        """argmin_u R(u) + ‖u − x‖² / (2 step); step > 0, a number, or one for each coordinate if R is separable."""

    @abstractmethod
    def support(self, y: Array) -> float:
        """R*(y) = sup_x ⟨y, x⟩ − R(x), infinite outside of its domain.

        A domain that is a ball is taken a few roundings too wide, so that y / gauge(y) is inside.
        """

    def gauge(self, y: Array) -> float:
        """The least t ≥ 1 for which R*(y / t) is finite, infinite if there is none: it scales a dual point to fit."""
        return 1.0

    def conjugate(self, y: Array, ridge: float = 0.0) -> float:
        """sup_x ⟨y, x⟩ − R(x) − ridge/2 ‖x‖², which x = prox(y / ridge, 1 / ridge) attains where ridge > 0.

        >>> import numpy as np
        >>> L1(1.0).conjugate(np.array([3.0, -0.5])), L1(1.0).conjugate(np.array([3.0, -0.5]), ridge=2.0)
        (inf, 1.0)
        """
        if not 0 <= ridge < math.inf:
            raise ValueError(fault(repr(self), "ridge must be a number ≥ 0", ridge))
        if ridge == 0:
            return self.support(y)
        x = self.prox(y / ridge, 1 / ridge)
        return float(y @ x - ridge / 2 * (x @ x)) - self.value(x)


def number(penalty: Penalty, name: str, low: float = -math.inf, infinite: bool = False) -> None:
    """Make the field a Python float, which keeps float32 float32, and check that it is one, and at least `low`."""
    given = getattr(penalty, name)
    value = float(given)
    if math.isnan(value) or value < low or (math.isinf(value) and not infinite):
        rule = f"{name} must be a number" + (f" ≥ {low:g}" if low > -math.inf else "")
        raise ValueError(fault(call(type(penalty).__name__, **{name: given}), rule))
    object.__setattr__(penalty, name, value)


def positive(penalty: Penalty, step: Step, separable: bool = True) -> Step:
    """A step that may be used: positive, and for a penalty that is not separable only one."""
    if np.ndim(step) == 0:
        step = float(step)
    elif not separable:
        rule = "a penalty that joins coordinates needs one step for all"
        raise ValueError(fault(repr(penalty), rule, np.shape(step), "Pass a float."))
    if not np.all(np.asarray(step) > 0):
        raise ValueError(fault(repr(penalty), "step must be positive", step))
    return step


def shrunk(x: Array, threshold: Step) -> Array:
    """sign(x) max(|x| − threshold, 0), coordinate by coordinate."""
    return np.asarray(np.sign(x) * np.maximum(np.abs(x) - threshold, 0), dtype=x.dtype)


def stretch(size: float, limit: float) -> float:
    """The least t ≥ 1 with size / t ≤ limit."""
    if size <= limit:
        return 1.0
    return size / limit if limit > 0 else math.inf


def within(size: float, limit: float, y: Array) -> float:
    """0 if size ≤ limit, else ∞. A norm of y / gauge(y) is off by less than size + 4 roundings, which are forgiven."""
    return 0.0 if size <= limit * (1 + (y.size + 4) * float(np.finfo(y.dtype).eps)) else math.inf


def largest(y: Array) -> float:
    return float(np.max(np.abs(y), initial=0))


@dataclass(frozen=True)
class Zero(Penalty):
    """No penalty: R = 0.

    >>> import numpy as np
    >>> Zero().prox(np.array([1.0, -2.0]), 0.5)
    array([ 1., -2.])
    """

    def value(self, x: Array) -> float:
        return 0.0

    def prox(self, x: Array, step: Step) -> Array:
        positive(self, step)
        return x.copy()

    def support(self, y: Array) -> float:
        return within(largest(y), 0.0, y)

    def gauge(self, y: Array) -> float:
        return stretch(largest(y), 0.0)


@dataclass(frozen=True)
class L1L2(Penalty):
    """R(x) = l1 ‖x‖₁ + l2/2 ‖x‖² (Zou and Hastie, 2005).

    prox = soft(x, step l1) / (1 + step l2), soft(x, t) = sign(x) max(|x| − t, 0); R* = Σ max(|y| − l1, 0)² / (2 l2).

    >>> import numpy as np
    >>> L1L2(l1=1.0, l2=1.0).prox(np.array([3.0, -0.5]), 1.0)
    array([ 1., -0.])
    """

    l1: float
    l2: float

    def __post_init__(self) -> None:
        number(self, "l1", 0)
        number(self, "l2", 0)

    @property
    def strong(self) -> float:
        return self.l2

    def value(self, x: Array) -> float:
        return self.l1 * float(np.abs(x).sum()) + self.l2 / 2 * float(x @ x)

    def prox(self, x: Array, step: Step) -> Array:
        step = positive(self, step)
        return np.asarray(shrunk(x, step * self.l1) / (1 + step * self.l2), dtype=x.dtype)

    def support(self, y: Array) -> float:
        if self.l2 == 0:
            return within(largest(y), self.l1, y)
        beyond = np.maximum(np.abs(y) - self.l1, 0)
        return float(beyond @ beyond) / (2 * self.l2)

    def gauge(self, y: Array) -> float:
        return stretch(largest(y), self.l1) if self.l2 == 0 else 1.0


@dataclass(frozen=True)
class L1(Penalty):
    """R(x) = lam ‖x‖₁. prox = soft(x, step lam); R* is 0 where ‖y‖∞ ≤ lam and ∞ elsewhere.

    >>> import numpy as np
    >>> L1(1.0).prox(np.array([3.0, -0.5]), 2.0)
    array([ 1., -0.])
    """

    lam: float

    def __post_init__(self) -> None:
        number(self, "lam", 0)

    def value(self, x: Array) -> float:
        return self.lam * float(np.abs(x).sum())

    def prox(self, x: Array, step: Step) -> Array:
        return shrunk(x, positive(self, step) * self.lam)

    def support(self, y: Array) -> float:
        return within(largest(y), self.lam, y)

    def gauge(self, y: Array) -> float:
        return stretch(largest(y), self.lam)


@dataclass(frozen=True)
class L2(Penalty):
    """R(x) = lam/2 ‖x‖². prox = x / (1 + step lam); R* = ‖y‖² / (2 lam).

    >>> import numpy as np
    >>> L2(1.0).prox(np.array([3.0, -1.0]), 1.0)
    array([ 1.5, -0.5])
    """

    lam: float

    def __post_init__(self) -> None:
        number(self, "lam", 0)

    @property
    def strong(self) -> float:
        return self.lam

    def value(self, x: Array) -> float:
        return self.lam / 2 * float(x @ x)

    def prox(self, x: Array, step: Step) -> Array:
        return np.asarray(x / (1 + positive(self, step) * self.lam), dtype=x.dtype)

    def support(self, y: Array) -> float:
        return float(y @ y) / (2 * self.lam) if self.lam else within(largest(y), 0.0, y)

    def gauge(self, y: Array) -> float:
        return 1.0 if self.lam else stretch(largest(y), 0.0)


@dataclass(frozen=True, repr=False)
class GroupLasso(Penalty):
    """R(x) = lam Σ_g √|g| ‖x_g‖ (Yuan and Lin, 2006); `groups` has a label for each coordinate.

    prox: x_g max(1 − step lam √|g| / ‖x_g‖, 0); R* is 0 where each ‖y_g‖ ≤ lam √|g| and ∞ elsewhere.

    >>> import numpy as np
    >>> GroupLasso(1.0, groups=["a", "a", "a", "a", "b"]).prox(np.array([4.0, 0.0, 3.0, 0.0, 0.5]), 1.0)
    array([2.4, 0. , 1.8, 0. , 0. ])
    """

    lam: float
    groups: Sequence[Hashable] | npt.NDArray[Any]
    member: npt.NDArray[np.intp] = field(init=False, compare=False)
    limits: Array = field(init=False, compare=False)  # lam √|g|

    def __post_init__(self) -> None:
        number(self, "lam", 0)
        labels = np.asarray(self.groups)
        if labels.ndim != 1 or not len(labels):
            raise ValueError(
                fault(f"GroupLasso(lam={self.lam})", "groups must have one label for each coordinate", labels.shape)
            )
        _, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        object.__setattr__(self, "groups", tuple(labels.tolist()))
        object.__setattr__(self, "member", member)
        object.__setattr__(self, "limits", self.lam * np.sqrt(sizes))

    def __repr__(self) -> str:
        return f"GroupLasso(lam={self.lam}, groups=<{len(self.limits)} groups of {len(self.member)} coordinates>)"

    def norms(self, x: Array) -> Array:
        """‖x_g‖ of each group, in float64."""
        if x.shape != self.member.shape:
            raise ValueError(
                fault(repr(self), "x must have as many coordinates as groups has labels", x.size, "Label all of them.")
            )
        return np.sqrt(np.bincount(self.member, weights=np.square(x, dtype=np.float64)))

    def value(self, x: Array) -> float:
        return float(self.limits @ self.norms(x))

    def prox(self, x: Array, step: Step) -> Array:
        threshold = positive(self, step, separable=False) * self.limits
        norms = self.norms(x)
        kept = np.maximum(1 - np.divide(threshold, norms, out=np.ones_like(norms), where=norms > 0), 0)
        return np.asarray(x * kept[self.member], dtype=x.dtype)

    def support(self, y: Array) -> float:
        return max(within(*pair, y) for pair in zip(self.norms(y), self.limits, strict=True))

    def gauge(self, y: Array) -> float:
        return max(stretch(*pair) for pair in zip(self.norms(y), self.limits, strict=True))


@dataclass(frozen=True)
class Box(Penalty):
    """low ≤ x_j ≤ high for all j, else ∞; a bound may be infinite. prox clips; R* = Σ max{low y_j, high y_j}.

    >>> import numpy as np
    >>> Box(-1.0, 1.0).prox(np.array([3.0, -0.5]), 1.0), Box(-1.0, 1.0).conjugate(np.array([3.0, -0.5]))
    (array([ 1. , -0.5]), 3.5)
    """

    constrains = True

    low: float
    high: float

    def __post_init__(self) -> None:
        number(self, "low", infinite=True)
        number(self, "high", infinite=True)
        if not self.low <= self.high or self.low == math.inf or self.high == -math.inf:
            raise ValueError(fault(repr(self), "there must be numbers from low to high", None, "Exchange the bounds?"))

    def value(self, x: Array) -> float:
        return 0.0 if np.all((x >= self.low) & (x <= self.high)) else math.inf

    def prox(self, x: Array, step: Step) -> Array:
        positive(self, step)
        return np.clip(x, self.low, self.high)

    def support(self, y: Array) -> float:
        up, down = y[y > 0], y[y < 0]  # without the zeros, for which an infinite bound does not matter
        return (self.high * float(up.sum()) if len(up) else 0.0) + (self.low * float(down.sum()) if len(down) else 0.0)

    def gauge(self, y: Array) -> float:
        return 1.0 if self.support(y) < math.inf else math.inf  # the domain is a cone: scaling does not help


@dataclass(frozen=True)
class NonNegative(Penalty):
    """x_j ≥ 0 for all j, else ∞. prox = max(x, 0); R* is 0 where y ≤ 0 and ∞ elsewhere.

    >>> import numpy as np
    >>> NonNegative().prox(np.array([3.0, -0.5]), 1.0)
    array([3., 0.])
    """

    constrains = True

    def value(self, x: Array) -> float:
        return 0.0 if np.all(x >= 0) else math.inf

    def prox(self, x: Array, step: Step) -> Array:
        positive(self, step)
        return np.maximum(x, 0)

    def support(self, y: Array) -> float:
        return 0.0 if np.all(y <= 0) else math.inf

    def gauge(self, y: Array) -> float:
        return 1.0 if np.all(y <= 0) else math.inf  # the domain is a cone: scaling does not help


@dataclass(frozen=True)
class Simplex(Penalty):
    """x ≥ 0 with Σ x_j = radius, else ∞; the sum may be off by d roundings. R* = radius max_j y_j.

    prox = max(x − τ, 0), τ such that the sum is the radius, by one sort (Held, Wolfe, Crowder, 1974).

    >>> import numpy as np
    >>> Simplex().prox(np.array([0.9, 0.5, -1.0]), 1.0)
    array([0.7, 0.3, 0. ])
    """

    constrains = True

    radius: float = 1.0

    def __post_init__(self) -> None:
        number(self, "radius", 0)
        if self.radius == 0:
            raise ValueError(fault(repr(self), "radius must be positive"))

    def value(self, x: Array) -> float:
        off = abs(float(x.sum(dtype=np.float64)) - self.radius)
        return 0.0 if np.all(x >= 0) and off <= x.size * float(np.finfo(x.dtype).eps) * self.radius else math.inf

    def prox(self, x: Array, step: Step) -> Array:
        positive(self, step, separable=False)
        z = x.astype(np.float64) - x.max()  # the answer is the same, and the sums below do not cancel
        down = np.sort(z)[::-1]
        levels = (np.cumsum(down) - self.radius) / np.arange(1, x.size + 1)  # τ, if so many coordinates are positive
        u = np.maximum(z - levels[np.count_nonzero(down > levels) - 1], 0)
        return np.asarray(u * (self.radius / u.sum()), dtype=x.dtype)

    def support(self, y: Array) -> float:
        return self.radius * float(y.max())
