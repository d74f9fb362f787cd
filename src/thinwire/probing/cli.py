"""The command `thinwire probe`; the CLI registers it with `app.command()(probe)`."""

from __future__ import annotations

import json as json_
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
import typer
from rich.console import Console
from rich.markup import escape

from thinwire._check import fault, in_range, one_of
from thinwire.advisor.findings import Probe
from thinwire.comm import PeerError, ProcessGroup
from thinwire.probing.gradient_words import gradient_remarks, gradient_tables
from thinwire.probing.run import CANDIDATES, Told, links_of, run_probe
from thinwire.probing.script import Asking, NotSeen, run_script
from thinwire.probing.trials import CANDIDATES as TRIED
from thinwire.probing.trials import MOMENTUM, Asked
from thinwire.probing.watched import Watched
from thinwire.probing.words import introduction, next_steps, remarks, tables
from thinwire.report.provenance import provenance
from thinwire.report.terminal import bars, or_exit, typed_command, writable

TRAINING = "A training"
PATIENCE = 120.0
"""Seconds that a worker waits for the others, beside the time that a probe takes."""
WORKERS = (
    "Start two or more, on one machine or several: torchrun --nproc-per-node 2 --no-python thinwire probe. Or try it "
    "on slow links, all on this machine: thinwire lab --hosts 4 --rate 100mbit -- thinwire probe."
)


def probe(
    json: Annotated[
        Path | None, typer.Option(help="Write what was found to this file, for thinwire advise and thinwire scale.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="About as long as it takes.")] = 20.0,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            help="A link whose codec is measured, and that is tried on gradients; any number of them. By default one "
            "of each kind that the advisor thinks of."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu (Gloo) or cuda (NCCL). By default cuda where each worker of a machine has a GPU."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            help="A training script with the line tw.probe(model): its first steps are watched, then it is ended.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=6, help="Steps whose gradients are looked at.", rich_help_panel=TRAINING)
    ] = Asking.steps,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own, after --.", rich_help_panel=TRAINING)
    ] = None,
) -> None:
    """Measure this network and these machines: links, collectives, codecs.

    All workers run it together, under torchrun as a training would, or in
    the lab. Latency and bandwidth of pairs, alone and all at once;
    collectives by size; how fast compressors encode and decode. What was
    found is checked against the model that the advisor predicts with, and
    what is in doubt is said.

    torchrun --nproc-per-node 2 --no-python thinwire probe --json probe.json

    thinwire lab --hosts 4 --rate 100mbit -- thinwire probe --json probe.json

    With a training script, its gradients as well:

    torchrun --nproc-per-node 2 --no-python thinwire probe --script train.py
    -- --epochs 3
    """
    first = os.environ.get("RANK", "0") == "0"
    console = Console(highlight=False, quiet=not first)

    def planned() -> tuple[list[str], str]:
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            rule = "it measures what is between workers, and here is one"
            raise ValueError(fault("thinwire probe", rule, way_out=WORKERS))
        in_range("--seconds", "seconds", seconds, 0.1, 3600)
        named = list(candidate or CANDIDATES)
        links_of(named)
        if script is not None and not script.is_file():
            raise ValueError(fault("--script", "the script is a file", str(script), "Give its path from here."))
        if arguments and script is None:
            rule = "arguments are a script's"
            raise ValueError(fault("thinwire probe", rule, arguments, "Give the script: --script train.py."))
        if first:
            writable("probe", json)
        return named, _device(device)

    candidates, where = or_exit(console, planned)
    made: list[Probe] = []

    def measure(group: ProcessGroup, told: Told, watched: Watched | None = None) -> None:
        torch.set_num_threads(1)  # as many as the thread has that communicates
        console.print(introduction(group.size, dist.get_backend(), seconds, candidates), soft_wrap=True)
        seen = {} if watched is None else vars(watched)
        made.append(
            run_probe(group, seconds=seconds, candidates=candidates, told=told, sources=[typed_command()], **seen)
        )

    try:
        with progress(first) as told:
            if script is None:
                with joined(where, PATIENCE + seconds) as group:
                    measure(group, told)
            else:
                asking = Asking(steps, candidates=_asked(candidate), told=lambda what, part: told(what, part / 2))
                rest: Told = lambda what, part: told(what, (1 + part) / 2)  # noqa: E731
                run_script(script, arguments or [], lambda watched, group: measure(group, rest, watched), asking)
    except NotSeen as error:
        console.print(f"[red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    except PeerError as error:  # whoever is left says so: the first may be who is missing
        Console(stderr=True, highlight=False).print(f"[red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    (found,) = made
    show(console, found, json)
    if first and json is not None:
        told_ = {**found.as_dict(), "command": typed_command(), "provenance": provenance()}
        json.write_text(json_.dumps(told_, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def show(console: Console, found: Probe, json: Path | None) -> None:
    """Tables, what is made of them, what is in doubt, and what to do next."""
    for grid in (*tables(found), *gradient_tables(found)):
        grid.print(console)
    for text in (*remarks(found), *gradient_remarks(found)):
        console.print(escape(text), soft_wrap=True)
    for text in found.notes:
        console.print(f"[yellow]Note:[/] {escape(text)}", soft_wrap=True)
    console.print(escape(next_steps(json)), style="bold", soft_wrap=True)


def _asked(named: Sequence[str] | None) -> Sequence[Asked]:
    """What is tried on gradients: of links that are named, each as it is and with local momentum."""
    if not named:
        return TRIED
    return [Asked(text, momentum) for text in named for momentum in (None, MOMENTUM)]


@contextmanager
def progress(shown: bool) -> Iterator[Told]:
    """A function that moves a bar, which only one of the workers shows."""
    with bars(Console(stderr=True, highlight=False, quiet=not (shown and sys.stderr.isatty()))) as moved:
        task = moved.add_task("probe", total=100, said="")
        yield lambda what, part: moved.update(task, completed=round(100 * part), said=what)


@contextmanager
def joined(device: str, limit: float) -> Iterator[ProcessGroup]:
    """All workers that were started together, on their GPUs or processors, until the last has come to the end.

    Raises:
        PeerError: one does not come.
    """
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(seconds=limit))
    except RuntimeError as error:
        rule, way_out = (
            "the workers did not find each other",
            "See the log of the others, and the address of the first.",
        )
        raise PeerError(fault("thinwire probe", rule, str(error).split("\n")[0], way_out)) from error
    try:
        yield ProcessGroup(timeout=limit)
        dist.barrier()  # the store lives in the first
    finally:
        dist.destroy_process_group()


def _device(asked: str | None) -> str:
    """What was asked for, or what suits."""
    enough = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if asked is None:
        return "cuda" if torch.cuda.is_available() and enough else "cpu"
    one_of("--device", "device", asked, ("cpu", "cuda"))
    if asked == "cuda" and not (torch.cuda.is_available() and enough):
        rule = f"each worker of a machine needs a GPU; torch sees {torch.cuda.device_count()} here"
        raise ValueError(fault("--device", rule, asked, "Leave --device out, or take cpu."))
    return asked
