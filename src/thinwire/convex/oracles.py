"""Where the workers' vectors come from: full gradients, minibatches, and estimates that forget their variance.

An oracle is a frozen description; `start` makes the source of a run, which holds what the oracle remembers. Every draw
is a function of (seed, round, rank), so that it does not matter which process holds a worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from thinwire._check import call, fault
from thinwire.convex.draws import Draws
from thinwire.convex.objective import Objective
from thinwire.convex.shards import Array

Record = dict[str, Any]
"""What a part of a run remembers, by name: arrays, numbers, and records."""


class Source(ABC):
    """One run's gradients."""

    objective: Objective

    @abstractmethod
    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        """(rows, d): each worker's estimate of ∇f_i(x) in round k; `dense`: the link sends it whole."""

    @abstractmethod
    def state_dict(self) -> Record:
        """What is remembered."""

    @abstractmethod
    def load_state_dict(self, state: Record) -> None:
        """Go on from there."""


class _Forgetful(Source):
    """A source that remembers nothing."""

    def state_dict(self) -> Record:
        return {}

    def load_state_dict(self, state: Record) -> None:
        pass


class Oracle(ABC):
    """How gradients are estimated.

    >>> import thinwire as tw
    >>> tw.LSVRG(batch=8)
    LSVRG(batch=8, p=None)
    """

    batch: int | None = None
    p: float | None = None
    family: str
    """What theorems know it by: full, minibatch, reduced (its variance vanishes at the optimum), page."""

    @abstractmethod
    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        """The source of a run that begins at x."""

    def renewal(self, m: int) -> float:
        """The probability that what is remembered of a sample is renewed in a round, of m samples a worker."""
        return 1.0


def _checked(oracle: Oracle, **arguments: Any) -> None:
    where = call(type(oracle).__name__, **arguments)
    batch, p = arguments["batch"], arguments.get("p")
    if not batch >= 1:
        raise ValueError(fault(where, "batch must be at least 1", batch))
    if p is not None and not 0 < p <= 1:
        raise ValueError(fault(where, "p must be in (0, 1]", p))


@dataclass(frozen=True)
class Full(Oracle):
    """v_i = ∇f_i(x).

    >>> import thinwire as tw
    >>> tw.Full()
    Full()
    """

    family = "full"

    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        return _Full(objective)


@dataclass
class _Full(_Forgetful):
    objective: Objective

    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        return self.objective.gradients(x)


@dataclass(frozen=True)
class Minibatch(Oracle):
    """v_i = the gradient of `batch` samples, drawn with replacement: its variance stays, and leaves a floor.

    Source: SGD-DIANA, Mishchenko et al. (2019).

    >>> import thinwire as tw
    >>> tw.Minibatch(batch=16)
    Minibatch(batch=16)
    """

    batch: int = 1
    family = "minibatch"

    def __post_init__(self) -> None:
        _checked(self, batch=self.batch)

    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        return _Minibatch(objective, self.batch, draws)


@dataclass
class _Minibatch(_Forgetful):
    objective: Objective
    batch: int
    draws: Draws

    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        return self.objective.picked(self.draws.samples(k, self.objective.shards.counts, self.batch)).gradients(x)


@dataclass(frozen=True)
class LSVRG(Oracle):
    """v_i = ∇f_iS(x) − ∇f_iS(w) + ∇f_i(w); with probability p, one coin for all, then w ← x.

    S is a minibatch; p is batch / m by default, m the samples of the largest shard. With `diana` it is VR-DIANA.
    Source: Kovalev, Horváth, Richtárik, "L-SVRG" (ALT 2020); Horváth et al., "VR-DIANA" (2019), algorithm 1.

    >>> import thinwire as tw
    >>> tw.LSVRG()
    LSVRG(batch=1, p=None)
    """

    batch: int = 1
    p: float | None = None
    family = "reduced"

    def __post_init__(self) -> None:
        _checked(self, batch=self.batch, p=self.p)

    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        return _LSVRG(objective, self.batch, self.renewal(draws.largest), draws, x)

    def renewal(self, m: int) -> float:
        return self.p if self.p is not None else min(1.0, self.batch / m)


class _LSVRG(Source):
    def __init__(self, objective: Objective, batch: int, p: float, draws: Draws, x: Array) -> None:
        self.objective, self.batch, self.p, self.draws = objective, batch, p, draws
        self._anchor(x)

    def _anchor(self, w: Array) -> None:
        self.w, self.mean = w.copy(), self.objective.data_gradients(w)

    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        some = self.objective.picked(self.draws.samples(k, self.objective.shards.counts, self.batch))
        slopes = some.loss.slope(some.margins(x), some.y) - some.loss.slope(some.margins(self.w), some.y)
        made = some.back(slopes) + self.mean + self.objective.pull(x)
        if self.draws.coin(k) < self.p:
            self._anchor(x)
        return made

    def state_dict(self) -> Record:
        return {"w": self.w}

    def load_state_dict(self, state: Record) -> None:
        self._anchor(state["w"])


@dataclass(frozen=True)
class SAGA(Oracle):
    """v_i = mean_S(∇f_ij(x) − table_ij) + mean_j table_ij; then the table holds ∇f_ij(x) for j in S.

    For linear models the table is one slope a sample (K of them with K outputs). With `diana` it is VR-DIANA.
    Source: Defazio, Bach, Lacoste-Julien, "SAGA" (NeurIPS 2014); Horváth et al., "VR-DIANA" (2019).

    >>> import thinwire as tw
    >>> tw.SAGA(batch=4)
    SAGA(batch=4)
    """

    batch: int = 1
    family = "reduced"

    def __post_init__(self) -> None:
        _checked(self, batch=self.batch)

    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        return _SAGA(objective, self.batch, draws, x)

    def renewal(self, m: int) -> float:
        return 1 - (1 - 1 / m) ** self.batch


class _SAGA(Source):
    def __init__(self, objective: Objective, batch: int, draws: Draws, x: Array) -> None:
        self.objective, self.batch, self.draws = objective, batch, draws
        self.table = objective.loss.slope(objective.margins(x), objective.y)
        self.mean = objective.back(self.table)

    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        objective = self.objective
        picks = self.draws.samples(k, objective.shards.counts, self.batch)
        some, rows = objective.picked(picks), (picks + objective.shards.bounds[:-1, None]).reshape(-1)
        fresh = some.loss.slope(some.margins(x), some.y)
        made = some.back(fresh - self.table[rows]) + self.mean + objective.pull(x)
        self._learn(some, rows, fresh)
        return made

    def _learn(self, some: Objective, rows: Any, fresh: Array) -> None:
        """A sample that was drawn twice enters the mean once: with the difference that the table sees."""
        _, first = np.unique(rows, return_index=True)
        once = np.zeros(len(rows), bool)
        once[first] = True
        change = np.where(once if fresh.ndim == 1 else once[:, None], fresh - self.table[rows], 0)
        counts = self.objective.shards.counts.astype(self.mean.dtype)
        self.mean += some.back(change) * (self.batch / counts)[:, None]
        self.table[rows] = fresh

    def state_dict(self) -> Record:
        return {"table": self.table.copy(), "mean": self.mean.copy()}  # both change in place

    def load_state_dict(self, state: Record) -> None:
        self.table, self.mean = state["table"].copy(), state["mean"].copy()


@dataclass(frozen=True)
class PAGE(Oracle):
    """v_i ← ∇f_i(x) with probability p, one coin for all; otherwise v_i + ∇f_iS(x) − ∇f_iS(x_prev).

    p is batch / (m + batch) by default. With `dasha` it is DASHA-PAGE; with `marina`, whose dense rounds are the coin,
    VR-MARINA. Source: Li, Bao, Zhang, Richtárik, "PAGE" (ICML 2021); MARINA (ICML 2021), DASHA (ICLR 2023).

    >>> import thinwire as tw
    >>> tw.PAGE(batch=32)
    PAGE(batch=32, p=None)
    """

    batch: int = 1
    p: float | None = None
    family = "page"

    def __post_init__(self) -> None:
        _checked(self, batch=self.batch, p=self.p)

    def start(self, objective: Objective, x: Array, draws: Draws) -> Source:
        p = self.p if self.p is not None else self.batch / (draws.largest + self.batch)
        return _PAGE(objective, self.batch, 0.0 if draws.link_flips else p, draws)


@dataclass
class _PAGE(Source):
    objective: Objective
    batch: int
    p: float
    draws: Draws
    x: Array | None = None
    v: Array | None = None

    def gradients(self, x: Array, k: int, dense: bool = False) -> Array:
        if self.v is None or self.x is None or dense or self.draws.coin(k) < self.p:
            self.v = self.objective.gradients(x)
        else:
            some = self.objective.picked(self.draws.samples(k, self.objective.shards.counts, self.batch))
            self.v = self.v + (some.gradients(x) - some.gradients(self.x))
        self.x = x.copy()
        return self.v

    def state_dict(self) -> Record:
        return {"x": self.x, "v": self.v}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.v = state["x"], state["v"]
