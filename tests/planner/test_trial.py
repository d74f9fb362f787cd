"""What a trial says of rounds that it has not run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.planner.problems import quadratic, spectrum
from thinwire.planner.setting import Setting
from thinwire.planner.trial import Trial
from thinwire.planner.ways import PLAIN, Way

N, D, KAPPA = 4, 12, 40.0
VALUES = spectrum(D, KAPPA)
SETTING = Setting.of(quadratic(VALUES, N, ridge=0.5 / KAPPA), None, N, "even", 0)


def solved() -> tuple[float, float, np.ndarray]:
    """min P, P(0) − min P, and the error at 0 in the Hessian's own directions."""
    f = SETTING.prepared.run.objective
    gradient = f.gradients(np.zeros(D)).mean(axis=0)
    H = np.stack([f.gradients(unit).mean(axis=0) - gradient for unit in np.eye(D)], axis=1)
    values, turned = np.linalg.eigh(H)
    assert np.allclose(values, VALUES)
    x = np.linalg.solve(H, -gradient)
    return SETTING.value(x), SETTING.value(np.zeros(D)) - SETTING.value(x), turned.T @ x


OPTIMUM, WHOLE, ERROR = solved()


def tried(way: Way, line: float) -> Trial:
    trial = Trial(SETTING, way, OPTIMUM, WHOLE)
    while trial.gap > line and not trial.failed:
        trial.advance()
    return trial


def gap_of_descent(k: int, step: float) -> float:
    """½ Σ λ_j (1 − γλ_j)^2k e_j², as a part of the first."""
    return float(np.sum(VALUES * (1 - step * VALUES) ** (2 * k) * ERROR**2) / np.sum(VALUES * ERROR**2))


def test_gradient_descent_on_a_quadratic_is_foretold() -> None:
    """From a gap of 1e-5 to 1e-10: by then the ends of the spectrum alone are left, so that the rate stays."""
    way, tol = Way("gradient", PLAIN), 1e-10
    trial = tried(way, math.sqrt(tol))
    step = SETTING.plan(way).step
    needed = next(k for k in range(10_000) if gap_of_descent(k, step) <= tol)
    assert trial.rounds < 0.7 * needed
    assert trial.rounds_to(tol) == pytest.approx(needed, rel=0.03)


def test_a_gap_that_was_passed_is_looked_up() -> None:
    way = Way("gradient", PLAIN)
    trial, step = tried(way, 1e-6), SETTING.plan(way).step
    needed = next(k for k in range(10_000) if gap_of_descent(k, step) <= 1e-4)
    assert trial.rounds_to(1e-4) == pytest.approx(needed, abs=1)


@pytest.mark.parametrize("text", [PLAIN, "diana(rotated(bits=1))"])
def test_no_more_is_expected_than_theory_promises(text: str) -> None:
    trial = Trial(SETTING, Way("gradient", text), OPTIMUM, WHOLE)
    promised = SETTING.plan(trial.way).rounds(1e-8)
    assert promised is not None
    assert trial.rounds_to(1e-8) == pytest.approx(promised)
    for _ in range(20):
        trial.advance()
    assert trial.rounds_to(1e-8) <= trial.rounds + promised


def test_a_step_that_is_too_long_fails() -> None:
    trial = tried(Way("gradient", PLAIN, times=4.0), 1e-3)
    assert trial.failed
    assert trial.rounds_to(1e-3) == math.inf


def test_a_local_method_pays_for_its_gradients() -> None:
    """1/p of them between two messages; gradient descent makes one."""
    local, plain = Way("scaffnew", PLAIN), Way("gradient", PLAIN)
    assert SETTING.spent(plain, 10).passes == 10
    assert SETTING.spent(local, 10).passes == pytest.approx(10 / SETTING.plan(local).more["p"])
    assert SETTING.spent(local, 10).up == SETTING.spent(plain, 10).up
