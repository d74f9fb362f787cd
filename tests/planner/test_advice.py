"""What is advised where it is known beforehand what is best."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest

import thinwire as tw
from tests.planner.problems import quadratic, spectrum
from thinwire.advisor.facts import Network
from thinwire.planner import SolveAdvice, advice, advise_solve
from thinwire.planner.ways import LSVRG, PLAIN, RULES, Way

FEW = (
    Way("gradient", PLAIN),
    Way("nesterov", PLAIN),
    Way("scaffnew", PLAIN),
    Way("locodl", "dcgd(rotated(bits=3))"),
    Way("gradient", "diana(natural())"),
    Way("gradient", "diana(natural())", times=2.0),
    Way("gradient", PLAIN, LSVRG(batch=4)),
)
SLOW, FAST = Network(bandwidth=1e3), Network(bandwidth=1e12)
N = 4


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """ADIANA's constants take a search for each compressor: a second and more."""

    def listed(d: int, n: int, m: int) -> Iterator[Way]:
        yield from FEW

    monkeypatch.setattr(advice, "ways", listed)


def advised(kappa: float, d: int = 12, **more: object) -> SolveAdvice:
    problem = quadratic(spectrum(d, kappa), N, ridge=0.5 / kappa)
    return advise_solve(problem, workers=N, **{"tol": 1e-4, **more})  # type: ignore[arg-type]


def test_ill_conditioned_and_gradients_dear_acceleration_whole() -> None:
    found = advised(300, goal="time", network=FAST, gradient=1.0)
    assert found.first.way == "nesterov: dcgd(identity())"
    assert not found.compress
    assert "Do not compress" in found.words[0]


def test_ill_conditioned_and_bytes_dear_local_and_compressed() -> None:
    found = advised(300, goal="bytes")
    assert found.first.way == "locodl: dcgd(rotated(bits=3))"
    assert found.compress
    assert any("Nesterov" in text or "nesterov" in text for text in found.words)


def test_well_conditioned_and_a_slow_link_compression() -> None:
    found = advised(2, d=64, goal="time", network=SLOW, gradient=1e-6)
    assert found.compress
    assert min(row.cost for row in found.rows if row.dense) > advice.SAFE * found.first.cost


def test_near_equals_the_simple_one() -> None:
    """Latency alone: a well-conditioned problem takes as many rounds with whole vectors as with 9 bits a value."""
    found = advised(2, goal="time", network=Network(latency=1.0), gradient=0.0)
    assert not found.compress


def test_a_constant_changes_nothing() -> None:
    """f and 4f, powers of two: the same rounds of the same ways."""
    made = [
        advise_solve(
            quadratic(spectrum(16, 30), N, ridge=0.01, scale=scale), workers=N, tol=1e-4, goal="bytes", gradient=1.0
        )
        for scale in (1.0, 4.0)
    ]
    assert [row.way for row in made[0].rows] == [row.way for row in made[1].rows]
    for one, other in zip(made[0].rows, made[1].rows, strict=True):
        assert one.cost == pytest.approx(other.cost, rel=1e-4)


def test_what_is_expected_happens() -> None:
    """Solved with other draws, what is advised costs what was expected, to the factor that the advice aims at."""
    problem = quadratic(spectrum(16, 100), N, ridge=0.005)
    found = advise_solve(problem, workers=N, tol=1e-6)
    way = next(way for way in FEW if way.text == found.first.way)
    exact = tw.solve(problem, rule=tw.Nesterov(), link=tw.dcgd(tw.Identity(bits=64)), workers=N, tol=1e-12)
    solution = tw.solve(
        problem,
        rule=RULES[way.rule],
        link=way.parsed(),
        workers=N,
        tol=1e-6,
        seed=7,
        optimum=exact.certificate.value,
    )
    assert solution.converged
    assert found.first.up / 1.5 < solution.bytes_up < found.first.up * 1.5


def test_rows_are_in_order_and_json_holds_them() -> None:
    found = advised(100, goal="bytes")
    trials = [row.cost for row in found.rows if row.basis == "trial"]
    assert trials[1:] == sorted(trials[1:])
    assert found.first.basis == "trial"
    assert min(trials) >= found.first.cost / advice.SAFE
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["rows"][0]["way"] == found.first.way
    assert {row["basis"] for row in told["rows"]} <= {"trial", "dropped", "theory"}
    assert found.passes > 0
    assert all(math.isinf(row.rounds) or row.rounds >= 1 for row in found.rows)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 1}, "one alone sends nothing"),
        ({"tol": 1.0}, "tol must be above 0 and below 1"),
        ({"goal": "money"}, "goal must be one of 'bytes', 'time'"),
        ({"goal": "time"}, "what the network is like"),
        ({"gradient": -1.0}, "at least 0 seconds"),
    ],
)
def test_wrong_input_is_refused(wrong: dict[str, object], said: str) -> None:
    problem = quadratic(spectrum(4, 2), N, ridge=0.1)
    with pytest.raises(ValueError, match=said):
        advise_solve(problem, **{"workers": N, **wrong})  # type: ignore[arg-type]


def test_a_nonconvex_problem_is_refused() -> None:
    problem = quadratic(spectrum(4, 2), N, ridge=0.1)
    with pytest.raises(ValueError, match="the problem must be convex"):
        advise_solve(tw.NonconvexLogistic(problem.data, problem.targets > 0), workers=N)
