"""What is said at the end: the table, what was saved, and advice for what did not converge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import thinwire as tw
from thinwire.report.grid import Grid
from thinwire.report.html import bytes_text
from thinwire.solver.run import Outcome

NONE = "–"
NOISE = 1.05
"""A factor below this is called none."""
DENSE = "float32 gradient descent"


def baseline(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Gradient descent with whole vectors, if it is among them."""
    return next((outcome for outcome in outcomes if outcome.method.dense), None)


def table(title: str, outcomes: Sequence[Outcome], tol: float) -> Grid:
    """A line for each method."""
    base = baseline(outcomes)
    both = any(not outcome.method.rule.answers for outcome in outcomes)  # otherwise an iterate goes down each round
    heads = ["", "status", "rounds", "theory", "up", *["down"] * both, *["fewer"] * bool(base), "s", "gap"]
    rows = [
        [
            outcome.method.text,
            "✓" if outcome.solution.converged else outcome.solution.status.name.lower(),
            f"{outcome.solution.rounds:,}",
            _promised(outcome),
            bytes_text(outcome.solution.bytes_up),
            *[bytes_text(outcome.solution.bytes_down)] * both,
            *([_fewer(outcome, base)] if base else []),
            _seconds(outcome.solution.seconds),
            f"{outcome.accuracy:.1e}" if math.isfinite(outcome.accuracy) else NONE,
        ]
        for outcome in outcomes
    ]
    notes = [f"theory: the rounds in which its Lyapunov function falls by {tol:g}, in expectation", _gap_is(outcomes)]
    notes.append("up: bytes that a worker sends" + "; down: bytes that it is sent" * both)
    return Grid(title, heads, rows, [outcomes[0].method.text] if len(outcomes) > 1 else (), notes)


def _gap_is(outcomes: Sequence[Outcome]) -> str:
    if any(outcome.solution.certificate.gap is None for outcome in outcomes):
        return "gap: not certified, since no bound is at hand; by so much has the gradient mapping shrunk"
    return "gap: a certified bound of (P(x) − min P) / (P(0) − min P)"


def _promised(outcome: Outcome) -> str:
    plan = outcome.promised.plan
    if plan.floor:
        return "a floor"
    return NONE if outcome.promised.rounds is None else f"{math.ceil(outcome.promised.rounds):,}"


def _fewer(outcome: Outcome, base: Outcome) -> str:
    if not (outcome.solution.converged and base.solution.converged):
        return NONE
    return f"{base.solution.bytes_up / outcome.solution.bytes_up:.1f}×"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2f}"


def remarks(outcomes: Sequence[Outcome]) -> list[str]:
    """What there is to say of the methods, a line for all that the same is said of."""
    base = baseline(outcomes)
    said: dict[str, list[str]] = {}
    for outcome in outcomes:
        if text := _remark(outcome.solution, None if base is None or base is outcome else base.solution):
            said.setdefault(text, []).append(outcome.method.text)
    lines = [f"{'; '.join(names)}: {text}" for text, names in said.items()]
    if base and len(outcomes) > 1 and not base.solution.converged:
        lines.append(f"{base.method.text}, which the others would be compared with, did not converge.")
    return lines


def _remark(solution: tw.Solution, base: tw.Solution | None) -> str:
    if solution.status is tw.Status.STOPPED:
        return "interrupted; shown is what was certified last."
    if not solution.converged:
        return str(solution.status.value)
    return "" if base is None or not base.converged else f"{_saved(solution, base)}."


def _saved(solution: tw.Solution, base: tw.Solution) -> str:
    factor, rounds = base.bytes_up / solution.bytes_up, solution.rounds / base.rounds
    if factor < NOISE:
        against = f"{bytes_text(solution.bytes_up)} against {bytes_text(base.bytes_up)} of {DENSE}"
        return f"compression did not pay here, {against}, in {rounds:.2f} times its rounds"
    return f"{factor:.1f} times fewer bytes up than {DENSE}, in {rounds:.2f} times its rounds"
