"""Curves of peers, errors by layer, and what was predicted beside what was measured, as SVG text.

Colours and dashes are those of the page's legend, by number: a run without a curve keeps its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinwire.report.drawing import FAINT, Sheet, plain_logarithms, turn, wrapped

SIZE = (4.8, 3.7)
"""Inches: what a phone shows large enough to read."""
POINTS = 60
"""Of a longer curve neighbours are put together."""
FAR = 100.0
"""A logarithmic axis that goes farther has a mark at every power of ten, and no others."""
ROW = 0.2
"""Inches of one row of dots."""


@dataclass(frozen=True)
class Trace:
    """One curve, as measured; None where nothing was."""

    x: Sequence[float]
    y: Sequence[float | None]

    def thinned(self) -> list[tuple[float, float, float, float]]:
        """(x, mean, least, most) of neighbours, so many together that `POINTS` are left at most."""
        known = [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None and math.isfinite(y)]
        together = max(1, math.ceil(len(known) / POINTS))
        parts = [known[i : i + together] for i in range(0, len(known), together)]
        return [
            (part[-1][0], sum(y for _, y in part) / len(part), min(y for _, y in part), max(y for _, y in part))
            for part in parts
        ]


def traces(
    named: Mapping[str, Trace],
    x: str,
    y: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    guide: Sequence[tuple[float, float]] = (),
) -> str:
    """A line for each curve; where neighbours were put together, their mean, and a band from the least to the most.

    A `guide` is a thin dotted line.
    """
    sheet = Sheet(x, y, size=SIZE)
    if guide:
        sheet.axes.plot(*zip(*guide, strict=True), color=FAINT, linestyle=(0, (1, 2.5)), linewidth=1.1)
    for number, trace in enumerate(named.values()):
        colour, dashes = turn(number)
        shown = [point for point in trace.thinned() if point[0] > 0 or not log_x]
        if not shown:
            continue
        at, mean, least, most = zip(*shown, strict=True)
        if least != most:
            sheet.axes.fill_between(at, least, most, color=colour, alpha=0.14, linewidth=0)
        sheet.axes.plot(at, mean, color=colour, linestyle=dashes, linewidth=1.8)
        sheet.axes.plot(at[-1:], mean[-1:], "o", color=colour, markersize=4.5)
    for axis, wanted, scale in (
        (sheet.axes.xaxis, log_x, sheet.axes.set_xscale),
        (sheet.axes.yaxis, log_y, sheet.axes.set_yscale),
    ):
        if wanted and sheet.axes.lines:
            scale("log")
            low, high = axis.get_view_interval()
            plain_logarithms(axis, (1.0, 2.0, 5.0) if high < FAR * low else (1.0,))
    return sheet.svg()


def dots(rows: Sequence[str], series: Mapping[str, Sequence[float | None]], x: str) -> str:
    """A dot for each row and each of `series`, from zero on."""
    names = [wrapped(row) for row in rows]
    high = max((name.count("\n") + 1 for name in names), default=1)
    sheet = Sheet(x, "", size=(SIZE[0], 1.0 + ROW * high * len(rows)))
    for number, values in enumerate(series.values()):
        colour, _ = turn(number)
        known = [(value, row) for row, value in enumerate(values) if value is not None]
        if known:
            sheet.axes.plot(*zip(*known, strict=True), "o", color=colour, markersize=5.5, alpha=0.85)
    sheet.axes.set_yticks(range(len(rows)), names)
    sheet.axes.set_ylim(len(rows) - 0.4, -0.6)
    sheet.axes.set_xlim(left=0)
    return sheet.svg()


def pairs(named: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> str:
    """Dots at (x, y), all above zero, on logarithmic axes of one scale; on the dotted line both are equal."""
    sheet = Sheet(x, y, size=SIZE)
    values = [value for points in named.values() for point in points for value in point]
    low, high = min(values) / 1.5, max(values) * 1.5
    sheet.axes.plot((low, high), (low, high), color=FAINT, linestyle=(0, (1, 2.5)), linewidth=1.1)
    for number, points in enumerate(named.values()):
        if points:
            sheet.axes.plot(*zip(*points, strict=True), "o", color=turn(number)[0], markersize=6)
    sheet.axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (sheet.axes.xaxis, sheet.axes.yaxis):
        plain_logarithms(axis, (1.0, 2.0, 5.0) if high < FAR * low else (1.0,))
    return sheet.svg()


def pointed(named: Mapping[str, tuple[float, float]], x: str, y: str) -> str:
    """A dot for each name, which stands beside it; the horizontal axis is logarithmic."""
    sheet = Sheet(x, y, size=(7.2, 4.6))
    for number, (name, xy) in enumerate(named.items()):
        colour, _ = turn(number)
        sheet.axes.plot(*xy, "o", color=colour, markersize=6)
        sheet.label(name, xy, colour, bold=False)
    sheet.axes.set_xscale("log")
    plain_logarithms(sheet.axes.xaxis)
    sheet.axes.margins(0.12)
    return sheet.svg()
