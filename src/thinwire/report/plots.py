"""Curves of a comparison as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thinwire.report.drawing import Sheet, plain_logarithms, stroke
from thinwire.report.metrics import Point, Record, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 1.3
"""The loss axis ends this many nats above the lowest loss: the first few steps, alike for all, are left out."""


@dataclass(frozen=True)
class View:
    """One picture of the curves: what is on the horizontal axis, and how."""

    axis: str
    x: Callable[[Results, Point], float]
    logarithmic: bool = False


def seconds_view(results: Results) -> View:
    """Held-out loss against seconds of training; the axis says so where they are modelled."""
    kind = "modelled seconds" if results.transport.modelled else "seconds"
    return View(f"{kind} of training", lambda r, point: r.transport.seconds(point.seconds, point.sent))


def bytes_view(results: Results) -> View:
    """Held-out loss against bytes sent by each worker, on a logarithmic axis."""
    return View("megabytes sent by each worker (logarithmic)", lambda r, point: point.sent / 1e6, logarithmic=True)


def draw(results: Results, view: View, names: Sequence[str]) -> str:
    """An SVG of the mean curve of each row, every seed faint behind it, with the labels at the ends of the curves."""
    sheet = Sheet(view.axis, "held-out loss, nats a byte")
    for name, (colour, dashes) in _strokes(results, names).items():
        _curve(sheet, results, view, name, colour, dashes)
    if view.logarithmic:
        sheet.axes.set_xscale("log")
        plain_logarithms(sheet.axes.xaxis)
    _limit(sheet.axes, results)
    return sheet.svg()


def _limit(axes: Axes, results: Results) -> None:
    """Losses from a little below the lowest, where labels find room, to `SHOWN` above it."""
    losses = [point.loss for record in results.records if record.failure is None for point in record.points]
    low, high = min(losses), min(max(losses), min(losses) + SHOWN)
    room = max(high - low, 1e-3)
    axes.margins(x=0.03)
    axes.set_ylim(low - 0.25 * room, high)


def _strokes(results: Results, names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Colour and dashes by row: ours in the accent colour, the others in greys."""
    found: dict[str, tuple[str, Any]] = {}
    used = {True: 0, False: 0}
    for name in names:
        records = results.of(name)
        if records:
            ours = records[0].ours
            found[name] = stroke(ours, used[ours])
            used[ours] += 1
    return found


def _curve(sheet: Sheet, results: Results, view: View, name: str, colour: str, dashes: Any) -> None:
    axes, records = sheet.axes, results.of(name)
    curves = [_xy(results, view, record) for record in records]
    if len(curves) > 1:
        for x, y in curves:
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
    x = [sum(values) / len(values) for values in zip(*(curve[0] for curve in curves), strict=False)]
    y = [sum(values) / len(values) for values in zip(*(curve[1] for curve in curves), strict=False)]
    width = 2.4 if records[0].ours else 1.8
    axes.plot(x, y, color=colour, linewidth=width, linestyle=dashes, zorder=3 if records[0].ours else 2)
    axes.plot(x[-1:], y[-1:], "o", color=colour, markersize=5, zorder=4)
    sheet.label(records[0].label, (x[-1], y[-1]), colour, bold=records[0].ours)


def _xy(results: Results, view: View, record: Record) -> tuple[list[float], list[float]]:
    """The curve's coordinates; the start, where nothing was sent, has no place on a logarithmic axis."""
    shown = [(view.x(results, point), point.loss) for point in record.points]
    kept = [(x, y) for x, y in shown if x > 0 or not view.logarithmic]
    return [x for x, _ in kept], [y for _, y in kept]
