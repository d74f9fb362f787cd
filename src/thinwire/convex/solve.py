"""The front door: solve, and what theory promises before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from thinwire._check import call, fault
from thinwire.comm import Group
from thinwire.convex.checkpoint import Checkpoint
from thinwire.convex.loop import Callback, Loop
from thinwire.convex.methods.base import Rule
from thinwire.convex.oracles import Oracle
from thinwire.convex.penalties import Penalty
from thinwire.convex.prepare import Parts, prepare
from thinwire.convex.problems import FiniteSum
from thinwire.convex.shards import Array
from thinwire.convex.solution import Solution
from thinwire.convex.split import Split
from thinwire.link import Link
from thinwire.theory import Constants, Plan


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
    seed: int = 0,
    tol: float = 1e-6,
    max_rounds: int = 10_000,
    check_every: int | None = None,
    optimum: float | None = None,
    callback: Callback | None = None,
    checkpoint: str | Path | None = None,
) -> Solution:
    """Minimise P = f + R, f a finite sum whose rows lie on several workers, who send few bits.

    Done when the certificate's bound of the relative gap, (P(x) − min P) / (P(x⁰) − min P), is at most `tol`; where no
    bound is at hand (no strong convexity, no cheap dual), when the gradient mapping has shrunk by `tol`.

    Args:
        problem: f: on a ProcessGroup, of this process' rows only.
        penalty: R.
        link: what the workers send by; by default the rule's `usual` one, for most diana(Rotated(bits=1)).
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
        callback: called with each checked moment, the first too, and its x; a true answer stops the run.
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
    if not tol > 0 or max_rounds < 1 or (check_every is not None and check_every < 1):
        where = call("solve", tol=tol, max_rounds=max_rounds, check_every=check_every)
        raise ValueError(fault(where, "tol must be positive, max_rounds and check_every at least 1"))
    parts = Parts(penalty, link, rule, oracle, step, workers, group, split, x0, seed)
    with threadpool_limits(1, user_api="blas"):  # with more, the bits of a product would depend on how many
        prepared = prepare(problem, parts)
        run, examiner, kept = prepared.run, prepared.examiner, None
        ends = {"tol": tol, "max_rounds": max_rounds, "check_every": check_every, "optimum": optimum}
        run.group.agree({**ends, "checkpoint": checkpoint is not None})
        if checkpoint is not None:
            described = f"{prepared.description}, {run.group.size}, {run.objective.digest()}"
            kept = Checkpoint(checkpoint, run.group, examiner.exact, described)
        method = prepared.rule.start(run)
        loop = Loop(run, prepared.rule, method, examiner, tol, check_every, optimum, callback, kept)
        status = loop(max_rounds)
    return Solution(
        x=method.x,
        status=status,
        certificate=loop.certificate,
        rounds=loop.history[-1].round,
        bytes_up=run.traffic.up,
        bytes_down=run.traffic.down,
        bytes_sent=run.traffic.sent,
        bytes_checks=examiner.exact.traffic.up,
        seconds=loop.seconds,
        plan=run.plan,
        history=tuple(loop.history),
        optimum=optimum,
    )


@dataclass(frozen=True)
class Prediction:
    """What theory promises.

    Args:
        plan: the theorem, its step and its rate.
        constants: what it was given.
        rounds: until the theorem's Lyapunov function has fallen by `tol`; None without a rate.
        bytes_up: of one worker in so many rounds.

    >>> import numpy as np, thinwire as tw
    >>> tw.predict(tw.SquaredLoss(np.eye(4), np.ones(4)), link=tw.dcgd(tw.Identity())).plan.theorem
    'gradient descent'
    """

    plan: Plan
    constants: Constants
    rounds: float | None
    bytes_up: float | None


def predict(
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
    tol: float = 1e-6,
) -> Prediction:
    """What `solve` with the same arguments is promised, without solving. Arguments and errors are `solve`'s.

    The rounds are an upper bound, in expectation, for the Lyapunov function; the gap follows it to a constant.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> promised = tw.predict(tw.LogisticLoss(A, b, l2=0.1), link=tw.diana(tw.Ternary()), workers=10, tol=1e-6)
    >>> promised.plan.theorem, promised.rounds > 20
    ('DIANA (2019), strongly convex', True)
    """
    parts = Parts(penalty, link, rule, oracle, step, workers, group, split)
    with threadpool_limits(1, user_api="blas"):
        prepared = prepare(problem, parts)
    run = prepared.run
    rounds = run.plan.rounds(tol)
    message = prepared.rule.bytes_up(run.case)
    return Prediction(run.plan, run.case.constants, rounds, None if rounds is None else rounds * message)
