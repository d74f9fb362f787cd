"""The frontier's runs as a part of the page: what a method loses for the bytes it saves, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from thinwire.report.document import Figure, Section
from thinwire.report.grid import Grid
from thinwire.report.html import flatten
from thinwire.report.metrics import Spread
from thinwire.report.traces import pointed

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """A method on a task with so many workers, at the learning rate that was best on the first seed."""

    method: str
    rate: float
    runs: Sequence[Mapping[str, Any]]

    @property
    def loss(self) -> Spread:
        return Spread.over([run["score"]["loss"] for run in self.runs])

    @property
    def ratio(self) -> float:
        return fmean(run["ratio"] for run in self.runs)


def frontier(name: str, records: Sequence[Mapping[str, Any]]) -> Section:
    """A figure and a table for each task and number of workers."""
    runs = {tuple(sorted(record["config"].items())): record for record in records if "config" in record}
    places = dict.fromkeys((r["config"]["task"], r["config"]["workers"]) for r in runs.values())
    figures, grids = [], []
    for task, workers in places:
        here = [r for r in runs.values() if (r["config"]["task"], r["config"]["workers"]) == (task, workers)]
        cells = _cells(here)
        diverged = [run["config"]["method"] for run in here if run["score"] is None]
        if cells:
            figures += [_figure(f"{task}, {workers} workers", cells)] if len(cells) > 1 else []
            grids.append(_grid(f"{task}, {workers} workers", cells, diverged))
    sessions = [record["session"] for record in records if "session" in record]
    return Section(
        title=f"Loss for bytes ({name})",
        lead=f"{len(runs):,} runs; of each method the learning rate with the least loss on its first seed.",
        figures=figures,
        grids=grids,
        facts=[(n[:1].upper() + n[1:], value) for n, value in flatten(sessions[-1] if sessions else {})],
    )


def _cells(runs: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """The methods that learnt something, from the one that sends most on."""
    cells = []
    for method in dict.fromkeys(run["config"]["method"] for run in runs):
        mine = [run for run in runs if run["config"]["method"] == method and run["score"] is not None]
        if mine:
            first = min(run["config"]["seed"] for run in mine)
            tried = [run for run in mine if run["config"]["seed"] == first]
            rate = min(tried, key=lambda run: run["score"]["loss"])["config"]["rate"]
            cells.append(Cell(method, rate, [run for run in mine if run["config"]["rate"] == rate]))
    return sorted(cells, key=lambda cell: cell.ratio)


def _figure(title: str, cells: Sequence[Cell]) -> Figure:
    points = {cell.method: (cell.ratio, cell.loss.mean) for cell in cells}
    words = "; ".join(f"{cell.method}: {cell.ratio:.3g} times fewer bytes, loss {cell.loss:.4f}" for cell in cells)
    svg = pointed(points, "times fewer bytes than float32 (logarithmic)", "loss at the end")
    return Figure(title, svg, words, wide=True)


def _grid(title: str, cells: Sequence[Cell], diverged: Sequence[str]) -> Grid:
    rows = [
        (
            cell.method,
            f"{cell.ratio:.2f}×",
            f"{cell.loss:.4f}",
            _accuracy(cell.runs),
            f"{cell.rate:.3g}",
            str(len(cell.runs)),
        )
        for cell in cells
    ]
    notes = [f"diverged at some learning rates: {', '.join(dict.fromkeys(diverged))}"] if diverged else []
    return Grid(title, ("", "fewer bytes", "loss", "accuracy, %", "learning rate", "seeds"), rows, notes=notes)


def _accuracy(runs: Sequence[Mapping[str, Any]]) -> str:
    known = [run["score"]["accuracy"] for run in runs if run["score"]["accuracy"] is not None]
    return f"{fmean(known):.2f}" if known else NONE
