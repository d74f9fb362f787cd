"""Which compressor: every method on every task, tuned on the same grid of learning rates, several seeds.

    python benchmarks/frontier.py --jobs 2                      everything; hours. What is there already is skipped
    python benchmarks/frontier.py --quick                       a few steps of everything, into a file of its own
    python benchmarks/frontier.py --tasks gpt --methods dense,rot1-m --workers 4

n workers are rows in one process: `LocalGroup(n)` behind the very reducer that `attach` puts behind DDP. Records go to
benchmarks/results/frontier.jsonl, one line a run, as soon as it is done. `--show` prints the tables of what is there,
`--write` writes them, and the pictures, into docs/which-compressor.md as well.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from frontier_lib import images, page, show
from frontier_lib.methods import METHODS
from frontier_lib.order import cells
from frontier_lib.plan import Cell, Config, next_run
from frontier_lib.records import Records
from frontier_lib.simulate import run
from frontier_lib.tasks import TASKS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from thinwire.report.provenance import provenance

ROOT = Path(__file__).parents[1]
FILE = ROOT / "benchmarks" / "results" / "frontier.jsonl"
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 31)}
"""For glibc in the runs' processes: memory that was given back is used again, not fetched anew from the system."""
console = Console()


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the runs that are missing."""
    options = _options(arguments)
    wanted = cells(
        options.tasks or list(TASKS), options.methods or list(METHODS), options.workers, options.seeds, options.steps
    )
    for name in sorted({cell.method for cell in wanted}):
        if (why := METHODS[name].pending()) is not None:
            console.print(f"left out: {why}", highlight=False)
    wanted = [cell for cell in wanted if METHODS[cell.method].pending() is None]
    records = Records(options.file)
    if options.show or options.write:
        shown = (show.summary(records.runs, n) for n in options.workers)
        for grid in (*shown, *(show.errors(records.runs, task, 4) for task in TASKS), *show.targets(records.runs)):
            grid.print(console)
        if options.write:
            page.write(records)
        return
    _do(wanted, records, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: [word.strip() for word in text.split(",")]  # noqa: E731
    parser.add_argument("--tasks", type=words, help=f"of {', '.join(TASKS)}")
    parser.add_argument("--methods", type=words, help=f"of {', '.join(METHODS)}")
    parser.add_argument("--workers", type=lambda text: [int(n) for n in words(text)], default=[4, 16])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every run, in the place of the task's own")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread")
    parser.add_argument("--data", type=Path, default=images.HOME, help="the folder of Fashion-MNIST")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--quick", action="store_true", help="20 steps and one seed, into frontier-quick.jsonl")
    parser.add_argument("--show", action="store_true", help="print the tables of what is there, and run nothing")
    parser.add_argument("--write", action="store_true", help="and write them, and the pictures, into the page")
    options = parser.parse_args(arguments)
    for name, there in (("tasks", TASKS), ("methods", METHODS)):
        if unknown := set(getattr(options, name) or ()) - set(there):
            parser.error(f"--{name}: {', '.join(sorted(unknown))}: there are {', '.join(there)}")
    if options.quick:
        options.steps, options.seeds = options.steps or 20, 1
        options.file = FILE.with_name("frontier-quick.jsonl") if options.file == FILE else options.file
    return options


def _do(wanted: Sequence[Cell], records: Records, options: argparse.Namespace) -> None:
    if next_run(wanted, records.runs, set()) is None:
        console.print(f"nothing is missing in {options.file}")
        return
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    records.begin({"command": command, "provenance": provenance()})
    os.environ |= KEEP
    context = multiprocessing.get_context("spawn")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(options.jobs, context, initializer=_begin, initargs=(os.getpid(),)) as pool,
    ):
        bar = progress.add_task("runs", total=None)
        running: dict[Future[dict[str, Any]], Config] = {}
        while True:
            while len(running) < options.jobs:
                config = next_run(wanted, records.runs, {other.key for other in running.values()})
                if config is None:
                    break
                running[pool.submit(run, config, options.data)] = config
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                config = running.pop(future)
                records.add(config, future.result())
                progress.advance(bar)
                progress.console.print(_line(config, records.runs[config.key]), highlight=False)


def _begin(parent: int) -> None:
    """In a process that runs: one thread, and an end if the parent is no more."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _line(config: Config, record: Any) -> str:
    score = record["score"]
    what = "diverged" if score is None else f"loss {score['loss']:.4f}"
    if score is not None and score["accuracy"] is not None:
        what += f", {score['accuracy']:.2f} %"
    error = record["errors"][-1][1] if record["errors"] else float("nan")
    return f"{config.key}: {what}, {record['ratio']:.1f}×, error {error:.2f}, {record['seconds']:.0f} s"


if __name__ == "__main__":
    main()
