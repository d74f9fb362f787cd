"""From a problem and a group to what a run needs: agreed facts, this process' shards, and the constants of theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from thinwire._check import fault
from thinwire.comm import Group, PeerError
from thinwire.convex.losses import Squared
from thinwire.convex.objective import Objective
from thinwire.convex.problems import FiniteSum
from thinwire.convex.shards import Array, shards_of
from thinwire.convex.spectrum import largest, smallest
from thinwire.convex.split import Split, split
from thinwire.convex.wire import Exact
from thinwire.theory import Constants


def bind(problem: FiniteSum, group: Group, exact: Exact, by: Split = "even", seed: int = 0) -> Objective:
    """The objective of this process' workers.

    1. The rows are split over the workers that this process holds. 2. Columns and counts of all are gathered: columns
    must be the same. 3. So are the classes, which are numbered over all ranks.

    Raises:
        ValueError: an empty shard, more workers than rows, one class only.
        PeerError: the ranks' data have different columns.
    """
    rows = len(group.ranks)
    order = split(by, rows, problem.data.shape[0], problem.targets, seed)
    counts = np.array([len(part) for part in order])
    facts = exact.all(np.stack([counts, np.full(rows, problem.data.shape[1])], axis=1).astype(float)).astype(np.int64)
    columns = facts[:, 1]
    if (columns != columns[0]).any():
        rank = int(np.argmax(columns != columns[0]))
        rule = f"all ranks' data have the same columns; rank 0 has {columns[0]}, rank {rank} has {columns[rank]}"
        raise PeerError(fault(repr(problem), rule, None, "Read sparse files with features=…"))
    classes = _classes(problem, exact, rows) if problem.loss.classes else []
    index, bounds = np.concatenate(order), np.concatenate([[0], np.cumsum(counts)])
    dtype = problem.data.dtype
    outputs = len(classes) if problem.loss.several else 1
    weights = np.ones(problem.data.shape[1], dtype)
    weights[problem.data.shape[1] - problem.intercept :] = 0
    each = np.repeat(weights, outputs)
    samples = int(facts[:, 0].sum())
    data = problem.data[index]
    return Objective(
        problem.loss,
        shards_of(data if sp.issparse(data) else np.ascontiguousarray(data), bounds),
        _encoded(problem, classes)[index],
        np.full(rows, group.size / samples, dtype),
        outputs,
        (problem.l2 * each).astype(dtype),
        (problem.nonconvex * each).astype(dtype) if problem.nonconvex else None,
    )


def _classes(problem: FiniteSum, exact: Exact, rows: int) -> list[Any]:
    """All classes of all ranks, in order."""
    mine = np.unique(problem.targets)
    found = list(mine) if exact.group.size == rows else _gathered(problem, exact, rows, mine)
    several = problem.loss.several
    if len(found) < 2 or (len(found) > 2 and not several):
        rule = "the targets must be of two classes or more" if several else "the targets must be of two classes"
        way_out = "Use SoftmaxLoss." if len(found) > 2 else ""
        raise ValueError(fault(repr(problem), rule, f"{len(found)}: {', '.join(map(str, found[:5]))}", way_out))
    return found


def _gathered(problem: FiniteSum, exact: Exact, rows: int, mine: Array) -> list[Any]:
    if mine.dtype.kind not in "fiub":
        raise ValueError(fault(repr(problem), "across processes the classes must be numbers", str(mine.dtype)))
    width = int(exact.all(np.full((rows, 1), float(len(mine)))).max())
    padded = np.full((rows, width), np.nan)
    padded[:, : len(mine)] = mine
    everyone = exact.all(padded)
    return list(np.unique(everyone[np.isfinite(everyone)]).astype(mine.dtype))


def _encoded(problem: FiniteSum, classes: list[Any]) -> Array:
    """Targets as the loss reads them: ±1 for two classes and one output, otherwise the class' number."""
    dtype = problem.data.dtype
    if not problem.loss.classes:
        return problem.targets
    numbers = np.searchsorted(np.asarray(classes), problem.targets)
    return (numbers if problem.loss.several else 2 * numbers - 1).astype(dtype)


def constants(f: Objective, exact: Exact) -> Constants:
    """L of f, L_i of every f_i, the largest L_ij of a sample, and μ.

    L and L_i are the largest eigenvalues, by Lanczos, of φ''_max · c_i A_iᵀA_i + diag(ridge), which bounds the Hessian
    (and is it, for the squared loss). μ is what the loss is sure to have: l2, and for the squared loss the least
    eigenvalue. With K outputs the bound acts on each output alike, so that one of them is enough.
    """
    one = replace(f, loss=Squared(), outputs=1, ridge=f.ridge[:: f.outputs])
    extra = one.ridge + (2 * f.nonconvex[:: f.outputs] if f.nonconvex is not None else 0)

    def own(v: Array) -> Array:
        return f.loss.curvature * one.back(one.margins(v)) + extra * v

    def mean(v: Array, curvature: float) -> Array:
        return curvature * np.stack([exact.mean(one.back(one.margins(row))) for row in v]) + extra * v

    def top_of(apply: Operator) -> float:
        return float(largest(apply, 1, one.d)[0])

    top = _led(exact, one.d, lambda v: mean(v, f.loss.curvature), top_of)
    squares = np.maximum.reduceat(f.shards.squares(), f.shards.bounds[:-1])
    samples = f.loss.curvature * f.scale * f.shards.counts * squares + extra.max()
    facts = exact.all(np.stack([largest(own, f.rows, one.d), samples, f.shards.counts.astype(float)], axis=1))
    strong = float(one.ridge.min()) if f.nonconvex is None else 0.0
    if f.loss.least:
        least = _led(exact, one.d, lambda v: mean(v, f.loss.least), lambda apply: smallest(apply, one.d, top))
        strong = max(strong, least)
    return Constants(
        smoothness=top,
        workers=tuple(float(value) for value in facts[:, 0]),
        samples=float(facts[:, 1].max()),
        strong=strong,
        m=int(facts[:, 2].max()),
        convex=f.nonconvex is None,
    )


Operator = Callable[[Array], Array]


def _led(exact: Exact, d: int, apply: Operator, find: Callable[[Operator], float]) -> float:
    """find(apply), as the process of rank 0 does it; the others apply what it applies, and hear what it found.

    Unlike machines round unlike: left to themselves they would ask for other vectors, or for fewer.
    """
    if exact.group.ranks.start:
        while (told := exact.first(np.zeros(d + 1)))[0]:
            apply(told[None, 1:])
        return float(exact.first([0.0])[0])

    def announced(v: Array) -> Array:
        return np.concatenate([apply(exact.first([1.0, *row])[None, 1:]) for row in v])

    try:
        found = find(announced)
    finally:
        exact.first(np.zeros(d + 1))
    return float(exact.first([found])[0])
