"""All cells, what is worth most first."""

from __future__ import annotations

from collections.abc import Sequence

from frontier_lib.methods import METHODS
from frontier_lib.plan import Cell
from frontier_lib.tasks import TASKS

TUNED_ON = 4
"""The number of workers for which learning rates are tuned; others take them over."""


def cells(
    tasks: Sequence[str], methods: Sequence[str], workers: Sequence[int], seeds: int, steps: int | None = None
) -> list[Cell]:
    """Methods in the order given, each on all tasks, for the first number of workers; then for the next."""
    return [
        Cell(
            task,
            method,
            n,
            steps or TASKS[task].steps,
            TASKS[task].grid[METHODS[method].kind],
            seeds,
            None if n == TUNED_ON else TUNED_ON,
        )
        for n in workers
        for method in methods
        for task in tasks
    ]
