"""A table as data, shown in a terminal or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """A table of texts: the first column names the row; rows whose name is in `ours` stand out.

    >>> print(Grid("Speed", ("", "GB/s"), [("sign", "14.2"), ("ternary", "13.1")], ours=("sign",)).markdown())
    | | GB/s |
    |---|---:|
    | **sign** | 14.2 |
    | ternary | 13.1 |
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    ours: Sequence[str] = ()
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """As a Markdown table, without title and notes."""
        lines = [f"| {' | '.join(self.heads)} |".replace("|  |", "| |"), f"|---|{'---:|' * (len(self.heads) - 1)}"]
        for name, *cells in self.rows:
            shown = f"**{name}**" if name in self.ours else name
            lines.append(f"| {' | '.join([shown, *cells])} |")
        return "\n".join(lines)

    def print(self, console: Console) -> None:
        """Onto a rich console, with title and notes."""
        console.print(f"\n[bold]{escape(self.title)}[/]", soft_wrap=True)
        console.print(self._table())
        for note in self.notes:
            console.print(f"  {note}", style="dim", markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
        for number, head in enumerate(self.heads):
            table.add_column(escape(head), justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row), style="cyan" if row[0] in self.ours else None)
        return table
