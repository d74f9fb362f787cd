"""What `thinwire scale` found, as a table, sentences and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinwire.advisor.scaling import CLEAR, VALIDATED, Jitter, Point, Study
from thinwire.advisor.units import bandwidth_text, seconds_text
from thinwire.report.charts import Line, lines
from thinwire.report.grid import Grid

IDEAL = "ideal"


@dataclass(frozen=True)
class Found:
    """A study's points by choice and number of workers, where the best choice changes, and the break-even points."""

    study: Study
    workers: Sequence[int]
    points: Mapping[tuple[str, int], Point]
    turns: Sequence[tuple[int, str]]
    break_even: Mapping[int, float]

    @property
    def names(self) -> list[str]:
        """The choices, in their order."""
        return [name for name, _, _ in self.study.named()]

    @property
    def ours(self) -> list[str]:
        """Those that are thinwire."""
        return [name for name, choice, _ in self.study.named() if choice.ours]


def grid(found: Found) -> Grid:
    """A row for each number of workers: a step's time with each choice, its efficiency, and the break-even point."""
    simplest, alone = found.names[0], seconds_text(found.study.alone)
    compares = len(found.names) > 1
    rows = [
        (
            f"{n:,}" + " †" * (n > VALIDATED),
            *(_cell(found.points[name, n]) for name in found.names),
            *([_limit(found.break_even.get(n))] if compares else []),
        )
        for n in found.workers
    ]
    notes = ["in brackets the efficiency: samples a second, as part of n times those of one worker"]
    if compares:
        notes.append(f"pays up to: the bandwidth up to which {simplest} is beaten by {CLEAR - 1:.0%} or more")
    if not found.study.jitter.none:
        notes.append(f"means over {found.study.jitter.steps} steps, in each of which the slowest worker counts")
    if any(n > VALIDATED for n in found.workers):
        notes.append(f"† extrapolated: predictions were compared with measurements on up to {VALIDATED} workers")
    heads = ("workers", *found.names, *["pays up to"] * compares)
    return Grid(f"A step, whose compute alone takes {alone}", heads, rows, notes=notes)


def _cell(point: Point) -> str:
    return f"{seconds_text(point.seconds)} ({point.efficiency:.0%})"


def _limit(rate: float | None) -> str:
    if rate is None or rate == 0:
        return "–"
    return "any" if math.isinf(rate) else bandwidth_text(rate)


def remarks(found: Found) -> list[str]:
    """Which choice is best where."""
    first, *rest = found.turns
    text = f"Fastest with {first[0]:,} workers: {first[1]}" + "".join(f"; from {n:,} on: {name}" for n, name in rest)
    return [
        f"{text}. What is within {CLEAR - 1:.0%} counts as equal; of equals the first in the table is named.",
        "This is about a step's time, and says nothing of how many steps a training takes.",
    ]


def jitter_text(jitter: Jitter) -> str:
    """The jitter in words; nothing where there is none."""
    if jitter.none:
        return ""
    parts = [f"σ = {jitter.sigma:g}"] if jitter.sigma else []
    parts += [f"{jitter.slow:.2%} of steps {jitter.factor:g} times as long"] if jitter.slow else []
    return f"; compute times by worker: {', '.join(parts)}"


def picture(found: Found) -> str:
    """Speed-up against workers, and the ideal line, as SVG."""
    curves = {IDEAL: Line(found.workers, [float(n) for n in found.workers], guide=True)}
    for name in found.names:
        speeds = [found.points[name, n].speed_up for n in found.workers]
        curves[name] = Line(found.workers, speeds, ours=name in found.ours)
    beyond = f"; beyond {VALIDATED}: extrapolated" if max(found.workers) > VALIDATED else ""
    return lines(curves, f"workers{beyond}", "times the samples a second of one worker", log=True)
