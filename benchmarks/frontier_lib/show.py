"""What the records say, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from frontier_lib.methods import METHODS, Method
from frontier_lib.order import cells
from frontier_lib.plan import Cell, Record
from frontier_lib.tasks import TASKS
from thinwire.link import Link
from thinwire.report.grid import Grid

SEEDS = 3
NONE = "–"


@dataclass(frozen=True)
class Found:
    """What a cell came to: the runs at the best rate, one a seed."""

    cell: Cell
    rate: float
    runs: Sequence[Record]

    @property
    def method(self) -> Method:
        return METHODS[self.cell.method]

    @property
    def scores(self) -> list[float]:
        """The task's metric of each seed that did not diverge."""
        metric = TASKS[self.cell.task].metric
        return [run["score"][metric] for run in self.runs if run["score"] is not None]

    @property
    def value(self) -> float:
        """The mean over the seeds; not a number if one diverged."""
        return mean(self.scores) if len(self.scores) == len(self.runs) else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; 0 of a single one."""
        return stdev(self.scores) if len(self.scores) > 1 else 0.0

    @property
    def ratio(self) -> float:
        """How many times fewer bytes a step than float32, the dense steps at the start left out."""
        return float(self.runs[0]["ratio"])

    def text(self) -> str:
        """The value with its spread; how many seeds if not all."""
        if math.isnan(self.value):
            return "diverged"
        digits = 2 if TASKS[self.cell.task].metric == "accuracy" else 3
        spread = f" ± {self.spread:.{digits}f}" if len(self.runs) > 1 else ""
        return f"{self.value:.{digits}f}{spread}" + (f" ({len(self.runs)})" if len(self.runs) < self.cell.seeds else "")


def found(records: Mapping[str, Record], workers: int, steps: int | None = None) -> dict[tuple[str, str], Found]:
    """By (task, method), every cell that has a best rate."""
    made = {}
    for cell in cells(list(TASKS), list(METHODS), [workers], SEEDS, steps):
        rate, runs = cell.best(records), cell.runs(records)
        if rate is not None and runs:
            made[cell.task, cell.method] = Found(cell, rate, runs)
    return made


def _named(grid: Sequence[Sequence[str]], names: Sequence[str]) -> Sequence[str]:
    return [row[0] for row, name in zip(grid, names, strict=True) if METHODS[name].group == "ours"]


def summary(records: Mapping[str, Record], workers: int) -> Grid:
    """Every method: bytes, and what each task came to."""
    made = found(records, workers)
    shown = [name for name in METHODS if any((task, name) in made for task in TASKS)]
    rows = []
    for name in shown:
        ratios = [made[task, name].ratio for task in TASKS if (task, name) in made]
        cells = [made[task, name].text() if (task, name) in made else NONE for task in TASKS]
        rows.append((METHODS[name].label, between(ratios), *cells))
    heads = ("", "fewer bytes", *(f"{task.name}, {unit(task.metric)}" for task in TASKS.values()))
    notes = (
        f"mean ± standard deviation over {SEEDS} seeds, each method at its own best learning rate; of fewer seeds, how "
        "many in brackets",
        "– not run",
    )
    return Grid(f"{workers} workers", heads, rows, ours=_named(rows, shown), notes=notes)


def between(ratios: Sequence[float]) -> str:
    """The least and the largest, as one figure where they are nearly the same.

    >>> between([30.1, 26.9]), between([1.0, 1.0])
    ('27–30×', '1×')
    """
    low, high = (f"{value:.0f}" for value in (min(ratios), max(ratios)))
    return f"{low}×" if low == high else f"{low}–{high}×"


def unit(metric: str) -> str:
    return {"accuracy": "% right", "loss": "loss"}[metric]


def errors(records: Mapping[str, Record], task: str, workers: int) -> Grid:
    """How wrong estimates were along the way, beside what theory promises of a link without memory."""
    made = {method: cell for (name, method), cell in found(records, workers).items() if name == task}
    rows = []
    for name, cell in made.items():
        run = cell.runs[0]
        seen = run["errors"]
        early, late = seen[len(seen) // 5][1], seen[-3][1]
        rows.append(
            (
                METHODS[name].label,
                *(f"{value:.2f}" for value in (early, late)),
                promise(METHODS[name], run, workers),
                f"{run['memory']:.1f}",
                f"{cell.rate:.3g}",
            )
        )
    heads = ("", "error, early", "late", "ω alone", "memory", "rate")
    notes = (
        "error: ‖v̂ − v̄‖/‖v̄‖, after 30 % and after 80 % of the steps",
        "ω alone: what the declared ω comes to late, were v itself compressed, on both ways",
        "memory: numbers a parameter that a worker keeps",
    )
    return Grid(f"{TASKS[task].title}, {workers} workers", heads, rows, ours=_named(rows, list(made)), notes=notes)


def promise(method: Method, run: Record, workers: int) -> str:
    """√(u + ω_d (1 + u)) with u = (ω / n) · mean ‖v_i‖² / ‖v̄‖²: the error if v itself were sent by unbiased codes."""
    settings = method.settings(workers, 0)
    if not isinstance(settings.link, Link):
        return NONE
    d, size = int(run["parameters"]), run["errors"][-3][2]
    part = -(-d // workers) if settings.route == "sharded" else d
    up = settings.link.bind(workers).compressor
    if up.omega(part) is None:
        return NONE
    error = up.mean_variance(part, workers) * size**2
    if settings.route == "sharded":
        down = method.downlink(settings.link, workers).compressor.omega(part)
        if down is None:
            return NONE
        error += down * (1 + error)
    return f"{math.sqrt(error):.2f}"


DEFAULTS = ("rot3", "rot1-m", "half-m")
"""The defaults of `attach`, without momentum and with it, by their names here, and what sends less than the second."""


GEOMETRY = [name for name, method in METHODS.items() if method.geometry is not None]


def targets(records: Mapping[str, Record], workers: int = 4) -> list[Grid]:
    """Each default beside the same optimiser run dense, and what others use that beats it both ways; and under Adam
    what goes by its geometry."""
    made = found(records, workers)
    grids = [
        _beside(f"{METHODS[name].label}, {workers} workers", made, [(task, name) for task in TASKS], of_task)
        for name in DEFAULTS
    ]
    return [
        *grids,
        _beside(
            f"{TASKS['gpt'].title}, in Adam's geometry, {workers} workers",
            made,
            [("gpt", name) for name in GEOMETRY],
            of_method,
        ),
    ]


def of_task(cell: Found) -> str:
    return TASKS[cell.cell.task].title


def of_method(cell: Found) -> str:
    return cell.method.label


def _beside(
    title: str, made: Mapping[tuple[str, str], Found], rows: Sequence[tuple[str, str]], called: Callable[[Found], str]
) -> Grid:
    """Those of these (task, method) that are there; all methods have the same optimiser."""
    cells = [made[row] for row in rows if row in made]
    dense = "dense" if METHODS[rows[0][1]].momentum is None else "dense-m"
    told = [
        _row(made, cell, made[cell.cell.task, dense], called(cell)) for cell in cells if (cell.cell.task, dense) in made
    ]
    heads = ("", "fewer bytes", "it", METHODS[dense].label, "difference", "better with fewer bytes")
    return Grid(title, heads, told)


def _row(made: Mapping[tuple[str, str], Found], cell: Found, base: Found, name: str) -> tuple[str, ...]:
    apart = f"{cell.value / base.value - 1:+.1%}"
    if TASKS[cell.cell.task].metric == "accuracy":
        apart = f"{cell.value - base.value:+.2f}"
    return name, between([cell.ratio]), cell.text(), base.text(), apart, ", ".join(_rivals(made, cell)) or "none"


def _rivals(made: Mapping[tuple[str, str], Found], cell: Found) -> list[str]:
    """Of what others use, what needs fewer bytes and is better, too."""
    sign = 1 if TASKS[cell.cell.task].metric == "loss" else -1
    return [
        other.method.label
        for (task, _), other in made.items()
        if task == cell.cell.task
        and other.method.group == "others"
        and other.ratio > cell.ratio
        and sign * other.value < sign * cell.value
    ]
