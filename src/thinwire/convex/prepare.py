"""What must be known, and fit together, before the first round: the same for solving and for predicting."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thinwire._check import fault
from thinwire.comm import Group, LocalGroup
from thinwire.convex.certificate import Examiner
from thinwire.convex.draws import Draws
from thinwire.convex.methods.base import Rule, Run
from thinwire.convex.methods.gradient import Gradient
from thinwire.convex.oracles import Full, Oracle
from thinwire.convex.penalties import Penalty, Zero
from thinwire.convex.problems import FiniteSum
from thinwire.convex.setup import bind, constants
from thinwire.convex.shards import Array
from thinwire.convex.split import Dirichlet, Split
from thinwire.convex.steps import Case
from thinwire.convex.wire import Exact, Traffic
from thinwire.link import Link
from thinwire.spec import parse_link
from thinwire.theory import Plan


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a method and of its setting, as `solve` takes them; None stands for the default."""

    penalty: Penalty | None = None
    link: Link | None = None
    rule: Rule | None = None
    oracle: Oracle | None = None
    step: float | str = "theory"
    workers: int | None = None
    group: Group | None = None
    split: Split = "even"
    x0: Array | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that may begin, its rule, and who examines its iterates."""

    run: Run
    rule: Rule
    examiner: Examiner
    description: str


def prepare(problem: FiniteSum, parts: Parts) -> Prepared:
    """1. All workers agree on the parts. 2. Rows are split. 3. Constants are computed. 4. A theorem is chosen.

    Raises:
        ValueError, PeerError: as `solve`.
    """
    group, split = parts.group, parts.split
    workers = parts.workers
    if workers is not None and (workers < 1 or (group is not None and workers != group.size)):
        wanted = "workers must be at least 1, and with a group as many as it has"
        raise ValueError(fault("solve(workers=…)", wanted, workers, "Leave it out where there is a group."))
    if group is None:
        named = isinstance(split, str | Dirichlet)
        group = LocalGroup(workers or (1 if named else len(np.unique(np.asarray(split)))))
    rule, oracle, penalty = parts.rule or Gradient(), parts.oracle or Full(), parts.penalty or Zero()
    link = (parts.link or parse_link(rule.usual)).bind(group.size)
    facts: dict[str, object] = {
        "rule": rule,
        "oracle": oracle,
        "penalty": penalty,
        "link": link,
        "step": parts.step,
        "seed": parts.seed,
    }
    start = None if parts.x0 is None else hashlib.sha256(np.asarray(parts.x0).tobytes()).hexdigest()
    facts |= {**problem.facts, "x0": start}
    group.agree(facts)
    exact = Exact(group, Traffic())
    objective = bind(problem, group, exact, split, parts.seed)
    found = constants(objective, exact)
    ridge = 0.0 if problem.intercept else problem.l2
    prox = not isinstance(penalty, Zero)
    case = Case(found, link, oracle, objective.d, prox=prox, ridge=ridge, constrained=penalty.constrains)
    plan = stepped(rule.plan(case), parts.step)
    free = objective.outputs * problem.intercept
    features = slice(0, -free) if free else slice(None)
    draws = Draws(parts.seed, group.ranks, found.m, case.probability > 0)
    x = _start(parts.x0, objective.d, problem.data.dtype, penalty, features)
    run = Run(objective, penalty, features, x, case, plan, group, draws, Traffic())
    examiner = Examiner(objective, penalty, features, exact, found.smoothness, found.strong)
    return Prepared(run, rule, examiner, f"{problem!r}, {split!r}, {facts}")


def stepped(plan: Plan, step: float | str) -> Plan:
    """The plan with the user's step: "theory", "theory*8", or γ; other steps than theory's promise no rate."""
    if step == "theory":
        return plan
    factor = 1.0
    if isinstance(step, str):
        name, _, times = step.partition("*")
        try:
            factor = float(times)
        except ValueError:
            factor = 0.0
        if name.strip() != "theory" or not 0 < factor < math.inf:
            raise ValueError(fault("solve(step=…)", 'step must be "theory", "theory*8" or a positive number', step))
        step = factor * plan.step
    if not 0 < step < math.inf:
        raise ValueError(fault("solve(step=…)", "step must be positive and finite", step))
    return replace(plan, step=float(step), rate=None)


def _start(x0: Array | None, d: int, dtype: np.dtype[np.floating[Any]], penalty: Penalty, features: slice) -> Array:
    """x0, or zeros; where the penalty is a constraint that they do not meet, the nearest point that does."""
    x = np.zeros(d, dtype) if x0 is None else np.array(x0, dtype).reshape(-1)
    if x.shape != (d,) or not np.isfinite(x).all():
        raise ValueError(fault("solve(x0=…)", f"x0 must be ({d},) and finite", x.shape))
    if math.isinf(penalty.value(x[features])):
        x[features] = penalty.prox(x[features], 1.0)
    return x
