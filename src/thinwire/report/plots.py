"""Curves of a comparison as SVG text; the only module that imports matplotlib, and only when it draws."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thinwire.report.labels import spread_labels
from thinwire.report.metrics import Point, Record, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

INK = "#1c2430"
FAINT = "#8a94a3"
GRID = "#e6e9ee"
ACCENT = "#0b7a75"
ACCENT_LIGHT = "#3fae9f"
OTHERS = ("#2f3947", "#6d7887", "#8a94a3", "#a9b2be")
OURS = (ACCENT, ACCENT_LIGHT)
DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
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
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    text = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "thinwire", "font.size": 10.5}):
        figure = Figure(figsize=(5.9, 4.3), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        _dress(axes, view)
        labels = [_curve(axes, results, view, name, *stroke) for name, stroke in _strokes(results, names).items()]
        if view.logarithmic:
            _logarithmic(axes)
        _limit(axes, results)
        figure.draw_without_rendering()
        spread_labels(axes, labels, canvas.get_renderer())  # type: ignore[no-untyped-call]
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _dress(axes: Axes, view: View) -> None:
    axes.set_xlabel(view.axis, color=INK)
    axes.set_ylabel("held-out loss, nats a byte", color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, length=0, labelcolor=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers: 1, 2, 5, 10, …"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _limit(axes: Axes, results: Results) -> None:
    """Losses from a little below the lowest, where labels find room, to `SHOWN` above it."""
    losses = [point.loss for record in results.records if record.failure is None for point in record.points]
    low, high = min(losses), min(max(losses), min(losses) + SHOWN)
    room = max(high - low, 1e-3)
    axes.margins(x=0.03)
    axes.set_ylim(low - 0.25 * room, high)


def _strokes(results: Results, names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Colour and dashes by row: ours in the accent colour, the others in greys; beyond the palette, its last entry."""
    found: dict[str, tuple[str, Any]] = {}
    used = {True: 0, False: 0}
    for name in names:
        records = results.of(name)
        if records:
            ours = records[0].ours
            palette = OURS if ours else OTHERS
            turn = used[ours]
            found[name] = (palette[min(turn, len(palette) - 1)], "-" if ours else DASHES[min(turn, len(DASHES) - 1)])
            used[ours] += 1
    return found


def _curve(axes: Axes, results: Results, view: View, name: str, colour: str, dashes: Any) -> Annotation:
    from matplotlib.patheffects import withStroke

    records = results.of(name)
    curves = [_xy(results, view, record) for record in records]
    if len(curves) > 1:
        for x, y in curves:
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
    x = [sum(values) / len(values) for values in zip(*(curve[0] for curve in curves), strict=False)]
    y = [sum(values) / len(values) for values in zip(*(curve[1] for curve in curves), strict=False)]
    width = 2.4 if records[0].ours else 1.8
    axes.plot(x, y, color=colour, linewidth=width, linestyle=dashes, zorder=3 if records[0].ours else 2)
    axes.plot(x[-1:], y[-1:], "o", color=colour, markersize=5, zorder=4)
    label = axes.annotate(
        records[0].label,
        (x[-1], y[-1]),
        textcoords="offset points",
        xytext=(8, 0),
        color=colour,
        va="center",
        weight="bold" if records[0].ours else "normal",
        fontsize=9.5,
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 3},
        zorder=5,
    )
    label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    return label


def _xy(results: Results, view: View, record: Record) -> tuple[list[float], list[float]]:
    """The curve's coordinates; the start, where nothing was sent, has no place on a logarithmic axis."""
    shown = [(view.x(results, point), point.loss) for point in record.points]
    kept = [(x, y) for x, y in shown if x > 0 or not view.logarithmic]
    return [x for x, _ in kept], [y for _, y in kept]
