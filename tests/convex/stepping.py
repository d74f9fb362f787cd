"""A rule at work outside of the loop, round by round, so that tests see what it remembers; and small problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import thinwire as tw
from thinwire.convex.draws import Draws
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.objective import Objective
from thinwire.convex.prepare import stepped
from thinwire.convex.setup import bind, constants
from thinwire.convex.steps import Case
from thinwire.convex.wire import Exact, Traffic
from thinwire.theory import Constants, Plan

Array = npt.NDArray[np.float64]
SEED = 3


@cache
def problem(kind: str = "logistic", rows: int = 60, d: int = 8, l2: float = 0.02, seed: int = 0) -> Any:
    """A ridge or a logistic regression whose columns have quite different scales, and whose shards differ in length."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(rows, d)) / 1.5 ** np.arange(d)
    if kind == "ridge":
        return tw.SquaredLoss(A, A @ rng.normal(size=d) + rng.normal(size=rows), l2=l2)
    return tw.LogisticLoss(A, A @ rng.normal(size=d) + rng.normal(size=rows) > 0, l2=l2)


@cache
def bound(problem: Any, workers: int) -> tuple[Objective, Constants]:
    """What `solve` knows of a problem before its first round."""
    exact = Exact(tw.LocalGroup(workers), Traffic())
    objective = bind(problem, exact.group, exact)
    return objective, constants(objective, exact)


def begin(
    problem: Any,
    rule: Rule,
    link: tw.Link,
    workers: int = 5,
    *,
    penalty: tw.Penalty | None = None,
    oracle: tw.Oracle | None = None,
    step: float | str = "theory",
    seed: int = SEED,
    plan: Plan | None = None,
) -> tuple[Any, Run]:
    """The method of a run as `solve` begins it, and the run; with another plan if one is given."""
    group, penalty, oracle = tw.LocalGroup(workers), penalty or tw.Zero(), oracle or tw.Full()
    (objective, found), link = bound(problem, workers), link.bind(workers)
    prox = not isinstance(penalty, tw.Zero)
    case = Case(found, link, oracle, objective.d, prox=prox, ridge=problem.l2)
    draws = Draws(seed, group.ranks, found.m, link.recursion(objective.d, workers).p > 0)
    plan = stepped(plan or rule.plan(case), step)
    x = np.zeros(objective.d, problem.data.dtype)
    run = Run(objective, penalty, slice(None), x, case, plan, group, draws, Traffic())
    return rule.start(run), run


def rounds(method: Method, count: int, first: int = 0) -> list[Array]:
    """x after each of `count` rounds."""
    xs = []
    for k in range(first, first + count):
        method.round(k)
        xs.append(np.array(method.x))
    return xs


def compress(compressor: tw.Compressor, n: int, x: Array, k: int) -> Array:
    """decode(encode(x)) under the keys of round k."""
    bound, key = compressor.bind(n), tw.Key(SEED, k, 0, range(n))
    return bound.decode(bound.encode(torch.from_numpy(np.ascontiguousarray(x)), key)).double().numpy()


def optimum(run: Run) -> Array:
    """argmin P, by proximal gradient steps until they no longer move."""
    x, step = run.x.astype(float), 1 / run.case.constants.smoothness
    for _ in range(100_000):
        new = run.penalty.prox(x - step * run.objective.gradients(x).mean(0), step)
        if np.abs(new - x).max() <= 1e-16 * np.abs(new).max():
            break
        x = new
    return x


def changed(plan: Plan, **more: float) -> Plan:
    """The plan with other numbers."""
    return replace(plan, more={**plan.more, **more})


def assert_same_state(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Bit for bit, whatever is nested in it."""
    assert set(one) == set(other)
    for name, value in one.items():
        if isinstance(value, Mapping):
            assert_same_state(value, other[name])
        else:
            np.testing.assert_array_equal(np.asarray(value), np.asarray(other[name]), err_msg=name)


def assert_resumes(make: Any, before: int = 6, after: int = 6) -> None:
    """A second method that loads the first one's state goes on with the same bits, and the first one is unharmed."""
    straight, broken, resumed = make(), make(), make()
    xs = rounds(straight, before + after)
    rounds(broken, before)
    state = broken.state_dict()
    rounds(broken, after, before)
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(rounds(resumed, after, before), xs[before:])
    np.testing.assert_array_equal(broken.x, straight.x)
    assert_same_state(resumed.state_dict(), straight.state_dict())
