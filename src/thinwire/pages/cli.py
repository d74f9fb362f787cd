"""The command `thinwire report`; the CLI registers `report` with `app.command()(report)`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from thinwire.pages.read import read
from thinwire.report.document import page
from thinwire.report.terminal import or_exit, writable


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Files of wire.log, and the JSON of thinwire demo, bench and solve, of examples/ and of the frontier.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title.")] = "thinwire report",
) -> None:
    """Make one page of what was measured: figures, tables, in words.

    Training logs stand side by side: loss against seconds and bytes, where
    each step's time went, compression error by layer. The page is a single
    HTML file that needs no network; phones and printers can read it too.

    Example: thinwire report dense.jsonl 1bit.jsonl bench.json -o report.html
    """
    console = Console(highlight=False)
    or_exit(console, lambda: writable("report", out))
    sections, kinds = or_exit(console, lambda: read(runs))
    files = f"{len(kinds)} file{'s' if len(kinds) > 1 else ''}: {', '.join(path.name for path in kinds)}"
    out.write_text(page(title, files, sections), encoding="utf-8")
    for path, kind in kinds.items():
        console.print(f"{escape(str(path))}: {kind}", style="dim", soft_wrap=True)
    console.print(f"Report: {escape(str(out))}", soft_wrap=True)
