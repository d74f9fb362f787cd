"""The command `thinwire scale`; the CLI registers `scale` with `app.command()(scale)`."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from thinwire._check import fault, in_range
from thinwire.advisor.calibration import read_calibration, reference
from thinwire.advisor.facts import LAYERS, Workload
from thinwire.advisor.predict import HOOKS, Choice
from thinwire.advisor.scaling import MOST, VALIDATED, Jitter, Layout, Study
from thinwire.advisor.units import bandwidth, bandwidth_text, seconds, seconds_text
from thinwire.advisor.words import Found, grid, jitter_text, picture, remarks
from thinwire.report.provenance import provenance
from thinwire.report.terminal import bars, or_exit, typed_command, writable
from thinwire.report.values import finite

DEFAULT_CHOICES = ("ddp", "fp16", "powersgd4", "dcgd(rotated(3))", "diana(rotated(1))")
CHOICES = "Choices"
MACHINES = "Machines"
STRAGGLERS = "Stragglers"


def scale(
    parameters: Annotated[float, typer.Option(help="Parameters of the model: 124e6.")] = 124e6,
    compute: Annotated[str, typer.Option(help="What a step computes, without communication.")] = "250ms",
    bandwidth_: Annotated[
        str, typer.Option("--bandwidth", help="Of each machine's link, each way: 100mbit, 1gbit, none.")
    ] = "1gbit",
    latency: Annotated[str, typer.Option(help="From one machine to another.")] = "1ms",
    workers: Annotated[str, typer.Option(help="How many, separated by commas.")] = "2,4,8,16,64,256,1024,4096,10000",
    choice: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(HOOKS)}, or a thinwire link; any number of them. The first is what others are compared "
            f"with. By default {', '.join(DEFAULT_CHOICES)}.",
            rich_help_panel=CHOICES,
        ),
    ] = None,
    momentum: Annotated[
        bool, typer.Option("--momentum", help="thinwire sends running averages.", rich_help_panel=CHOICES)
    ] = False,
    cores: Annotated[float, typer.Option(help="Processors of each worker.", rich_help_panel=MACHINES)] = 8,
    on_host: Annotated[
        bool,
        typer.Option(
            "--on-host", help="They compute as well; otherwise an accelerator does.", rich_help_panel=MACHINES
        ),
    ] = False,
    per_machine: Annotated[
        int,
        typer.Option(
            min=1,
            help="Workers that share a machine and its link; each choice is then also shown grouped: averaged whole "
            "within machines, and by the choice between them.",
            rich_help_panel=MACHINES,
        ),
    ] = 1,
    inside: Annotated[
        str, typer.Option(help="Bandwidth between the workers of a machine.", rich_help_panel=MACHINES)
    ] = "100gbit",
    message: Annotated[
        str | None,
        typer.Option(
            help="Processor time of one message; else what the lab on two processors needs, which is much.",
            rich_help_panel=MACHINES,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Constants of your machine, as benchmarks/calibrate.py writes them.", rich_help_panel=MACHINES
        ),
    ] = None,
    jitter: Annotated[
        float, typer.Option(help="σ of the logarithm of compute times.", rich_help_panel=STRAGGLERS)
    ] = 0.0,
    slow: Annotated[
        float, typer.Option(help="Probability that a worker is slow in a step.", rich_help_panel=STRAGGLERS)
    ] = 0.0,
    slow_factor: Annotated[
        float, typer.Option(help="How many times as long it then computes.", rich_help_panel=STRAGGLERS)
    ] = 3.0,
    steps: Annotated[int, typer.Option(help="Steps that are drawn.", rich_help_panel=STRAGGLERS)] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.", rich_help_panel=STRAGGLERS)] = 0,
    json: Annotated[Path | None, typer.Option(help="Write all figures, with their provenance, to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw speed-ups into this file, as SVG.")] = None,
) -> None:
    """Predict training steps on 2 to 10,000 workers: speed-up, stragglers, and which choice is best where.

    Nothing is measured: one worker's step is simulated, from what codes and
    collectives cost where they were benchmarked, and from what is given
    here. Up to 8 workers this was compared with measurements; what lies
    beyond is extrapolated, and marked.

    Example: thinwire scale --parameters 124e6 --bandwidth 1gbit --latency 1ms
    --compute 250ms --per-machine 8 --jitter 0.05 --slow 0.001
    """
    console = Console(highlight=False)

    def planned() -> tuple[Study, list[int]]:
        writable("scale", json, plot)
        constants = reference() if calibration is None else read_calibration("--calibration", calibration)
        links = constants.network
        if message is not None:
            cost = seconds("--message", message)
            links = replace(links, call=0.0, hop=cost, message=cost)
        between = replace(links, bandwidth=bandwidth("--bandwidth", bandwidth_), latency=seconds("--latency", latency))
        within = replace(links, bandwidth=bandwidth("--inside", inside), latency=0.0)
        in_range("--parameters", "parameters", parameters, 1, 1e13)
        work = Workload.even(parameters, seconds("--compute", compute), on_host=on_host)
        if not work.compute:
            raise ValueError(fault("--compute", "a step computes for some time", compute))
        made = [Choice.parse(text, momentum=momentum) for text in choice or DEFAULT_CHOICES]
        layouts = [Layout(between, within, per_machine, grouped) for grouped in (False, True)[: 1 + (per_machine > 1)]]
        machine = replace(constants.machine, cores=cores)
        drawn = Jitter(jitter, slow, slow_factor, steps, seed)
        study = Study(tuple((one, layout) for layout in layouts for one in made), machine, work, drawn)
        return study, _numbers(workers, per_machine)

    study, numbers = or_exit(console, planned)
    _introduce(console, study, parameters)
    found = or_exit(console, lambda: _looked_up(study, numbers))
    grid(found).print(console)
    for text in (*remarks(found), *_notes(study)):
        console.print(escape(text), soft_wrap=True)
    if json is not None:
        json.write_text(json_.dumps(_told(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if plot is not None:
        plot.write_text(picture(found), encoding="utf-8")


def _numbers(text: str, unit: int) -> list[int]:
    """Numbers of workers, ascending, each once."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError(fault("--workers", "whole numbers, separated by commas", text)) from None
    for number in found:
        in_range("--workers", "a number", number, 1, MOST)
        if number > unit and number % unit:
            rule = f"above --per-machine they are its multiples: {unit}, {2 * unit}, …"
            raise ValueError(fault("--workers", rule, number))
    return found


def _introduce(console: Console, study: Study, parameters: float) -> None:
    _, layout = study.choices[0]
    network, alone = layout.network, "on its processors" if study.workload.on_host else "on an accelerator"
    here = f", {layout.local} workers in each ({bandwidth_text(layout.inside.bandwidth)})" if layout.local > 1 else ""
    console.print(
        f"{parameters / 1e6:,.4g} M parameters, {seconds_text(study.workload.compute)} of compute a step {alone}; "
        f"machines on links of {bandwidth_text(network.bandwidth)}, {seconds_text(network.latency)}{here}"
        f"{jitter_text(study.jitter)}",
        soft_wrap=True,
    )


def _looked_up(study: Study, numbers: list[int]) -> Found:
    """Every choice with every number of workers, then the points where the best one changes."""
    named = [name for name, _, _ in study.named()]
    with bars(Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())) as progress:
        task = progress.add_task("scale", total=len(numbers) * (len(named) + 1) + 1, said="")
        points = {}
        for n in numbers:
            for name in named:
                progress.update(task, advance=1, said=f"{name}, {n:,} workers")
                points[name, n] = study.point(name, n)
        progress.update(task, advance=1, said="where the best choice changes")
        turns = study.turns(numbers)
        limits = {}
        for n in (n for n in numbers if n > 1):
            progress.update(task, advance=1, said=f"break-even with {n:,} workers")
            limits[n] = study.break_even(n)
    return Found(study, numbers, points, turns, limits)


def _notes(study: Study) -> Iterator[str]:
    """What was put together for want of a measurement, and what is assumed."""
    seen: set[str] = set()
    for _, choice, layout in study.named():
        for note in choice.notes(layout.site(layout.local, study.machine, study.workload)):
            if note not in seen:
                seen.add(note)
                yield f"Costs: {note}."
    _, layout = study.choices[0]
    costs = [seconds_text(cost) for cost in (layout.network.message, layout.network.hop)]
    yield (
        f"Taken for granted: {LAYERS} matrices of one size and alike in time; codes as on one thread of a processor; a "
        f"message costs {costs[0]} of a processor, a ring's step {costs[1]} (--message)."
    )


def _told(found: Found) -> dict[str, Any]:
    """As JSON can hold it: what is infinite is null."""
    study = found.study
    _, layout = study.choices[0]
    return {
        "schema": 1,
        "kind": "scale",
        "command": typed_command(),
        "provenance": provenance(),
        "grids": [asdict(grid(found))],
        "validated_workers": VALIDATED,
        "network": finite(asdict(layout.network)),
        "inside": finite(asdict(layout.inside)),
        "per_machine": layout.local,
        "cores": finite(study.machine.cores),
        "workload": {
            "values": study.workload.values,
            "compute": study.workload.compute,
            "on_host": study.workload.on_host,
        },
        "jitter": asdict(study.jitter),
        "points": [
            {**asdict(point), "efficiency": point.efficiency, "extrapolated": point.workers > VALIDATED}
            for point in found.points.values()
        ],
        "fastest_from": [{"workers": n, "choice": name} for n, name in found.turns],
        "break_even": [{"workers": n, "bytes_a_second": finite(rate)} for n, rate in found.break_even.items()],
    }
