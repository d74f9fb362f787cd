"""examples/workers.py: what changes with the number of workers is the variance ω/n, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import thinwire as tw

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec = importlib.util.spec_from_file_location("workers", EXAMPLES / "workers.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLES))
    return module


def test_all_workers_have_the_same_curvature_and_optima_of_their_own(example: ModuleType) -> None:
    few, more = example.problem(2), example.problem(6)
    assert np.array_equal(few.data, more.data[: 2 * example.D])
    promised = tw.predict(more, link=tw.parse_link(example.LINK), workers=6)
    constants = promised.constants
    assert constants.largest == pytest.approx(constants.smoothness)
    assert constants.smoothness / constants.strong == pytest.approx(example.KAPPA)
    apart = [tw.solve(example.problem(1), workers=1, tol=1e-8).x, tw.solve(few, workers=2, tol=1e-8).x]
    assert np.abs(apart[0] - apart[1]).max() > 0.1


def test_rounds_fall_with_the_workers_as_theory_promises(example: ModuleType) -> None:
    taken, promised = [], []
    for n in (4, 64):
        given = {"link": tw.parse_link(example.LINK), "workers": n, "tol": 1e-4}
        solution, bound = tw.solve(example.problem(n), **given), tw.predict(example.problem(n), **given)
        assert solution.converged
        taken.append(solution.rounds)
        promised.append(bound)
    omega = tw.RandK(1).omega(example.D)
    few, many = promised
    assert many.plan.rate / few.plan.rate == pytest.approx((1 + 6 * omega / 4) / (1 + 6 * omega / 64))
    assert all(rounds < bound.rounds for rounds, bound in zip(taken, promised, strict=True))
    assert taken[0] > 2 * taken[1]  # measured to 1e-6: 6 times
