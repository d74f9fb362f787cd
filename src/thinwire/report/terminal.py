"""What thinwire's commands have in common in a terminal: wrong input ends them early, files are tried first."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from thinwire._check import fault

T = TypeVar("T")
LOG_TAIL = 15


def or_exit(console: Console, make: Callable[[], T]) -> T:
    """What `make` gives; where the user's input is wrong (ValueError), its message and exit code 2."""
    try:
        return make()
    except ValueError as error:
        console.print(f"[red]Error:[/] {escape(str(error))}")
        raise typer.Exit(2) from None


def writable(where: str, *paths: Path | None, way_out: str = "Choose another file.") -> None:
    """Make the folders of these files, and find out now, not in some minutes, whether they can be written.

    Raises ValueError for the first that cannot.
    """
    for path in paths:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a"):
                pass
        except OSError as error:
            rule = f"the file cannot be written: {error.strerror or error}"
            raise ValueError(fault(f"{where}: {str(path)!r}", rule, way_out=way_out)) from error


def bars(console: Console) -> Progress:
    """A progress display for tasks with a field `said`; slow to refresh, since what is measured shares the cores."""
    return Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", style="dim"),
        console=console,
        transient=True,
        refresh_per_second=2,
    )


def show_failure(console: Console, failure: str, log: Sequence[str] = ()) -> None:
    """What failed, and the last lines of its log."""
    console.print(f"[red]✗ {escape(failure)}[/]", highlight=False)
    for line in log[-LOG_TAIL:]:
        console.print(f"    {line}", style="dim", markup=False, highlight=False, soft_wrap=True)


def typed_command() -> str:
    """The command as it was typed, for provenance."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
