"""`thinwire advise --convex DATA`: which method solves a convex problem with the fewest bytes, or soonest."""

from __future__ import annotations

import json as json_
import math
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from thinwire._check import in_range, one_of
from thinwire.advisor.facts import Network
from thinwire.advisor.units import bandwidth, bandwidth_text, seconds, seconds_text
from thinwire.comm import LocalGroup
from thinwire.planner import SolveAdvice, advise_solve
from thinwire.planner.price import GOALS
from thinwire.planner.words import cost_text
from thinwire.report.grid import Grid
from thinwire.report.provenance import provenance
from thinwire.report.terminal import or_exit, typed_command, writable
from thinwire.solver.problem import Asked, Share, read, share

BUNDLED = "bundled"
SHOWN = 12
"""Rows of the table; the JSON has all."""
MOST_WORKERS = 4096


@dataclass(frozen=True)
class Problem:
    """What is asked, as it was typed.

    Args:
        data: a file that `thinwire solve` reads; "bundled" for a set that comes with scikit-learn.
        target, loss, l1, l2, split, seed: as `thinwire solve` takes them.
        workers, tol, goal: as `advise_solve` takes them.
        bandwidth, latency: of the network: 100mbit, 1ms.
        gradient: what one takes a worker, 5ms; None: it is measured here.
        json: a file for all figures.
    """

    data: str
    workers: int
    bandwidth: str
    latency: str
    target: str | None = None
    loss: str = "logistic"
    l1: float = 0.0
    l2: str | None = None
    split: str = "even"
    seed: int = 0
    tol: float = 1e-7
    goal: str = "time"
    gradient: str | None = None
    json: Path | None = None


def advise_convex(console: Console, problem: Problem) -> SolveAdvice:
    """Advise, and print it: what was asked, a table, sentences. Wrong input ends the program, with a message."""

    def asked() -> tuple[Asked, Share, Network, float | None]:
        writable("advise", problem.json)
        one_of("--goal", "with --convex goal", problem.goal, GOALS)
        in_range("--workers", "with --convex workers", problem.workers, 2, MOST_WORKERS)
        network = Network(
            bandwidth=bandwidth("--bandwidth", problem.bandwidth), latency=seconds("--latency", problem.latency)
        )
        once = None if problem.gradient is None else seconds("--gradient", problem.gradient)
        data = None if problem.data == BUNDLED else problem.data
        made = Asked(data, problem.target, problem.loss, problem.l1, problem.l2, problem.split, problem.seed)
        return made, share(made, read(made, None), LocalGroup(problem.workers)), network, once

    made, mine, network, once = or_exit(console, asked)
    console.print(
        f"{escape(made.name)}: {mine.rows:,} rows, {mine.problem.data.shape[1]:,} features; {made.loss} loss, "
        f"l2 = {mine.l2:.3g}; {problem.workers} workers on links of {bandwidth_text(network.bandwidth)}, "
        f"{seconds_text(network.latency)}; to a relative gap of {problem.tol:g}, by {problem.goal}",
        soft_wrap=True,
    )
    progress = Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())
    with progress.status("") as status:
        found = or_exit(
            console,
            lambda: advise_solve(
                mine.problem,
                penalty=mine.penalty,
                workers=problem.workers,
                split=mine.owners,
                tol=problem.tol,
                goal=problem.goal,
                network=network,
                gradient=once,
                seed=problem.seed,
                heard=lambda text: status.update(escape(f"trying {text}")),
            ),
        )
    grid = table(found)
    grid.print(console)
    for text in (*found.words, *command(problem, found)):
        console.print(escape(text), soft_wrap=True)
    if problem.json is not None:
        told = {"schema": 1, "kind": "advice-convex", "command": typed_command(), "provenance": provenance()}
        rate = network.bandwidth if math.isfinite(network.bandwidth) else None
        told |= {"data": made.name, "l2": mine.l2, "network": {"bandwidth": rate, "latency": network.latency}}
        told |= {"grids": [asdict(grid)], **found.as_dict()}
        problem.json.write_text(json_.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    return found


def table(found: SolveAdvice) -> Grid:
    """The first rows; and the best of those that do otherwise, compress or not, if it is not among them."""
    other = next((row for row in found.rows if row.dense != found.first.dense), None)
    shown = list(found.rows[:SHOWN])
    if other is not None and other not in shown:
        shown[-1] = other
    rows = [
        (
            row.way,
            f"{'> ' if row.floor else ''}{row.rounds:,.0f}" if math.isfinite(row.rounds) else "–",
            "–" if row.promised is None else f"{row.promised:,.0f}",
            cost_text("bytes", row.up),
            f"{row.passes:,.0f}" if math.isfinite(row.passes) else "–",
            cost_text("time", row.seconds),
            row.basis,
        )
        for row in shown
    ]
    heads = ("method", "rounds", "promised", "bytes", "gradients", "time", "known by")
    notes = (
        "of one worker; promised: by theory, an upper bound; gradients: of all its rows",
        "known by: a trial; a trial that was dropped, having fallen behind; or theory, times what it was off by for "
        "its kind",
        f"time: by the network, and {seconds_text(found.gradient)} for a gradient",
        f"{len(found.rows):,} methods were weighed"
        + (f", {len(found.refused):,} more are covered by no theorem" if found.refused else ""),
    )
    title = f"To a relative gap of {found.tol:g} on {found.workers} workers: by {found.goal}"
    return Grid(title, heads, rows, ours=(found.first.way,), notes=notes)


def command(problem: Problem, found: SolveAdvice) -> Iterator[str]:
    """How to do it."""
    if not math.isfinite(found.first.cost):
        return
    data = "" if problem.data == BUNDLED else f" {shlex.quote(problem.data)}"
    options = f"{data} --workers {problem.workers} --tol {problem.tol:g}"
    for name in ("loss", "l1", "l2", "split", "target", "seed"):
        given = getattr(problem, name)
        if given not in (Problem.__dataclass_fields__[name].default, None):
            options += f' --{name} "{given}"' if isinstance(given, str) else f" --{name} {given}"
    yield f'Try it: thinwire solve{options} --compare "{found.first.way}"'
