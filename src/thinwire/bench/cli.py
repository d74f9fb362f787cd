"""The command `thinwire bench` and its subcommands."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from thinwire._check import fault
from thinwire.bench.contenders import choose
from thinwire.bench.step import race
from thinwire.bench.step_plan import StepPlan
from thinwire.bench.tables import stages_grid, step_grid
from thinwire.lab.workers import open_hosts
from thinwire.report.provenance import busy, load, provenance
from thinwire.report.terminal import or_exit, typed_command, writable

bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Measure codes, collectives and training steps.",
)

Json = Annotated[Path | None, typer.Option("--json", help="Write all figures, with their provenance, to this file.")]


def whole_numbers(where: str, text: str) -> list[int]:
    """The numbers of a comma-separated list.

    >>> whole_numbers("--hosts", "2, 4")
    [2, 4]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(fault(where, "whole numbers, separated by commas", text)) from None


@bench.command()
def step(
    hosts: Annotated[str, typer.Option(help="Workers, each a host of its own; several numbers for scaling: 2,4,8.")] = (
        "4"
    ),
    rate: Annotated[str, typer.Option(help="Rate of every link: 50mbit, 100mbit, 1gbit, or none.")] = "1gbit",
    model: Annotated[str, typer.Option(help="mlp (7 square layers, 7.3 million parameters) or gpt (the demo's).")] = (
        "mlp"
    ),
    link: Annotated[
        list[str] | None, typer.Option(help="A thinwire link: auto, 'diana(rotated(1))', …; any number.")
    ] = (None),
    against: Annotated[str, typer.Option(help="Baselines: ddp, fp16, powersgd (rank 1), powersgd4 (rank 4).")] = (
        "ddp,fp16,powersgd"
    ),
    steps: Annotated[int, typer.Option(help="Training steps of each contender.")] = 80,
    sleep_compute: Annotated[
        float | None, typer.Option(metavar="MS", help="Sleep so many milliseconds a step instead of computing.")
    ] = None,
    params: Annotated[int | None, typer.Option(help="Parameters that the mlp is to have, about.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Local momentum β of all thinwire links.")] = None,
    json: Json = None,
    loopback: Annotated[bool, typer.Option("--loopback", help="Do not make a lab: no rate is applied.")] = False,
) -> None:
    """Time whole training steps of several methods, interleaved in one run."""
    console = Console(highlight=False)

    def planned() -> list[StepPlan]:
        contenders = choose(against, link or ["auto"], momentum)
        return [
            StepPlan(contenders, number, rate, model, steps, params, sleep_compute)
            for number in whole_numbers("bench step --hosts", hosts)
        ]

    plans = or_exit(console, planned)
    or_exit(console, lambda: writable("bench step", json))
    if warning := busy(load()):
        console.print(f"[yellow]{escape(warning)}[/]\n", soft_wrap=True)
    about: dict[str, Any] = {
        "schema": 1,
        "benchmark": "step",
        "command": typed_command(),
        "load_at_start": load(),
        "provenance": provenance(),
    }
    runs = [_race(console, plan, loopback) for plan in plans]
    if json is not None:
        json.write_text(json_.dumps({**about, "runs": runs}, indent=1) + "\n")
    if any(run["failure"] or any(c["failure"] for c in run["contenders"]) for run in runs):
        raise typer.Exit(1)


def _race(console: Console, plan: StepPlan, loopback: bool) -> dict[str, Any]:
    bars = Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", style="dim"),
        console=console,
        transient=True,
        refresh_per_second=2,
    )
    with open_hosts(plan.hosts, plan.rate, loopback) as (hosts, transport), bars:
        if transport.why:
            console.print(f"[yellow]No lab:[/] {escape(transport.why)} [yellow]Over loopback, no rate is applied.[/]")
        task = bars.add_task(f"{plan.hosts} hosts", total=plan.rounds * len(plan.contenders), said="starting")
        run = race(hosts, plan, transport, lambda name, ended: bars.update(task, completed=ended, said=name))
    for grid in (step_grid(run), stages_grid(run)):
        if grid is not None:
            grid.print(console)
    for made in run["contenders"]:
        if made["failure"]:
            console.print(f"[red]✗ {escape(made['name'])}: {escape(made['failure'])}[/]")
    if run["failure"]:
        console.print(f"[red]✗ {escape(run['failure'])}[/]")
    if run["log"]:
        for line in run["log"][-15:]:
            console.print(f"    {line}", style="dim", markup=False, soft_wrap=True)
    return run
