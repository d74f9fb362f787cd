"""The command `thinwire advise`; the CLI registers `advise` with `app.command()(advise)`."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from thinwire import advisor
from thinwire._check import fault, in_range, one_of
from thinwire.advisor import Probe, Workload
from thinwire.advisor.advice import GOALS, PROPOSALS
from thinwire.advisor.calibration import read_calibration, reference
from thinwire.advisor.facts import FORWARD
from thinwire.advisor.predict import HOOKS
from thinwire.advisor.units import bandwidth, bandwidth_text, seconds, seconds_text
from thinwire.counsel.convex import Problem, advise_convex
from thinwire.counsel.words import sentences, table
from thinwire.report.provenance import provenance
from thinwire.report.terminal import or_exit, typed_command, writable

PARAMETERS, WORKERS, CORES, BANDWIDTH, LATENCY, BACKWARD = 124e6, 4, 8.0, "1gbit", "1ms", "250ms"
MODEL = "The model, in place of a probe's or where there is none"
CONVEX = "A convex problem, in place of a training: which method solves it (the options of a model do not count)"
CONVEX_WORKERS = 20
PLACE = "The machines, in place of a probe's or where there is none"


def advise(
    probe: Annotated[
        Path | None, typer.Argument(help="What thinwire probe has written; the options below then change parts of it.")
    ] = None,
    goal: Annotated[str, typer.Option(help=f"{', '.join(GOALS)}: what is to be least.")] = "time",
    choice: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(HOOKS)}, a thinwire link, or 'LINK, momentum 0.9'; any number, the simplest first. By "
            f"default: {'; '.join(PROPOSALS)}."
        ),
    ] = None,
    parameters: Annotated[
        float | None,
        typer.Option(
            "--parameters", "--params", help=f"How many: 124e6. By default {PARAMETERS:g}.", rich_help_panel=MODEL
        ),
    ] = None,
    backward: Annotated[
        str | None,
        typer.Option(
            help=f"What a backward pass computes; a forward pass takes half of that. By default {BACKWARD}.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    on_host: Annotated[
        bool,
        typer.Option("--on-host", help="Processors compute it; otherwise an accelerator.", rich_help_panel=MODEL),
    ] = False,
    workers: Annotated[int | None, typer.Option(help=f"How many. By default {WORKERS}.", rich_help_panel=PLACE)] = None,
    bandwidth_: Annotated[
        str | None,
        typer.Option(
            "--bandwidth",
            help=f"Of each worker's link, each way: 100mbit, 1gbit, none. By default {BANDWIDTH}.",
            rich_help_panel=PLACE,
        ),
    ] = None,
    latency: Annotated[
        str | None, typer.Option(help=f"From one worker to another. By default {LATENCY}.", rich_help_panel=PLACE)
    ] = None,
    cores: Annotated[
        float | None, typer.Option(help=f"Processors of each worker. By default {CORES:g}.", rich_help_panel=PLACE)
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            help="Processor time of one message; else as probed, or what a lab on two processors needs, which is much.",
            rich_help_panel=PLACE,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Constants of your machine, where there is no probe.", rich_help_panel=PLACE),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures, with their provenance, to this file.")] = None,
    convex: Annotated[
        str | None,
        typer.Option(
            help="A file that thinwire solve reads, or 'bundled': its rows are tried here.", rich_help_panel=CONVEX
        ),
    ] = None,
    loss: Annotated[str, typer.Option(help="As thinwire solve takes it.", rich_help_panel=CONVEX)] = "logistic",
    l1: Annotated[float, typer.Option(min=0, help="Likewise.", rich_help_panel=CONVEX)] = 0.0,
    l2: Annotated[str | None, typer.Option(help="Likewise; by default L/1000.", rich_help_panel=CONVEX)] = None,
    split: Annotated[str, typer.Option(help="Likewise: even, label, dirichlet:0.3.", rich_help_panel=CONVEX)] = "even",
    target: Annotated[str | None, typer.Option(help="Likewise.", rich_help_panel=CONVEX)] = None,
    tol: Annotated[float, typer.Option(help="The relative gap to reach.", rich_help_panel=CONVEX)] = 1e-7,
    gradient: Annotated[
        str | None,
        typer.Option(help="What a gradient of all its rows takes a worker; else measured.", rich_help_panel=CONVEX),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split and the trials.", rich_help_panel=CONVEX)] = 0,
) -> None:
    """Which compression for this training on this network, or none.

    Ranks ways to communicate by what they take to the same loss: a step's
    time, predicted, times the steps that each is expected to need. Best with
    a probe of your training (thinwire probe --script train.py), which
    measures the network, the processors and what compression does to your
    gradients; without one, from what is said here and from theory.

    Example: thinwire advise --params 124e6 --workers 16 --bandwidth 1gbit
    --latency 1ms --backward 250ms; or thinwire advise --convex mushrooms.xz
    --goal bytes --workers 20
    """
    console = Console(highlight=False)
    if convex is not None:
        place = (CONVEX_WORKERS if workers is None else workers, bandwidth_ or BANDWIDTH, latency or LATENCY)
        problem = Problem(convex, *place, target, loss, l1, l2, split, seed, tol, goal, gradient, json)
        advise_convex(console, problem)
        return

    def asked() -> tuple[Probe, advisor.Advice]:
        writable("advise", json)
        one_of("--goal", "goal", goal, GOALS)
        facts = _given(calibration) if probe is None else _read(probe, calibration)
        facts = _changed(facts, workers, bandwidth_, latency, cores, message)
        facts = _computing(facts, parameters, backward, on_host)
        return facts, advisor.advise(facts, goal=goal, proposals=choice or PROPOSALS)

    facts, advice = or_exit(console, asked)
    assert facts.workload is not None  # or there would be no advice
    grid = table(advice, facts.workload.values)
    said = list(sentences(advice))
    for text in (_introduction(facts), *_doubts(facts)):
        console.print(escape(text), soft_wrap=True)
    grid.print(console)
    for text in said:
        console.print(escape(text), soft_wrap=True)
    if json is not None:
        told = {
            "schema": 1,
            "kind": "advice",
            "command": typed_command(),
            "provenance": provenance(),
            "grids": [asdict(grid)],
            "said": said,
            "facts": facts.as_dict(),
            **advice.as_dict(),
        }
        json.write_text(json_.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _given(calibration: Path | None) -> Probe:
    """What is known where nothing was probed: costs as calibrated, and the defaults of the options."""
    known = reference() if calibration is None else read_calibration("--calibration", calibration)
    network = replace(
        known.network, bandwidth=bandwidth("--bandwidth", BANDWIDTH), latency=seconds("--latency", LATENCY)
    )
    workload = Workload.even(PARAMETERS, _step(BACKWARD))
    return Probe(WORKERS, network, replace(known.machine, cores=CORES), workload, sources=known.sources)


def _read(file: Path, calibration: Path | None) -> Probe:
    where = f"advise {str(file)!r}"
    if calibration is not None:
        raise ValueError(fault("--calibration", "a probe has its own constants", str(calibration), "Leave it out."))
    try:
        told = json_.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json_.JSONDecodeError) as error:
        way_out = "Write it with: thinwire probe --json FILE."
        raise ValueError(fault(where, f"the probe cannot be read: {error}", None, way_out)) from None
    return Probe.from_dict(told if isinstance(told, dict) else {})


def _changed(
    facts: Probe,
    workers: int | None,
    rate: str | None,
    latency: str | None,
    cores: float | None,
    message: str | None,
) -> Probe:
    """With what is said in place of what was probed."""
    if workers is not None:
        in_range("--workers", "workers", workers, 1, 1 << 20)
        if facts.gradients is not None and workers != facts.workers:
            note = f"errors are those on {facts.workers} workers; on fewer they are larger, and the advice is as rough"
            facts = replace(facts, notes=(*facts.notes, note))
        facts = replace(facts, workers=workers)
    if rate is not None:
        facts = replace(facts, network=replace(facts.network, bandwidth=bandwidth("--bandwidth", rate)))
    if latency is not None:
        facts = replace(facts, network=replace(facts.network, latency=seconds("--latency", latency)))
    if message is not None:
        cost = seconds("--message", message)
        facts = replace(facts, network=replace(facts.network, call=0.0, hop=cost, message=cost))
    if cores is not None:
        facts = replace(facts, machine=replace(facts.machine, cores=cores))
    return facts


def _computing(facts: Probe, parameters: float | None, backward: str | None, on_host: bool) -> Probe:
    """With another workload, if one is given, or if the probe had none."""
    if parameters is None and backward is None and not on_host:
        if facts.workload is None:
            way_out = "Give --parameters and --backward, or probe with a model: thinwire probe --script train.py."
            raise ValueError(fault("advise", "the probe has seen no model", None, way_out))
        return facts
    known = facts.workload
    on_host = on_host or (known is not None and known.on_host)
    values = (PARAMETERS if known is None else known.values) if parameters is None else parameters
    in_range("--parameters", "parameters", values, 1, 1e13)
    compute = known.compute if known is not None and backward is None else _step(backward or BACKWARD)
    made = Workload.even(values, compute, on_host=on_host)
    if known is not None and parameters is None:  # the probe's own layers, at another pace
        made = replace(known.slowed(compute / known.compute), on_host=on_host)
    return replace(facts, workload=made, gradients=facts.gradients if parameters is None else None)


def _step(backward: str) -> float:
    found = seconds("--backward", backward) / (1 - FORWARD)
    if not found:
        raise ValueError(fault("--backward", "a backward pass computes for some time", backward))
    return found


def _introduction(facts: Probe) -> str:
    network, work = facts.network, facts.workload
    assert work is not None
    alone = "on its processors" if work.on_host else "on an accelerator"
    seen = facts.gradients
    looked = f"; {seen.steps} steps' gradients were seen" if seen is not None else "; no gradients were seen"
    return (
        f"{facts.workers} workers on links of {bandwidth_text(network.bandwidth)}, {seconds_text(network.latency)}; "
        f"{work.values / 1e6:,.4g} M parameters, {seconds_text(work.compute)} of compute a step {alone}{looked}"
    )


def _doubts(facts: Probe) -> Sequence[str]:
    return [f"The probe: {note}" for note in facts.notes]
