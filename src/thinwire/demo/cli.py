"""The command `thinwire demo`; the CLI registers `demo` with `app.command()(demo)`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from thinwire.demo.plan import DEFAULT_RUNS, RUNS, Plan, Training, choose_runs
from thinwire.demo.progress import Screen, final_table
from thinwire.demo.run import run_demo, write_json
from thinwire.demo.text import Corpus, load_corpus
from thinwire.demo.words import about, page
from thinwire.lab import parse_rate
from thinwire.report.html import render
from thinwire.report.plots import bytes_view, draw, seconds_view
from thinwire.report.provenance import busy
from thinwire.report.terminal import or_exit, typed_command, writable
from thinwire.report.verdict import verdict

_ROWS = ", ".join(RUNS)


def demo(
    hosts: Annotated[int, typer.Option(help="How many workers, each a host of its own with one link.")] = 4,
    rate: Annotated[str, typer.Option(help="Rate of every link: 50mbit, 100mbit, 1gbit, or none.")] = "100mbit",
    steps: Annotated[int, typer.Option(help="Training steps of every run.")] = Training.steps,
    seeds: Annotated[int, typer.Option(help="Repeat with this many seeds; the table shows mean ± deviation.")] = 1,
    text: Annotated[
        Path | None, typer.Option(help="Train on this file instead of Python's own language reference.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html, its plots as SVG, and results.json.")] = Path(
        "demo"
    ),
    runs: Annotated[str, typer.Option(help=f"Rows to compare, by comma. There are: {_ROWS}.")] = ",".join(DEFAULT_RUNS),
    json: Annotated[
        Path | None, typer.Option(help="Write the results here instead of to results.json in --out.")
    ] = None,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Do not make a lab: run over loopback and model the times.")
    ] = False,
) -> None:
    """Train a small GPT on slow links, dense and compressed, and compare.

    About four minutes. Four workers on this machine, each behind a
    100 Mb/s link, train the same model of 1.4 million parameters for the
    same number of steps: with PyTorch DDP, its fp16 hook, its PowerSGD
    hook, and thinwire. Times and bytes are measured, not computed; where
    this machine allows no lab of slow links, times are modelled and say so.

    Example: thinwire demo --rate 50mbit --seeds 3 --runs ddp,thinwire
    """
    console = Console(highlight=False)
    plan = or_exit(
        console,
        lambda: Plan(choose_runs(runs), hosts, _known_rate(rate), seeds, text, Training(steps=steps)),
    )
    corpus = or_exit(console, lambda: load_corpus(text))
    results_path = json or out / "results.json"
    or_exit(
        console,
        lambda: writable("demo", out / "report.html", results_path, way_out="Choose another --out or --json."),
    )

    _introduce(console, plan, corpus)
    known = about(plan, corpus, typed_command())
    if warning := busy(known["load_at_start"]):
        console.print(f"[yellow]{escape(warning)}[/]\n", soft_wrap=True)
    with Screen(console, plan) as screen:
        results = run_demo(plan, screen, known, loopback)

    names = [run.name for run in plan.runs]
    console.print()
    console.print(final_table(results, names))
    console.print(escape(verdict(results)), soft_wrap=True)
    write_json(results, results_path)
    (out / "report.html").write_text(render(results, page(results, plan, corpus)), encoding="utf-8")
    for name, view in (("loss-against-time", seconds_view(results)), ("loss-against-bytes", bytes_view(results))):
        if results.summaries():
            (out / f"{name}.svg").write_text(draw(results, view, names), encoding="utf-8")
    console.print(f"\nReport: {escape(str(out / 'report.html'))}   Figures: {escape(str(results_path))}")
    if results.failures:
        console.print(f"[red]{len(results.failures)} of {len(results.records)} runs failed; see above.[/]")
        raise typer.Exit(1)


def _introduce(console: Console, plan: Plan, corpus: Corpus) -> None:
    console.print(
        f"{plan.hosts} workers, links of {plan.rate}, {plan.training.steps} steps, "
        f"{len(corpus.train) / 1e3:.0f} kB of {escape(corpus.name)}",
        soft_wrap=True,
    )
    order = ", ".join(run.name for _, run in list(plan.order())[: len(plan.runs)])
    console.print(f"Order of the runs, drawn from the seed: {order}\n", style="dim", soft_wrap=True)


def _known_rate(rate: str) -> str:
    parse_rate(rate)
    return rate
