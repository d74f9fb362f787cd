"""How much of a worker's gradient is signal, noise, or the worker's own: estimated from some steps of all workers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.probing.sample import Sample


@dataclass(frozen=True)
class Estimate:
    """What was found; `Gradients` says what the figures are.

    Args:
        signal: ‖G‖², the mean over the steps. Below 0 by chance where noise hides it.
        share: the part of one worker's ‖g_i‖² that is signal, the mean over the steps.
        share_error: its standard error, from how much it differs from step to step.
        noise: tr Σ of one worker's gradient.
        own: mean_i ‖G_i − G‖², how far workers' gradients lie apart, noise aside. Below 0 by chance where it is small.
        steps: how many counted.
    """

    signal: float
    share: float
    share_error: float
    noise: float
    own: float
    steps: int

    @property
    def heterogeneity(self) -> float:
        """mean_i ‖G_i − G‖² ÷ ‖G‖², at least 0; infinite where there is no signal to compare it with."""
        if self.own <= 0:
            return 0.0
        return self.own / self.signal if self.signal > 0 else inf

    @property
    def clear(self) -> bool:
        """Whether the signal stands out: its share is more than two standard errors above 0."""
        return self.share > 2 * self.share_error


class Scatter:
    """Takes each step's gradients of all workers, and tells signal, noise and heterogeneity apart.

    Worker i's gradient in step t is g_it = G_i + ε_it, where the noise ε has mean 0 and E‖ε‖² = tr Σ, independent
    between workers and steps (fresh batches); G = mean_i G_i. Of ḡ_t = mean_i g_it and δ_it = g_it − ḡ_t let

        M = mean_t ‖ḡ_t‖²,   A = mean_it ‖δ_it‖² = mean_it ‖g_it‖² − M,   B = mean_i ‖mean_t δ_it‖².

    Noise averages out over T steps and what is a worker's own does not: with H = mean_i ‖G_i − G‖²

        E A = H + (1 − 1/n) tr Σ,   E B = H + (1 − 1/n) tr Σ / T,   E M = ‖G‖² + tr Σ / n,

    whence the estimates, each without bias:

        tr Σ = T (A − B) / ((T − 1)(1 − 1/n)),   H = (T B − A) / (T − 1),   ‖G‖² = M − tr Σ / n.

    With H = 0 it is the estimator of two batch sizes, that of one worker and that of all. M and A are of whole
    gradients where their norms are given, and else, as B in any case, of the sample. Limits: G_i moves while weights
    do, and where its part that is a worker's own turns within the T steps, it counts as noise; ‖G‖² is the mean over
    the steps.

    Args:
        sample: which values are given.
        workers: n, at least 2: one worker's gradients do not tell noise from a signal that moves.

    Raises:
        ValueError: fewer than two workers.

    Source: McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training" (2018), appendix A.1, for
    two batch sizes; H and tr Σ by the analysis of variance of one factor at random (Searle, Casella, McCulloch,
    "Variance components", 1992, section 3.6).

    >>> sample = Sample.of({"w": (64, 64)}, 4096)
    >>> scatter, shift = Scatter(sample, 4), torch.randn(4, 4096)  # ‖G_i − G‖² is about ¾ · 4096
    >>> for _ in range(20):
    ...     scatter.add(1 + shift + 2 * torch.randn(4, 4096))
    >>> found = scatter.found()  # tr Σ = 4 · 4096, ‖G‖² = 4096 and a quarter more by the workers' shifts
    >>> abs(found.noise / 4096 - 4) < 0.5, abs(found.own / 4096 - 0.75) < 0.25, abs(found.signal / 4096 - 1.25) < 0.5
    (True, True, True)
    """

    def __init__(self, sample: Sample, workers: int) -> None:
        if workers < 2:
            rule = "with one worker noise cannot be told from a gradient that moves"
            raise ValueError(fault(f"Scatter(workers={workers})", rule, workers, "Run the probe on two or more."))
        self.sample, self.workers = sample, workers
        self._apart: Tensor | None = None
        self._spread: list[tuple[float, float]] = []
        self._means: list[float] = []

    def add(self, gradients: Tensor, *, own: Tensor | None = None, mean: float | None = None) -> None:
        """One step's samples, (n, S). A step that is not finite does not count.

        Args:
            gradients: of all workers, float32.
            own: (n,), ‖g_i‖² of the whole gradients, and `mean`, ‖ḡ‖² of their mean; None where not known.

        Raises:
            ValueError: samples of another shape.
        """
        self.sample.fits("Scatter.add(gradients)", gradients, self.workers)
        known = own is not None and mean is not None
        given = torch.tensor(mean) if mean is not None else torch.zeros(())
        if not bool(gradients.isfinite().all() and given.isfinite() and (own is None or own.isfinite().all())):
            return
        total, squares = self.sample.total, self.sample.squares
        wide = gradients.double()
        average = wide.mean(0)
        apart = wide - average
        spread, middle = total(squares(apart).mean(0)), total(squares(average))
        self._apart = apart if self._apart is None else self._apart + apart
        whole = middle if mean is None else mean
        self._means.append(whole)
        self._spread.append((spread, float(own.double().mean()) - whole if known and own is not None else spread))

    def found(self) -> Estimate:
        """The estimates.

        Raises:
            ValueError: fewer than two steps were finite.
        """
        n, steps = self.workers, len(self._means)
        if steps < 2 or self._apart is None:
            rule = "at least two steps were finite: noise is what differs from one to the next"
            raise ValueError(fault("Scatter.found()", rule, steps, "Train for longer first."))
        sampled, spread = np.array(self._spread).T
        a, means = float(spread.mean()), np.array(self._means)
        b = self.sample.total(self.sample.squares(self._apart / steps).mean(0))
        b *= a / sampled.mean() if a else 0.0  # of the whole gradient, if the part that stays is the sample's
        noise = steps * (a - b) / ((steps - 1) * (1 - 1 / n))
        signals = means - spread * (noise / (n * a) if a else 0.0)  # noise is taken to grow and fall with A
        shares = signals / np.maximum(means + spread, np.finfo(float).tiny)
        return Estimate(
            signal=float(signals.mean()),
            share=float(shares.mean()),
            share_error=float(shares.std(ddof=1) / sqrt(steps)),
            noise=float(noise),
            own=float((steps * b - a) / (steps - 1)),
            steps=steps,
        )
