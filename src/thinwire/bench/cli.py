"""The command `thinwire bench` and its subcommands: arguments, progress, and what is written at the end."""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console
from rich.markup import escape

from thinwire._check import fault, in_range
from thinwire.bench import codec as codecs
from thinwire.bench import collective as collectives
from thinwire.bench.collective_plan import CollectivePlan
from thinwire.bench.contenders import choose
from thinwire.bench.pictures import picture
from thinwire.bench.step import race
from thinwire.bench.step_plan import StepPlan
from thinwire.bench.tables import grids
from thinwire.lab.workers import open_hosts
from thinwire.report.metrics import Transport
from thinwire.report.provenance import busy, load, provenance
from thinwire.report.terminal import bars, or_exit, show_failure, typed_command, writable

T = TypeVar("T")

bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure codes, collectives and training steps: side by side in one run, medians with their quartiles.",
)

Json = Annotated[Path | None, typer.Option("--json", help="Write all figures, with their provenance, to this file.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw them into this file, as SVG.")]
Rate = Annotated[str, typer.Option(help="Rate of every link: 50mbit, 100mbit, 1gbit, or none.")]
Over = Annotated[bool, typer.Option("--loopback", help="Do not make a lab: over loopback, where no rate is applied.")]


class Desk:
    """What the subcommands share: a console, the files to write, and the facts of the run as it began."""

    def __init__(self, benchmark: str, json: Path | None, plot: Path | None) -> None:
        self.console = Console(highlight=False)
        self._json, self._plot = json, plot
        or_exit(self.console, lambda: writable(f"bench {benchmark}", json, plot))
        self._about = {
            "schema": 1,
            "benchmark": benchmark,
            "command": typed_command(),
            "load_at_start": load(),
            "provenance": provenance(),
        }

    def planned(self, make: Callable[[], T]) -> T:
        """What `make` plans; wrong input ends the command here, a busy machine is said before anything is measured."""
        plan = or_exit(self.console, make)
        if warning := busy(load()):
            self.console.print(f"[yellow]{escape(warning)}[/]\n", soft_wrap=True)
        return plan

    def opened(self, transport: Transport) -> None:
        """Say so where there are no shaped links."""
        if transport.why:
            why = f"[yellow]No lab:[/] {escape(transport.why)}. [yellow]Over loopback no rate is applied.[/]"
            self.console.print(why, soft_wrap=True)

    def close(self, runs: Sequence[Mapping[str, Any]], failures: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Tables, failures with the last lines of their logs, files; exit code 1 where anything failed."""
        results = {**self._about, "runs": runs}
        for grid in grids(results):
            grid.print(self.console)
        for failure, log in failures:
            show_failure(self.console, failure, log)
        if self._json is not None:
            self._json.write_text(json_.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if self._plot is not None and (svg := picture(results)) is not None:
            self._plot.write_text(svg, encoding="utf-8")
        if failures:
            raise typer.Exit(1)


def whole_numbers(where: str, text: str, low: int, high: int) -> list[int]:
    """The numbers of a comma-separated list, 25e6 being one; raises ValueError unless they lie within the bounds.

    >>> whole_numbers("bench codec --size", "300e3, 25e6", 1, 10**9)
    [300000, 25000000]
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(fault(where, "whole numbers, separated by commas", text)) from None
    for number in found:
        in_range(where, "a number", number, low, high)
    if any(number != int(number) for number in found):
        raise ValueError(fault(where, "whole numbers, separated by commas", text))
    return [int(number) for number in found]


@bench.command()
def codec(
    size: Annotated[str, typer.Option(help="Elements of the vector; several by comma: 300e3,25e6.")] = "25e6",
    threads: Annotated[str, typer.Option(help="Threads of torch's operations; several by comma: 1,2.")] = "1",
    only: Annotated[str, typer.Option(help="Only compressors with this in their text, such as rotated.")] = "",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds that count; by default as many as 4 s allow.")] = (
        None
    ),
    device: Annotated[str, typer.Option(help="Where the tensors are: cpu, or cuda.")] = "cpu",
    json: Json = None,
    plot: Plot = None,
) -> None:
    """How fast compressors encode and decode, beside what memory allows.

    Every call is measured in turns with its floor, a copy of the same
    bytes through memory that computes nothing; the part of the floor's
    speed that it reaches stands in brackets. "kept" decodes into a kept
    tensor, "sender" encodes a difference and remembers it, "receiver"
    averages the payloads of four workers onto what is remembered. One
    thread: its own CPU time; more: wall time; CUDA: events, the floor is
    a copy.

    Example: thinwire bench codec --size 25e6 --threads 1,2 --only rotated
    """
    desk = Desk("codec", json, plot)

    def planned() -> tuple[list[codecs.Bench], list[str]]:
        sizes = whole_numbers("bench codec --size", size, 1, 2_000_000_000)
        counts = whole_numbers("bench codec --threads", threads, 1, 1024)
        return [codecs.Bench(n, count, device) for n in sizes for count in counts], codecs.choose(only)

    benches, rows = desk.planned(planned)
    runs, before = [], torch.get_num_threads()
    with bars(desk.console) as progress:
        task = progress.add_task("codec", total=len(benches) * (len(rows) + 1), said="")
        for made in benches:
            torch.set_num_threads(made.threads)
            run = codecs.about(made) | {"limits": codecs.measure_limits(made, rounds), "rows": []}
            for text in rows:
                progress.update(task, advance=1, said=f"{text}, {made.size:,} values")
                run["rows"].append(codecs.measure_row(made, text, rounds))
            runs.append(run)
            progress.update(task, advance=1)
    torch.set_num_threads(before)
    failed = [(f"{row['name']}: {row['failure']}", ()) for run in runs for row in run["rows"] if row["failure"]]
    desk.close(runs, failed)


@bench.command()
def collective(
    hosts: Annotated[int, typer.Option(help="Workers, each a host of its own.")] = 4,
    rate: Rate = "1gbit",
    json: Json = None,
    plot: Plot = None,
    loopback: Over = False,
) -> None:
    """What the collectives cost that thinwire is made of, beside Gloo's all_reduce.

    All take turns in one lab, on vectors of 4 KiB to 64 MiB. Bytes are
    what the hosts' interfaces counted; in brackets, how many times longer
    a call takes than these bytes alone would on a link of that rate.

    Example: thinwire bench collective --hosts 4 --rate 1gbit
    """
    desk = Desk("collective", json, plot)
    plan = desk.planned(lambda: CollectivePlan(hosts, rate))
    with open_hosts(hosts, rate, loopback) as (made, transport), bars(desk.console) as progress:
        desk.opened(transport)
        task = progress.add_task("collective", total=plan.turns, said="starting")
        run = collectives.measure(
            made, plan, transport, lambda said, ended: progress.update(task, completed=ended, said=said)
        )
    desk.close([run], [(run["failure"], run["log"])] if run["failure"] else [])


@bench.command()
def step(
    hosts: Annotated[str, typer.Option(help="Workers, each a host of its own; several numbers for scaling: 2,4,8.")] = (
        "4"
    ),
    rate: Rate = "1gbit",
    model: Annotated[str, typer.Option(help="mlp (7 square layers, 7.3 million parameters) or gpt (the demo's).")] = (
        "mlp"
    ),
    link: Annotated[
        list[str] | None, typer.Option(help="A thinwire link: auto, 'diana(rotated(1))', …; any number of them.")
    ] = None,
    against: Annotated[str, typer.Option(help="Baselines: ddp, fp16, powersgd (rank 1), powersgd4 (rank 4).")] = (
        "ddp,fp16,powersgd"
    ),
    steps: Annotated[int, typer.Option(help="Training steps of each contender.")] = 80,
    sleep_compute: Annotated[
        float | None, typer.Option(metavar="MS", help="Sleep so many milliseconds a step instead of computing.")
    ] = None,
    params: Annotated[int | None, typer.Option(help="How many parameters the mlp is to have, about.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Local momentum β of all thinwire links; off by default.")] = (
        None
    ),
    json: Json = None,
    plot: Plot = None,
    loopback: Over = False,
) -> None:
    """Whole training steps of several methods, in turns in one run.

    Each host is one process with a replica for every contender; these
    take turns of a few steps, in an order that rotates. "exposed" is what
    a step takes more than the same step without any network (`local`),
    "faster" is against ddp round by round, loss is held-out after the
    same steps on the same batches. With --sleep-compute the layers sleep
    instead of computing, as on an accelerator, and nothing is learned.

    Example: thinwire bench step --hosts 2,4,8 --rate 1gbit --link auto
    """
    desk = Desk("step", json, plot)

    def planned() -> list[StepPlan]:
        numbers = whole_numbers("bench step --hosts", hosts, 2, 64)
        contenders = choose(against, link or ["auto"], momentum)
        return [StepPlan(contenders, n, rate, model, steps, params, sleep_compute) for n in numbers]

    plans = desk.planned(planned)
    runs, failures = [], []
    for plan in plans:
        with open_hosts(plan.hosts, rate, loopback) as (made, transport), bars(desk.console) as progress:
            desk.opened(transport)
            total = plan.rounds * len(plan.contenders)
            task = progress.add_task(f"{plan.hosts} hosts", total=total, said="starting")
            run = race(
                made,
                plan,
                transport,
                lambda said, ended: progress.update(task, completed=ended, said=said),  # noqa: B023
            )
        runs.append(run)
        failed = [f"{one['name']}: {one['failure']}" for one in run["contenders"] if one["failure"]]
        failed += [run["failure"]] if run["failure"] else []
        failures += [(text, run["log"] if text == failed[-1] else ()) for text in failed]
    desk.close(runs, failures)
