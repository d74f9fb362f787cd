"""Every method with a linear rate contracts at least as fast as its plan promises, to 1e-10 of where it started."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .problem import Ridge, Run
from .rows import LASSO, PLAIN, ROWS, Row

CASES = [(row, problem) for row in ROWS for problem in ((PLAIN, LASSO) if row.plan.prox else (PLAIN,))]
NEAR, EXACT = 1e-5, 1e-20
"""‖x − x*‖² / ‖x⁰ − x*‖². Rounding is at (2^-52 κ)², 1e-30."""


def rounds_between(row: Row, problem: Ridge, seed: int) -> float:
    """Communications from NEAR to EXACT: of a run half as long as promised, or, where that is too short, twice.

    Twice is enough for a Lyapunov function that is any multiple below 1e20 of ‖x⁰ − x*‖² at first.
    """
    promised = row.plan.rounds(EXACT)
    assert promised is not None
    for share in (0.5, 2):
        run = Run(problem, math.ceil(share * promised / row.p), seed)
        left = np.array([problem.distance(x) for x in row.run(row.plan, run)]) / problem.distance(run.x)
        if left.min() < EXACT:
            return float(np.argmax(left < EXACT) - np.argmax(left < NEAR)) * row.p
    pytest.fail(f"stopped at {left.min():.1e}")


@pytest.mark.parametrize(
    "row, problem", CASES, ids=[row.name + (", l1" if problem.l1 else "") for row, problem in CASES]
)
def test_contraction_is_at_least_the_plan_s(row: Row, problem: Ridge) -> None:
    """The window NEAR to EXACT forgets the constants that stand between ‖x − x*‖² and a theorem's Lyapunov function.

    ln of a contraction is, on average, below ln of its average, so a mean over seeds of rounds is on the safe side; the
    + 1 is that of whole rounds. Where a step communicates by chance, rounds are steps × p.
    """
    promised = row.plan.rounds(EXACT / NEAR)
    assert promised is not None
    seeds = range(2 if row.chance and promised < 2000 else 1)
    assert np.mean([rounds_between(row, problem, seed) for seed in seeds]) <= promised + 1
