"""The run in a terminal: how far the gap has fallen, while it falls."""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

import thinwire as tw
from thinwire.report.html import bytes_text


def bar(console: Console) -> Progress:
    """A bar for the method that runs, which is full when the gap is down to tol; nothing where there is no terminal."""
    return Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[said]}", style="dim"),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )


class Gauge:
    """What a moment is worth on the bar, from 0 at the first one to 1 at tol.

    >>> gauge = Gauge(1e-4)
    >>> [round(gauge.done(tw.Moment(k, 0.0, 0, 0, 0, 0.0, 1.0, 10.0**-k)), 2) for k in (0, 1, 2, 8)]
    [0.0, 0.25, 0.5, 1.0]
    """

    def __init__(self, tol: float) -> None:
        self._tol, self._first = tol, math.nan

    def done(self, moment: tw.Moment) -> float:
        """Between 0 and 1, by the logarithm of the gap, or of the mapping where no gap is known."""
        now = moment.mapping if moment.gap is None else moment.gap
        if math.isnan(self._first):
            self._first = now
        if not 0 < now < math.inf or self._first <= 0:
            return 0.0 if now else 1.0
        return min(1.0, max(0.0, math.log(now / self._first) / math.log(self._tol)))


def said(moment: tw.Moment) -> str:
    """The words beside the bar."""
    name, now = ("mapping", moment.mapping) if moment.gap is None else ("gap", moment.gap)
    return f"{name} {now:.1e}  round {moment.round:,}  {bytes_text(moment.up)} up  {moment.seconds:.1f} s"
