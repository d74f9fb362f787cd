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
    notes.append(f"certificates, beside that: {_checks(outcomes)}; --check-every 1000 makes them few")
    return Grid(title, heads, rows, [outcomes[0].method.text] if len(outcomes) > 1 else (), notes)


def _checks(outcomes: Sequence[Outcome]) -> str:
    """What certificates cost, from the cheapest run to the dearest."""
    costs = [outcome.solution.bytes_checks for outcome in outcomes]
    least, most = bytes_text(min(costs)), bytes_text(max(costs))
    return least if least == most else f"{least} to {most}"


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
    return f"{_factor(outcome, base):.1f}×"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2f}"


def remarks(outcomes: Sequence[Outcome]) -> list[str]:
    """What was saved or not against gradient descent, and advice for what did not converge."""
    base = baseline(outcomes)
    done = [outcome for outcome in outcomes if outcome.solution.converged and outcome is not base]
    lines = []
    if base is not None and base.solution.converged:
        lines = _saved([outcome for outcome in done if _factor(outcome, base) >= NOISE], base)
        dear = [outcome for outcome in done if _factor(outcome, base) < NOISE]
        if dear:
            up = bytes_text(base.solution.bytes_up)
            lines.append(f"{_names(dear)}: did not pay here, since {DENSE} needs no more than {up}.")
    elif base is not None and len(outcomes) > 1:
        lines.append(f"{base.method.text}, which the others would be compared with, did not converge.")
    advice: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not outcome.solution.converged:
            advice.setdefault(_advice(outcome), []).append(outcome)
    return lines + [f"{_names(named)}: {text}" for text, named in advice.items()]


def _advice(outcome: Outcome) -> str:
    if outcome.solution.status is tw.Status.STOPPED:
        return "interrupted; shown is what was certified last."
    return str(outcome.solution.status.value)


def _factor(outcome: Outcome, base: Outcome) -> float:
    return base.solution.bytes_up / outcome.solution.bytes_up


def _names(outcomes: Sequence[Outcome]) -> str:
    return "; ".join(outcome.method.text for outcome in outcomes)


def _saved(cheap: Sequence[Outcome], base: Outcome) -> list[str]:
    """The one that saved most."""
    if not cheap:
        return []
    best = max(cheap, key=lambda outcome: _factor(outcome, base))
    rounds = best.solution.rounds / base.solution.rounds
    saved = f"{_factor(best, base):.1f} times fewer than {DENSE}, in {rounds:.2f} times its rounds"
    return [f"{best.method.text}: {'fewest bytes, ' * (len(cheap) > 1)}{saved}."]
