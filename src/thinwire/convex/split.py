"""Who holds which rows: alike, sorted by label, by a Dirichlet draw, or by a column of the user's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thinwire._check import call, fault, one_of

IntArray = npt.NDArray[np.int64]
NAMES = ("even", "shuffled", "label")


@dataclass(frozen=True)
class Dirichlet:
    """Of each class, worker i gets the share p_i, p ~ Dirichlet(alpha, …, alpha): small alpha, unlike workers.

    Shards differ in length; a worker that would have no row gets one from the longest shard.
    Source: Yurochkin et al., "Bayesian nonparametric federated learning" (ICML 2019); Hsu, Qi, Brown (2019) draw
    instead the classes' shares in each worker, and workers are of equal length.

    >>> [len(shard) for shard in split(Dirichlet(0.3), workers=3, rows=12, labels=[0, 1] * 6)]
    [4, 1, 7]
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(
                fault(repr(self), "alpha must be a positive number", None, "0.1 is uneven, 10 nearly even.")
            )


Split = str | Dirichlet | npt.ArrayLike
"""What `split` takes: a name, a Dirichlet draw, or a group for each row."""


def split(
    by: Split,
    workers: int | None,
    rows: int,
    labels: npt.ArrayLike | None = None,
    seed: int = 0,
) -> list[IntArray]:
    """The row numbers of each worker, in increasing order: every row has one worker, and every worker has a row.

    Args:
        by: `"even"`, contiguous, lengths differ by one at most; `"shuffled"`, the same after a permutation; `"label"`,
            the same after a stable sort by label, so that few workers see several classes; `Dirichlet(alpha)`; or a
            group for each row (a column of the data), which makes one worker of each distinct group, in sorted order.
        workers: how many. By groups it may be None, or must be their number.
        rows: how many rows there are.
        labels: one for each row, where `by` looks at them.
        seed: of the permutation or the draw, which depend on nothing else.

    Raises:
        ValueError: a name that is not known, labels missing or of another length, a worker without rows.

    >>> [shard.tolist() for shard in split("label", workers=2, rows=5, labels=[1, 0, 1, 0, 1])]
    [[0, 1, 3], [2, 4]]
    >>> [shard.tolist() for shard in split(["Rome", "Oslo", "Rome"], workers=None, rows=3)]
    [[1], [0, 2]]
    """
    if isinstance(by, str):
        one_of("split(by=…)", "by", by, NAMES)
    elif not isinstance(by, Dirichlet):
        return _by_group(_column("groups", by, rows), workers)
    where = call("split", by=by, workers=workers, rows=rows)
    if workers is None or workers < 1:
        raise ValueError(fault(where, "workers must be at least 1", None, "Only groups may leave it to None."))
    if workers > rows:
        raise ValueError(fault(where, f"worker {rows} would have no rows", None, f"Use workers={rows} or less."))
    rng = np.random.default_rng(seed)
    if by == "even":
        order = np.arange(rows)
    elif by == "shuffled":
        order = rng.permutation(rows)
    elif labels is None:
        raise ValueError(fault(where, "this split looks at labels", None, "Pass labels=, one for each row."))
    elif by == "label":
        order = np.argsort(_column("labels", labels, rows), kind="stable")
    else:
        assert isinstance(by, Dirichlet)
        return _shards(_drawn(by.alpha, workers, _column("labels", labels, rows), rng), workers)
    return [np.sort(part).astype(np.int64) for part in np.array_split(order, workers)]


def _column(name: str, given: npt.ArrayLike, rows: int) -> npt.NDArray[Any]:
    column = np.asarray(given)
    if column.shape != (rows,):
        raise ValueError(fault("split", f"{name} must have shape ({rows},), one for each row", column.shape))
    return column


def _by_group(groups: npt.NDArray[Any], workers: int | None) -> list[IntArray]:
    names, owner = np.unique(groups, return_inverse=True)
    if workers not in (None, len(names)) or not len(names):
        rule = f"groups make one worker each, and there are {len(names)}"
        raise ValueError(fault(call("split", by="<groups>", workers=workers), rule, None, "Use workers=None."))
    return _shards(owner, len(names))


def _shards(owner: npt.NDArray[np.integer[Any]], workers: int) -> list[IntArray]:
    """The rows of each owner."""
    order = np.argsort(owner, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(np.bincount(owner, minlength=workers))[:-1])


def _drawn(alpha: float, workers: int, labels: npt.NDArray[Any], rng: np.random.Generator) -> IntArray:
    """The owner of each row: the rows of a class, in random order, are cut where the shares say."""
    owner = np.empty(len(labels), dtype=np.int64)
    names, classes = np.unique(labels, return_inverse=True)
    for members in map(rng.permutation, _shards(classes, len(names))):
        cuts = np.rint(np.cumsum(rng.dirichlet(np.full(workers, alpha)))[:-1] * len(members)).astype(np.int64)
        owner[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
    lengths = np.bincount(owner, minlength=workers)
    for worker in np.flatnonzero(lengths == 0):
        longest = np.argmax(lengths)
        owner[rng.choice(np.flatnonzero(owner == longest))] = worker
        lengths[longest] -= 1
        lengths[worker] += 1
    return owner
