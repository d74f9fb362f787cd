"""The one loop: rounds of a rule, checked by certificates, until the tolerance is met or there is advice to give."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thinwire._check import call, fault
from thinwire.comm import Group, LocalGroup
from thinwire.compressors import Rotated
from thinwire.convex.certificate import Examiner
from thinwire.convex.checkpoint import Checkpoint
from thinwire.convex.draws import Draws
from thinwire.convex.loop import Callback, Loop
from thinwire.convex.methods.base import Rule, Run
from thinwire.convex.methods.gradient import Gradient
from thinwire.convex.oracles import Full, Oracle
from thinwire.convex.penalties import Penalty, Zero
from thinwire.convex.problems import FiniteSum
from thinwire.convex.setup import bind, constants
from thinwire.convex.shards import Array
from thinwire.convex.solution import Solution
from thinwire.convex.split import Dirichlet, Split
from thinwire.convex.steps import Case
from thinwire.convex.wire import Exact, Traffic
from thinwire.link import Link
from thinwire.presets import diana
from thinwire.theory import Plan


def solve(
    problem: FiniteSum,
    *,
    penalty: Penalty | None = None,
    link: Link | None = None,
    rule: Rule | None = None,
    oracle: Oracle | None = None,
    step: float | str = "theory",
    workers: int | None = None,
    group: Group | None = None,
    split: Split = "even",
    x0: Array | None = None,
    tol: float = 1e-6,
    max_rounds: int = 10_000,
    check_every: int | None = None,
    optimum: float | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    checkpoint: str | Path | None = None,
) -> Solution:
    """Minimise P = f + R, f a finite sum whose rows lie on several workers, who send few bits.

    Done when the certificate's bound of the relative gap, (P(x) − min P) / (P(x⁰) − min P), is at most `tol`; where no
    bound is at hand (no strong convexity, no cheap dual), when the gradient mapping has shrunk by `tol`.

    Args:
        problem: f: on a ProcessGroup, of this process' rows only.
        penalty: R.
        link: what the workers send by; diana(Rotated(bits=1)) by default.
        rule: what the server does; `Gradient()` by default.
        oracle: where the workers' vectors come from; `Full()` by default.
        step: "theory"; "theory*8", so many times theory's; or γ itself.
        workers: how many are simulated in this process, if there is no `group`: 1, or the groups of `split`.
        group: the workers, e.g. ProcessGroup() under torchrun.
        split: how this process' rows are shared out among its workers.
        x0: where to begin, (d,); zeros by default. Where a constraint is not met, the nearest point that meets it.
        tol: as above.
        max_rounds: of communication.
        check_every: rounds between two certificates; by default each 1/40 of the rounds so far, which costs little.
        optimum: min P, if it is known: then `tol` is met when P(x) itself is so near.
        seed: of all randomness.
        callback: called with each checked moment and its x; a true answer stops the run.
        checkpoint: a file for the state, one for each rank ("run-{rank}.pt"), written at each certificate; if it is
            there, the run goes on from it.

    Returns:
        The solution; its `status` says whether it converged, and what to do if not.

    Raises:
        ValueError: the parts do not fit each other or the problem; always before the first round.
        PeerError: the workers differ, or one is gone.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> solution = tw.solve(tw.LogisticLoss(A, b, l2=0.1), link=tw.diana(tw.Ternary()), workers=10, tol=1e-10)
    >>> solution.status.name, bool(solution.certificate.gap < 1e-11)
    ('CONVERGED', True)
    """
    where = call("solve", tol=tol, max_rounds=max_rounds)
    if not tol > 0 or max_rounds < 1 or (check_every is not None and check_every < 1):
        raise ValueError(fault(where, "tol must be positive, max_rounds and check_every at least 1"))
    if group is None:
        group = LocalGroup(workers or (1 if isinstance(split, str | Dirichlet) else len(np.unique(np.asarray(split)))))
    checks, traffic, kept = Traffic(), Traffic(), None
    rule, oracle, penalty = rule or Gradient(), oracle or Full(), penalty or Zero()
    link = (link or diana(Rotated(bits=1))).bind(group.size)
    exact = Exact(group, checks)
    group.agree({"rule": rule, "oracle": oracle, "penalty": penalty, "link": link, "step": step, "seed": seed})
    objective, _ = bind(problem, group, exact, split, seed)
    found = constants(objective, exact)
    case = Case(
        found, link, oracle, objective.d, prox=not isinstance(penalty, Zero), ridge=problem.l2 * (not problem.intercept)
    )
    plan = stepped(rule.plan(case), step)
    link_flips = link.recursion(objective.d, group.size).p > 0
    free = objective.outputs * problem.intercept
    features = slice(0, -free) if free else slice(None)
    run = Run(
        objective,
        penalty,
        features,
        _start(x0, objective.d, problem.data.dtype, penalty, features),
        case,
        plan,
        group,
        Draws(seed, group.ranks, found.m, link_flips),
        traffic,
    )
    if checkpoint is not None:
        parts = f"{problem!r} {penalty} {link} {rule} {oracle} {step} {seed} {split!r}"
        kept = Checkpoint(checkpoint, group, exact, parts)
    examiner = Examiner(objective, penalty, features, exact, found.smoothness, found.strong)
    loop = Loop(run, rule, rule.start(run), examiner, tol, check_every, optimum, callback, kept)
    status = loop(max_rounds)
    return Solution(
        loop.method.x,
        status,
        loop.certificate,
        loop.history[-1].round,
        traffic.up,
        traffic.down,
        traffic.sent,
        checks.up,
        loop.seconds,
        plan,
        tuple(loop.history),
        optimum,
    )


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
