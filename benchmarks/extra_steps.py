"""How many more steps compression took, beside what the advisor expects: from the frontier's runs, nothing is trained.

    python benchmarks/extra_steps.py

Reads benchmarks/results/frontier.jsonl, writes benchmarks/predictions/extra-steps.json.

Observed: the loss that a method has reached after s steps was reached by the dense run after s' of its own; s / s', in
the median over the middle of the training, where both learning rates stand high. Each at its own best rate, losses in
the mean over the seeds. Expected: `Extra` of the error that was met along the way. Only of methods that send gradients
as they are: of running averages, errors were noted against these, and not against the gradients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from frontier_lib.methods import METHODS
from frontier_lib.records import Records
from frontier_lib.show import Found, found
from frontier_lib.tasks import TASKS

from thinwire.advisor.extra_steps import Extra
from thinwire.report.grid import Grid
from thinwire.report.provenance import provenance

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "benchmarks" / "results" / "frontier.jsonl"
FILE = ROOT / "benchmarks" / "predictions" / "extra-steps.json"
MIDDLE = 0.2, 0.8
"""The part of the training that is looked at."""
NEAR = 0.1
"""What is outside of the range by less, as a part of it, is within what runs of other seeds differ by."""


def curve(cell: Found) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the mean loss over the seeds."""
    runs = [np.array(run["losses"]) for run in cell.runs if len(run["losses"]) == len(cell.runs[0]["losses"])]
    return runs[0][:, 0], np.mean([run[:, 1] for run in runs], axis=0)


def observed(method: Found, dense: Found) -> float | None:
    """Steps as times those of the dense run; None where it never was as bad."""
    steps, losses = curve(method)
    whole, reached = curve(dense)
    falling = np.minimum.accumulate(reached)
    ratios = []
    for step, loss in zip(steps, losses, strict=True):
        if MIDDLE[0] <= step / steps[-1] <= MIDDLE[1] and falling[-1] < loss < falling[0]:
            ratios.append(step / np.interp(-loss, -falling, whole))
    return float(median(ratios)) if ratios else None


def expected(cell: Found) -> Extra:
    """Of the errors along the way."""
    error = float(np.mean([seen[1] ** 2 for run in cell.runs for seen in run["errors"]]))
    return Extra.of(error, source="the frontier")


def compared(made: Mapping[tuple[str, str], Found]) -> list[tuple[str, str, Extra, float]]:
    """(task, method, expected, observed)."""
    rows = []
    for (task, name), cell in made.items():
        method = METHODS[name]
        if method.momentum is None and method.group != "dense" and (task, "dense") in made:
            seen = observed(cell, made[task, "dense"])
            if seen is not None:
                rows.append((task, name, expected(cell), seen))
    return rows


def main() -> None:
    rows = compared(found(Records(RUNS).runs, workers=4))
    within = [extra.low * (1 - NEAR) <= seen <= extra.high * (1 + NEAR) for _, _, extra, seen in rows]
    ratios = [seen / extra.expected for _, _, extra, seen in rows]
    grid = Grid(
        "Steps to the same loss, as times those of the exact mean",
        ("", "task", "range", "expected", "observed"),
        [
            (METHODS[name].label, TASKS[task].name, f"1–{extra.high:.2f}", f"{extra.expected:.2f}", f"{seen:.2f}")
            for task, name, extra, seen in rows
        ],
        notes=(
            f"{sum(within)} of {len(rows)} lie within their range, or less than {NEAR:.0%} outside of it",
            f"observed over expected: {median(ratios):.2f} in the median, from {min(ratios):.2f} to {max(ratios):.2f}",
        ),
    )
    told = {
        "schema": 1,
        "command": "python benchmarks/extra_steps.py",
        "provenance": provenance(),
        "grids": [asdict(grid)],
        "rows": [
            {"task": task, "method": name, "high": extra.high, "expected": extra.expected, "observed": seen}
            for task, name, extra, seen in rows
        ],
    }
    FILE.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
