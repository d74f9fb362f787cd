"""The frontier of one task as SVG: bytes against what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from frontier_lib.plan import Record
from frontier_lib.show import Found, found, unit
from frontier_lib.tasks import TASKS
from thinwire.report.drawing import ACCENT, FAINT, INK, Sheet, plain_logarithms

MARKS = {"dense": ("s", INK), "others": ("o", FAINT), "tried": ("d", FAINT), "ours": ("o", ACCENT)}
SHOWN = 4.0
"""What is this many times as far from the best as dense is, or farther, is left out: it would hide the rest."""


def draw(records: Mapping[str, Record], task: str, workers: int) -> str:
    """Every method's mean and spread; filled: with local momentum; named: those that no other one beats both ways."""
    shown = [cell for (name, _), cell in found(records, workers).items() if name == task and math.isfinite(cell.value)]
    sign = 1 if TASKS[task].metric == "loss" else -1
    best = min(sign * cell.value for cell in shown)
    worst = max(sign * cell.value for cell in shown if cell.method.group == "dense")
    limit = best + SHOWN * max(worst - best, 0.03 * abs(best))
    shown = [cell for cell in shown if sign * cell.value <= limit]
    sheet = Sheet("times fewer bytes than float32 (logarithmic)", f"{task}: {unit(TASKS[task].metric)}", (7.2, 4.8))
    axes = sheet.axes
    axes.set_xscale("log")
    plain_logarithms(axes.xaxis)
    for cell in shown:
        mark, colour = MARKS[cell.method.group]
        face = colour if cell.method.momentum is not None else "white"
        axes.errorbar(
            cell.ratio, cell.value, cell.spread, fmt=mark, color=colour, markerfacecolor=face, markersize=6, linewidth=1
        )
    for cell in shown:
        if cell.method.group != "ours" or not any(_beats(other, cell, sign) for other in shown):
            sheet.label(cell.method.label, (cell.ratio, cell.value), MARKS[cell.method.group][1], bold=False)
    axes.margins(x=0.16, y=0.08)
    return sheet.svg()


def _beats(one: Found, other: Found, sign: int) -> bool:
    return one.ratio >= other.ratio and sign * one.value < sign * other.value
