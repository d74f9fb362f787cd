"""Lines and bars, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinwire.report.drawing import ACCENT, COLOURS, FAINT, INK, OTHERS, OURS, Sheet, plain_logarithms, stroke, wrapped

HEIGHT = 0.19
"""Inches of one bar."""
NAME = 0.2
"""Inches of a legend's line."""


@dataclass(frozen=True)
class Line:
    """One curve: `ours` stands out, a `guide` is a thin line that nothing was measured for, or that is a limit."""

    x: Sequence[float]
    y: Sequence[float]
    ours: bool = False
    guide: bool = False


def lines(named: Mapping[str, Line], x: str, y: str, log: bool = False, ticks: Sequence[float] = ()) -> str:
    """Curves with their names, where they have one, at their ends.

    With `log` both axes are logarithmic; `ticks` are the marks of the lower one.
    """
    sheet = Sheet(x, y)
    used = {True: 0, False: 0}
    for name, line in named.items():
        colour, dashes = (FAINT, (0, (1, 2.5))) if line.guide else stroke(line.ours, used[line.ours])
        width = 2.4 if line.ours else 1.1 if line.guide else 1.6
        used[line.ours] += not line.guide
        sheet.axes.plot(line.x, line.y, color=colour, linestyle=dashes, linewidth=width)
        if not line.guide:
            sheet.axes.plot(line.x, line.y, "o", color=colour, markersize=4)
        if name:
            sheet.label(name, (line.x[-1], line.y[-1]), colour, bold=line.ours)
    if log:
        sheet.axes.set_xscale("log")
        sheet.axes.set_yscale("log")
        plain_logarithms(sheet.axes.xaxis, (1.0,))
        plain_logarithms(sheet.axes.yaxis, (1.0,))
    else:
        sheet.axes.set_ylim(bottom=0)
    if ticks:
        sheet.axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
    sheet.axes.margins(x=0.12)
    return sheet.svg()


def bars(
    rows: Mapping[str, Sequence[float | None]],
    parts: Sequence[str],
    x: str,
    *,
    stacked: bool = False,
    narrow: bool = False,
) -> str:
    """A group of horizontal bars for each row, one for each of `parts`, beside each other or one after the other.

    A `narrow` one is for phones: its legend is one name a line.
    """
    colours = (FAINT, ACCENT, COLOURS[1], OTHERS[0]) if stacked else (*OURS, INK, FAINT)
    thick = 1 if stacked else len(parts)
    legend = NAME * len(parts) if narrow else 0.0
    sheet = Sheet(x, "", size=(4.8 if narrow else 6.8, 1.1 + legend + len(rows) * (thick + 0.8) * HEIGHT))
    for number, part in enumerate(parts):
        values = [cells[number] or 0.0 for cells in rows.values()]
        left = [sum(value or 0.0 for value in cells[:number]) if stacked else 0.0 for cells in rows.values()]
        at = [row * (thick + 0.8) + (0 if stacked else number) for row in range(len(rows))]
        sheet.axes.barh(at, values, height=0.9, left=left, color=colours[number % len(colours)], label=part)
    sheet.axes.set_yticks([row * (thick + 0.8) + (thick - 1) / 2 for row in range(len(rows))], [*map(wrapped, rows)])
    sheet.axes.invert_yaxis()
    sheet.axes.grid(visible=False, axis="y")
    sheet.legend(1 if narrow else 2)
    return sheet.svg()
