"""What a theorem asks, the constants of the problem, and what it answers, a plan: a step size and a rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from thinwire._check import fault


@dataclass(frozen=True)
class Constants:
    """The constants of f = (1/n) Σ f_i, f_i = (1/m) Σ_j f_ij, that theorems read.

    `smoothness` is L of f; `workers` are the L_i of f_1 … f_n; `samples` is 𝓛, the largest L_ij of a single sample;
    `strong` is μ: of strong convexity if `convex`, else of the Polyak–Łojasiewicz inequality (0: none); `m` is the
    largest number of samples that a worker holds. A ridge belongs to every f_ij, with its share of L, L_i and 𝓛: most
    theorems want μ there, and not in the penalty. ValueError if a constant is not positive and finite, or μ > L.

    >>> c = Constants(smoothness=1.0, workers=(1.0, 2.0), samples=3.0, strong=0.1, m=50)
    >>> c.n, c.largest, c.mean, c.regime
    (2, 2.0, 1.5, 'strongly convex')
    """

    smoothness: float
    workers: tuple[float, ...]
    samples: float
    strong: float
    m: int
    convex: bool = True

    def __post_init__(self) -> None:
        if not self.workers or self.m < 1:
            raise ValueError(fault("Constants", "there must be a worker and a sample", (self.workers, self.m)))
        for name, value in (("smoothness", self.smoothness), ("workers", min(self.workers)), ("samples", self.samples)):
            if not 0 < value < math.inf:
                way_out = "Leave out data that is zero everywhere, or add a ridge."
                raise ValueError(fault(f"Constants({name}=…)", "must be positive and finite", value, way_out))
        if not 0 <= self.strong <= self.smoothness * (1 + 1e-9):  # both are computed, and may be equal
            way_out = "Count a strongly convex penalty as part of every loss, in L and L_i too."
            raise ValueError(fault("Constants(strong=…)", "μ must be 0 to L", self.strong, way_out))

    @property
    def n(self) -> int:
        """The number of workers."""
        return len(self.workers)

    @property
    def largest(self) -> float:
        """L_max = max L_i."""
        return max(self.workers)

    @property
    def l_tilde(self) -> float:
        """L̃ = √mean L_i²."""
        return math.sqrt(sum(L * L for L in self.workers) / self.n)

    @property
    def mean(self) -> float:
        """mean L_i."""
        return sum(self.workers) / self.n

    @property
    def kappa(self) -> float:
        """κ = L / μ."""
        return self.smoothness / self.strong if self.strong else math.inf

    @property
    def regime(self) -> str:
        """strongly convex, convex, PL or nonconvex."""
        if self.convex:
            return "strongly convex" if self.strong > 0 else "convex"
        return "PL" if self.strong > 0 else "nonconvex"


@dataclass(frozen=True)
class Plan:
    """What a theorem fixes and promises.

    `theorem` names it; `step` is γ; `rate` is ρ: a Lyapunov function falls by 1 − ρ in a communication round, in
    expectation (None: no linear rate is promised). `more` is what else it fixes, by name: `lam` (λ, the step of the
    shifts), `p`, `a`, `theta1` …; `floor`: it converges to a neighbourhood only; `prox`: it allows a penalty.

    >>> gradient = Plan("gradient descent", "strongly convex", step=0.2, rate=0.1)
    >>> round(gradient.rounds(1e-4))
    87
    """

    theorem: str
    regime: str
    step: float
    rate: float | None
    more: Mapping[str, float] = field(default_factory=dict)
    floor: bool = False
    prox: bool = False

    def rounds(self, accuracy: float) -> float | None:
        """ln(accuracy) / ln(1 − ρ): the rounds until the Lyapunov function has fallen by `accuracy`; None: no rate.

        At most ln(1 / accuracy) / ρ, as papers have it. ValueError unless 0 < accuracy < 1.
        """
        if not 0 < accuracy < 1:
            raise ValueError(fault("Plan.rounds(accuracy=…)", "must be above 0 and below 1", accuracy))
        if self.rate is None or self.rate >= 1:
            return None if self.rate is None else 1.0
        return math.log(accuracy) / math.log1p(-self.rate)
