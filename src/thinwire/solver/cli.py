"""The command `thinwire solve`; the CLI registers `solve` with `app.command()(solve)`."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

import thinwire as tw
from thinwire._check import fault
from thinwire.report.convergence import convergence
from thinwire.report.provenance import load, provenance
from thinwire.report.terminal import or_exit, typed_command, writable
from thinwire.solver.hosts import gathered, held_by_each, rank
from thinwire.solver.names import LOSSES, ORACLES, RULES, Method, read_methods
from thinwire.solver.problem import DEFAULT_L2, Asked, Share, read, share
from thinwire.solver.run import Limits, Outcome, about_problem, interruptible, promises, solve_one
from thinwire.solver.screen import Gauge, bar, said
from thinwire.solver.words import remarks, table

INTERRUPTED = 130
DEFAULT_METHODS = {"gradient": "diana(ternary)"}
"""What is run by a rule where no link is named; by others their usual link."""


def solve(
    data: Annotated[
        str | None,
        typer.Argument(
            help="LIBSVM text (plain, gz, bz2, xz), .npz, .npy or .parquet; with {rank} in its name, a file for each "
            "process. Without it, a set that comes with scikit-learn.",
        ),
    ] = None,
    loss: Annotated[str, typer.Option(help=f"One of {', '.join(LOSSES)}; 'huber(delta=2)'.")] = "logistic",
    l1: Annotated[float, typer.Option(min=0, help="Weight of the sum of magnitudes.")] = 0.0,
    l2: Annotated[
        str | None, typer.Option(help="Weight of half the squares; L/K makes μ = L ÷ K; by default L/1000.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many; by default 20, or one in each process.")] = None,
    split: Annotated[str, typer.Option(help="Who holds which rows: even, shuffled, label, dirichlet:0.3.")] = "even",
    link: Annotated[
        str | None, typer.Option(help="What the workers send by; by default diana(ternary), or what the rule needs.")
    ] = None,
    oracle: Annotated[str, typer.Option(help=f"Gradients: {', '.join(ORACLES)}; 'lsvrg(p=0.1)'.")] = "full",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples that a worker draws in a round; by default 1.")
    ] = None,
    rule: Annotated[str, typer.Option(help=f"{', '.join(RULES)}; 'gradient(momentum=0.9)'.")] = "gradient",
    step: Annotated[str, typer.Option(help="theory, theory*8, or a number.")] = "theory",
    tol: Annotated[float, typer.Option(help="The relative gap to reach, certified.")] = 1e-7,
    max_rounds: Annotated[int, typer.Option(min=1, help="Rounds after which a method is given up.")] = 10_000,
    compare: Annotated[
        str, typer.Option(help="Methods to run beside it, by semicolon: LINK, or RULE ORACLE STEP: LINK.")
    ] = "",
    check_every: Annotated[
        int | None, typer.Option(min=1, help="Rounds between two certificates; else each fortieth of those so far.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of all draws.")] = 0,
    target: Annotated[str | None, typer.Option(help="The column of a .parquet or .npy table that is learnt.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write solutions, certificates, histories and provenance to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the gap against rounds, bytes and seconds into this file, as SVG.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the state here, and go on from it; with {rank} in it on several hosts.")
    ] = None,
) -> None:
    """Minimise a finite sum over workers that send few bits, with a certificate.

    The rows of DATA are split over workers, simulated here or, under
    torchrun or thinwire lab, real. --compare runs other methods on the same
    problem; in each, what stands before a colon replaces rule, oracle and
    step. "dcgd(identity)" is float32 gradient descent: with it in the
    comparison, the table says how many times fewer bytes the others sent.

    Example: thinwire solve --compare "dcgd(identity); adiana: diana(ternary);
    lsvrg(batch=4): diana(ternary); theory*8: ef21(topk(0.1))"

    Exit code: 0 if the method of --link converged, 1 if not, 2 for wrong
    input, 130 at Ctrl-C.
    """
    me = rank()
    console = Console(highlight=False, quiet=bool(me))

    def planned() -> tuple[Asked, tuple[Method, ...], Limits, int]:
        if not 0 < tol < 1:
            raise ValueError(fault("--tol", "must be above 0 and below 1", tol))
        asked = Asked(data, target, loss, l1, l2, split, seed)
        methods = read_methods(
            [link or DEFAULT_METHODS.get(rule.partition("(")[0].strip(), f"{rule}:"), *compare.split(";")],
            rule,
            oracle,
            step,
            batch,
        )
        if not me:
            writable("solve", json, plot)
        if checkpoint is not None and not checkpoint.absolute().parent.is_dir():
            raise ValueError(fault("--checkpoint", "the file's directory must exist", str(checkpoint)))
        return asked, methods, Limits(tol, max_rounds, check_every, seed, checkpoint), held_by_each(workers)

    asked, methods, limits, held = or_exit(console, planned)
    loud = Console(highlight=False) if data and "{rank}" in data else console  # each rank speaks for its own file
    rows = or_exit(loud, lambda: read(asked, me))
    about = {"schema": 1, "command": typed_command(), "load_at_start": load(), "provenance": provenance()}
    try:
        with gathered(held) as group:
            mine = or_exit(console, lambda: share(asked, rows, group))
            promised = or_exit(console, lambda: promises(mine, methods, group, tol))
            _introduce(console, asked, mine, group, tol)
            outcomes = list(_run(console, mine, list(zip(methods, promised, strict=True)), group, limits))
    except tw.PeerError as error:
        Console(stderr=True, highlight=False).print(f"[red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    if me:
        return  # with 0: at another code torchrun would end rank 0, which still has to write
    _report(console, asked, outcomes, limits)
    about |= {"workers": group.size, "split": split, "seed": seed, "tol": tol, "max_rounds": max_rounds}
    about |= {"data": asked.name, **about_problem(mine, promised[0])}
    _write(json, plot, outcomes, about)
    if outcomes[-1].solution.status is tw.Status.STOPPED:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if outcomes[0].solution.converged else 1)


def _introduce(console: Console, asked: Asked, mine: Share, group: tw.Group, tol: float) -> None:
    features = mine.problem.data.shape[1]
    smooth = f", l2 = {mine.l2:.3g}{f' ({asked.l2 or DEFAULT_L2})' * asked.relative[0]}" * bool(mine.l2)
    sparse = f", l1 = {asked.l1:g}" * bool(asked.l1)
    here = "" if len(group.ranks) == group.size else f" in {group.size // len(group.ranks)} processes"
    console.print(
        f"{escape(asked.name)}: {mine.rows:,} rows, {features:,} features; {asked.loss} loss{smooth}{sparse}; "
        f"{group.size} workers{here}, split {asked.split}; to a relative gap of {tol:g}",
        soft_wrap=True,
    )


def _run(
    console: Console,
    mine: Share,
    methods: Sequence[tuple[Method, tw.Prediction]],
    group: tw.Group,
    limits: Limits,
) -> Iterator[Outcome]:
    """Every method in its turn, until Ctrl-C."""
    progress = bar(Console(stderr=True, highlight=False, quiet=console.quiet))
    with progress, interruptible(alone=len(group.ranks) == group.size) as pressed:
        for number, (method, promised) in enumerate(methods):
            task, gauge = progress.add_task(escape(method.text), total=1.0, said=""), Gauge(limits.tol)

            def heard(moment: tw.Moment, task: TaskID = task, gauge: Gauge = gauge) -> bool:
                progress.update(task, completed=gauge.done(moment), said=said(moment))
                return pressed()

            of_several = number if len(methods) > 1 else None
            solve_it = partial(solve_one, mine, method, group, limits, of_several, heard)
            yield Outcome(method, promised, or_exit(console, solve_it))
            progress.remove_task(task)
            if pressed():
                return


def _report(console: Console, asked: Asked, outcomes: Sequence[Outcome], limits: Limits) -> None:
    table(f"{asked.name}, {asked.loss} loss", outcomes, limits.tol).print(console)
    for line in remarks(outcomes):
        console.print(escape(line), soft_wrap=True)


def _write(json: Path | None, plot: Path | None, outcomes: Sequence[Outcome], about: Mapping[str, object]) -> None:
    if json is not None:
        told = {**about, "methods": [outcome.as_dict() for outcome in outcomes]}
        json.write_text(json_.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if plot is not None:
        curves = {outcome.method.text: outcome.solution.curve for outcome in outcomes}
        plot.write_text(convergence(curves), encoding="utf-8")
