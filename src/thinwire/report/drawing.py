"""A drawing in the house's dress, as SVG text; matplotlib is loaded when there is something to draw."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from thinwire.report.labels import spread_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#1c2430"
FAINT = "#8a94a3"
GRID = "#e6e9ee"
ACCENT = "#0b7a75"
ACCENT_LIGHT = "#3fae9f"
OTHERS = ("#2f3947", "#6d7887", "#8a94a3", "#a9b2be")
OURS = (ACCENT, ACCENT_LIGHT)
COLOURS = (ACCENT, "#c2571a", "#4b55b8", "#a3316f", "#7a7d12", INK)
"""Curves that are peers take these in turn; the next turn is dashed."""
DARK = {
    INK: "#e4e8ee",
    FAINT: "#8e99a8",
    GRID: "#2a323d",
    ACCENT: "#3fbfb2",
    ACCENT_LIGHT: "#2b8f86",
    "#2f3947": "#c9d1db",
    "#6d7887": "#9fabba",
    "#a9b2be": "#5f6a78",
    "#c2571a": "#f0894e",
    "#4b55b8": "#8f98f0",
    "#a3316f": "#e274b0",
    "#7a7d12": "#c0c344",
    "#ffffff": "#12161c",
}
"""What each colour is on a dark page; a label's rim is the page's ground."""
NAME = 34
"""Letters of a row's name that go into one line."""
DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


def style() -> AbstractContextManager[None]:
    """The context in which everything is drawn."""
    from matplotlib import rc_context

    return rc_context({"svg.fonttype": "path", "svg.hashsalt": "thinwire", "font.size": 10.5})


def dress(axes: Axes, x: str, y: str) -> None:
    """Axis labels, a faint grid, and no frame."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, length=0, labelcolor=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def svg_of(figure: Figure) -> str:
    """A figure as SVG text, the same bytes for the same picture."""
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


class Sheet:
    """One pair of axes, its labels, and the text of the SVG at the end."""

    def __init__(self, x: str, y: str, size: tuple[float, float] = (5.9, 4.3)) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with style():
            self._figure = Figure(figsize=size, layout="constrained")
            self._canvas = FigureCanvasAgg(self._figure)
            self.axes: Axes = self._figure.subplots()
            dress(self.axes, x, y)
        self._labels: list[Any] = []

    def label(self, text: str, xy: tuple[float, float], colour: str, bold: bool) -> None:
        """A label for the end of a curve; `svg` puts it where it covers nothing."""
        from matplotlib.patheffects import withStroke

        with style():
            label = self.axes.annotate(
                text,
                xy,
                textcoords="offset points",
                xytext=(8, 0),
                color=colour,
                va="center",
                weight="bold" if bold else "normal",
                fontsize=9.5,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 3},
                zorder=5,
            )
        label.set_path_effects([withStroke(linewidth=3, foreground="white")])
        self._labels.append(label)

    def legend(self, columns: int = 2) -> None:
        """Names of colours, above the axes."""
        self._figure.legend(loc="outside upper right", ncols=columns, frameon=False, fontsize=9.5)

    def svg(self) -> str:
        """The drawing as it stands."""
        with style():
            self._figure.draw_without_rendering()
            spread_labels(self.axes, self._labels, self._canvas.get_renderer())  # type: ignore[no-untyped-call]
        return svg_of(self._figure)


def wrapped(name: str) -> str:
    """A row's name in lines that leave the axes room.

    >>> print(wrapped("diana(randk(0.1, block=256) >> rotated(bits=1)), momentum 0.9"))
    diana(randk(0.1, block=256) >>
    rotated(bits=1)), momentum 0.9
    """
    return textwrap.fill(name, NAME, break_on_hyphens=False)


def turn(number: int) -> tuple[str, Any]:
    """Colour and dashes of the curve that is number `number` among its peers."""
    lap, colour = divmod(number, len(COLOURS))
    return COLOURS[colour], DASHES[min(lap, len(DASHES) - 1)]


def plain_logarithms(axis: Axis, subdivisions: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, 10, …"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=subdivisions))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def stroke(ours: bool, turn: int) -> tuple[str, Any]:
    """Colour and dashes of the curve that is number `turn` of its kind; beyond the palette, its last entry."""
    palette = OURS if ours else OTHERS
    return palette[min(turn, len(palette) - 1)], "-" if ours else DASHES[min(turn, len(DASHES) - 1)]
