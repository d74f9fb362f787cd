"""A small problem to run rules on: their iterates, what their twins are given, and what must hold of every rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import thinwire as tw
from thinwire.convex.draws import METHOD
from thinwire.convex.objective import Objective
from thinwire.convex.setup import bind
from thinwire.convex.wire import Exact, Traffic
from thinwire.keys import Purpose

from ..comm.ranks import run_ranks

Array = np.ndarray[Any, np.dtype[np.float64]]
SEED = 11
NEVER = 1e-300
"""A tolerance that no run meets."""


@dataclass(frozen=True)
class Small:
    """A problem, its penalty and its workers."""

    problem: tw.FiniteSum
    n: int = 5
    penalty: tw.Penalty = field(default_factory=tw.Zero)

    @cached_property
    def objective(self) -> Objective:
        group = tw.LocalGroup(self.n)
        return bind(self.problem, group, Exact(group, Traffic()))

    @property
    def start(self) -> Array:
        return np.zeros(self.objective.d)

    def grads(self, x: Array) -> Array:
        return self.objective.gradients(x)

    def prox(self, x: Array, step: float) -> Array:
        return self.penalty.prox(x, step)

    def run(self, rule: Any, link: tw.Link, rounds: int, **more: Any) -> tuple[list[Array], Any]:
        """x^1, x^2, … and the solution."""
        xs: list[Array] = []
        settings = {"workers": self.n, "seed": SEED, "tol": NEVER, "check_every": 1, "max_rounds": rounds}
        solution = tw.solve(
            self.problem,
            penalty=self.penalty,
            link=link,
            rule=rule,
            callback=lambda _, x: xs.append(x.copy()),
            **{**settings, **more},
        )
        return xs[1:], solution  # the first is where it began

    def messages(self, C: tw.Compressor, steps: Callable[[int], int] = int) -> Callable[[Array, int], Array]:
        """decode(encode(x)) of all workers under the keys of step `steps(k)`."""
        bound = C.bind(self.n)

        def said(x: Array, k: int) -> Array:
            key = tw.Key(SEED, steps(k), 0, range(self.n))
            return bound.decode(bound.encode(torch.from_numpy(x), key)).double().numpy()

        return said


def logistic(l2: float = 0.1, n: int = 5, penalty: tw.Penalty | None = None) -> Small:
    """Workers whose features have means of their own; a tenth of the labels is wrong, so that no plane divides them."""
    rng = np.random.default_rng(1)
    A = rng.normal(size=(12 * n, 8)) + rng.normal(size=(n, 8)).repeat(12, axis=0)
    b = (A @ rng.normal(size=8) > 0) ^ (np.arange(12 * n) % 10 == 0)
    return Small(tw.LogisticLoss(A, b, l2=l2), n, penalty or tw.Zero())


def ridge(l2: float = 0.2, n: int = 5) -> Small:
    """Features of unlike scale: κ is some 50."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(12 * n, 8)) * np.linspace(0.3, 3, 8)
    return Small(tw.SquaredLoss(A, rng.normal(size=12 * n), l2=l2), n)


def downlink(C: tw.Compressor) -> Callable[[Array, int], Array]:
    """What the workers read of a server's x in round k."""

    def said(x: Array, k: int) -> Array:
        key = tw.Key(SEED, k, 1).child()
        return C.decode(C.encode(torch.from_numpy(x[None]), key))[0].double().numpy()

    return said


def coin(k: int) -> float:
    return tw.Key(SEED, k, METHOD).uniform(Purpose.COIN)


def same_on_three_ranks(rule: Any, link: tw.Link, rounds: int = 12) -> None:
    """Three ranks with their own rows, and one process with all of them, go through the same bits."""
    small = logistic(n=3)
    data, targets, l2 = small.problem.data, small.problem.targets, small.problem.l2
    parts = np.array_split(np.arange(len(targets)), 3)

    def work(group: tw.ProcessGroup) -> Any:
        mine = parts[group.ranks.start]
        problem = tw.LogisticLoss(data[mine], targets[mine], l2=l2)
        return tw.solve(problem, link=link, rule=rule, group=group, seed=SEED, tol=NEVER, max_rounds=rounds)

    alone = small.run(rule, link, rounds)[1]
    for found in run_ranks(3, work):
        assert np.array_equal(found.x, alone.x)
        assert (found.bytes_up, found.bytes_down) == (alone.bytes_up, alone.bytes_down)


def resumes_bitwise(small: Small, rule: Any, link: tw.Link, path: Path, rounds: int = 16) -> None:
    """A run that was cut in two ends where the whole one does, with the same bytes."""
    whole = small.run(rule, link, rounds, check_every=rounds)[1]
    first = partial(small.run, rule, link, checkpoint=path / "run.pt", check_every=rounds // 4)
    first(rounds // 2)
    again = first(rounds)[1]
    assert again.rounds == whole.rounds == rounds
    assert np.array_equal(again.x, whole.x)
    assert (again.bytes_up, again.bytes_down) == (whole.bytes_up, whole.bytes_down)


def keeps_float32(rule: Any, link: tw.Link) -> None:
    """Data in float32 make a run in float32, which comes near the run in float64."""
    wide = logistic()
    A, b, l2 = wide.problem.data.astype(np.float32), wide.problem.targets, wide.problem.l2
    narrow = Small(tw.LogisticLoss(A, b, l2=l2), wide.n)
    xs, exact = narrow.run(rule, link, 12)[0], wide.run(rule, link, 12)[0]
    assert all(x.dtype == np.float32 for x in xs)
    assert np.abs(xs[0] - exact[0]).max() <= 1e-5 * np.abs(exact[0]).max()  # later rounds may round another way


def contracts(rule: Any, link: tw.Link, rounds: int, seeds: int = 2) -> None:
    """Over the last two thirds, ‖x − x*‖² falls at least as fast as the plan says the Lyapunov function does.

    Which holds ‖x − x*‖² and so, over a long window, cannot fall more slowly: what is compared is the mean slope of the
    logarithms. x⁰ − x* is along the Hessian's least eigenvalue, where it is slowest; the window ends above rounding.
    """
    small, slopes = ridge(), []
    A, b = small.problem.data, small.problem.targets
    hessian = A.T @ A / len(b) + small.problem.l2 * np.eye(A.shape[1])
    optimum, slow = np.linalg.solve(hessian, A.T @ b / len(b)), np.linalg.eigh(hessian).eigenvectors[:, 0]
    for seed in range(seeds):
        xs, solution = small.run(rule, link, rounds, seed=seed, check_every=rounds // 3, x0=optimum + slow)
        third, _, end = (float(np.sum((x - optimum) ** 2)) for x in xs)
        assert end > 1e-24
        slopes.append(np.log(end / third) / (rounds - rounds // 3))
    assert solution.plan.rate is not None
    assert np.mean(slopes) <= np.log1p(-solution.plan.rate)
