"""All cells, what is worth most first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from frontier_lib.methods import METHODS
from frontier_lib.plan import Cell
from frontier_lib.tasks import TASKS, Task

TUNED_ON = 4
"""The number of workers for which learning rates are tuned; others take them over."""


def cells(
    tasks: Sequence[str], methods: Sequence[str], workers: Sequence[int], seeds: int, steps: int | None = None
) -> list[Cell]:
    """Methods in the order given, each on all tasks, for the first number of workers; then for the next."""
    return [_cell(TASKS[task], method, n, seeds, steps) for n in workers for method in methods for task in tasks]


def _cell(task: Task, method: str, workers: int, seeds: int, steps: int | None) -> Cell:
    tuned = TASKS[task.tuned_as or task.name]
    here = Cell(task.name, method, workers, steps or task.steps, tuned.grid[METHODS[method].kind], seeds, tie=tuned.tie)
    if (tuned.name, TUNED_ON) == (task.name, workers):
        return here
    return replace(here, like=_cell(tuned, method, TUNED_ON, seeds, steps))
