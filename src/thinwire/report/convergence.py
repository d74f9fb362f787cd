"""How near solvers came to the optimum, against rounds, bytes and seconds, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thinwire._check import fault
from thinwire.report.drawing import dress, plain_logarithms, style, svg_of, turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BYTES = "bytes sent by a worker (logarithmic)"
AXES = ("rounds", BYTES, "seconds")
ROUNDING = 2.0**-52
DIVERGED = 1e3
"""A curve is left off where it is so many times above the highest beginning."""


@dataclass(frozen=True)
class Curve:
    """The checked iterates of one solver, from the first to the last.

    Args:
        rounds, sent, seconds: what had been spent, `sent` in bytes of one worker.
        value: P(x).
        gap: P(x) − min P or an upper bound of it, None where none is known.
    """

    rounds: Sequence[float]
    sent: Sequence[float]
    seconds: Sequence[float]
    value: Sequence[float]
    gap: Sequence[float | None]


def convergence(
    curves: Mapping[str, Curve], optimum: float | None = None, against: Sequence[str] = AXES, legend: bool = True
) -> str:
    """A panel for each of `against`: suboptimality, logarithmic, against rounds, bytes a worker (logarithmic), seconds.

    It is P(x) − `optimum`. Where none is given: of one curve, its gap, if that is known throughout; otherwise P(x) less
    the least value of all curves, and the axis says so.

    A curve without a name has no legend; nor has any without `legend`, which then stands elsewhere.

    Raises:
        ValueError: there is no curve.
    """
    from matplotlib.figure import Figure

    if not curves:
        raise ValueError(fault("convergence(curves=…)", "there must be a curve"))
    heights, label = _heights(curves, optimum)
    start = max(height[0] for height in heights.values())
    with style():
        size = (11.5, 4.0) if len(against) > 1 else (4.8, 3.7)
        figure = Figure(figsize=size, layout="constrained")
        panels = dict(zip(against, figure.subplots(1, len(against), sharey=True, squeeze=False)[0], strict=True))
        first = panels[against[0]]
        for x, axes in panels.items():
            dress(axes, x, label if axes is first else "")
        for number, (name, curve) in enumerate(curves.items()):
            _draw(panels, name, curve, heights[name], number, DIVERGED * start)
        for x, axes in panels.items():
            if axes.lines and axes is first:  # a logarithmic axis needs something to begin with
                axes.set_yscale("log")
            if axes.lines and x == BYTES:
                axes.set_xscale("log")
                plain_logarithms(axes.xaxis, (1.0,))
                axes.xaxis.set_major_formatter(_bytes)
        for axes in panels.values():
            axes.minorticks_off()
        if legend and any(curves):
            handles, labels = first.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9.5)
    return svg_of(figure)


def _bytes(size: float, _: int) -> str:
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:g} {unit}"
    return f"{size:g} B"


def _heights(curves: Mapping[str, Curve], optimum: float | None) -> tuple[dict[str, list[float]], str]:
    """What is drawn of each curve, and the name of its axis."""
    only = next(iter(curves.values()))
    if optimum is None and len(curves) == 1 and None not in only.gap:
        return {name: [gap or 0.0 for gap in only.gap] for name in curves}, "gap: P(x) − min P, at most"
    finite = [value for curve in curves.values() for value in curve.value if value == value]
    least = min(finite, default=0.0) if optimum is None else optimum
    label = "P(x) − the least value found" if optimum is None else "P(x) − min P"
    return {name: [value - least for value in curve.value] for name, curve in curves.items()}, label


def _draw(
    panels: Mapping[str, Axes], name: str, curve: Curve, heights: Sequence[float], number: int, top: float
) -> None:
    """One curve in all panels; left off is what is not above rounding, or far above the beginning."""
    floor = ROUNDING * min(abs(value) for value in curve.value)
    colour, dashes = turn(number)
    for x, axes in panels.items():
        along = dict(zip(AXES, (curve.rounds, curve.sent, curve.seconds), strict=True))[x]
        shown = [(a, y) for a, y in zip(along, heights, strict=True) if floor < y < top]
        if x == BYTES:
            shown = [(a, y) for a, y in shown if a > 0]
        if shown:
            axes.plot(*zip(*shown, strict=True), color=colour, linestyle=dashes, linewidth=1.8, label=name)
