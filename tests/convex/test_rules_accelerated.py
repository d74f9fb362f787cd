"""Nesterov and ADIANA: their twins, what they are where nothing is lost, their rates, and what they refuse.

Tolerance of the twins: both hand the compressor the same float64 vectors but for the last bits, and decode the same
float32 values (a difference of 1e-16 flips the rounding of one value in 10⁹). Over 30 rounds what differs stays at some
1e-15, relative to the largest coordinate; 1e-12 leaves room for the sums' order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import thinwire as tw
from thinwire import theory

from ..reference import methods_accelerated as twin
from ..reference.methods_restart import restarted
from . import rules
from .rules import Array, Small

EXACT = tw.diana(tw.Identity(bits=64))
LOSSY = [tw.Ternary(), tw.Rotated(bits=1), tw.RandK(0.25), tw.Natural()]
ROUNDS = 30


def near(xs: list[Array], expected: list[Array]) -> None:
    assert len(xs) == len(expected)
    scale = np.abs(np.stack(expected)).max()
    np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("penalty", [tw.Zero(), tw.L1(0.02)], ids=repr)
class TestNesterov:
    def test_strongly_convex(self, penalty: tw.Penalty) -> None:
        small = rules.logistic(penalty=penalty)
        xs, solution = small.run(tw.Nesterov(), EXACT, ROUNDS)
        plan = solution.plan
        beta = plan.more["momentum"]
        near(xs, twin.nesterov(small.grads, small.start, plan.step, ROUNDS, beta, small.prox))

    def test_convex(self, penalty: tw.Penalty) -> None:
        small = rules.logistic(l2=0.0, penalty=penalty)
        xs, solution = small.run(tw.Nesterov(), EXACT, 120)
        expected, restarts = restarted(small.grads, small.start, solution.plan.step, 120, small.prox)
        near(xs, expected)
        assert restarts
        plain = twin.fista(small.grads, small.start, solution.plan.step, restarts[0], small.prox)
        near(xs[: restarts[0]], plain)

    def test_restarts_find_strong_convexity(self, penalty: tw.Penalty) -> None:
        """Far beyond what FISTA alone reaches in as many rounds."""
        small = rules.logistic(l2=0.0, penalty=penalty)
        xs, solution = small.run(tw.Nesterov(), EXACT, 400, check_every=400)
        plain = twin.fista(small.grads, small.start, solution.plan.step, 400, small.prox)

        def mapping(x: Array) -> float:
            step = solution.plan.step
            return float(np.abs(x - small.prox(x - step * small.grads(x).mean(0), step)).max())

        assert mapping(xs[-1]) < 1e-2 * mapping(plain[-1])


def test_nesterov_where_kappa_is_one_is_gradient_descent() -> None:
    """f = ‖x − b‖²/2 + l2‖x‖²/2: κ = 1, β = 0."""
    A = np.sqrt(4) * np.eye(4)
    small = Small(tw.SquaredLoss(A, [1.0, 2.0, 3.0, 4.0], l2=0.5), n=2)
    case_xs, solution = small.run(tw.Nesterov(), EXACT, 1)
    assert solution.plan.more["momentum"] == pytest.approx(0, abs=1e-5)
    near(case_xs, twin.nesterov(small.grads, small.start, solution.plan.step, 1, 0.0))


def adiana(small: Small, C: tw.Compressor, plan: theory.Plan, rounds: int) -> list[Array]:
    """The twin, with the first messages under the keys of steps 2k, and the second ones under those of 2k + 1."""
    more = dict(plan.more)
    return twin.adiana(
        small.grads,
        small.messages(C, lambda k: 2 * k),
        small.messages(C, lambda k: 2 * k + 1),
        small.start,
        plan.step,
        rounds,
        fresh=bool(more.pop("fresh")),
        coin=rules.coin,
        prox=small.prox,
        **more,
    )


@pytest.mark.parametrize("C", LOSSY, ids=repr)
class TestADIANA:
    @pytest.mark.parametrize("penalty", [tw.Zero(), tw.L1(0.02)], ids=repr)
    @pytest.mark.parametrize("constants", ["tight", "paper"])
    def test_with_and_without_a_penalty(self, C: tw.Compressor, penalty: tw.Penalty, constants: str) -> None:
        small = rules.logistic(penalty=penalty)
        xs, solution = small.run(tw.ADIANA(constants=constants), tw.diana(C), ROUNDS)
        near(xs, adiana(small, C, solution.plan, ROUNDS))

    def test_refined(self, C: tw.Compressor) -> None:
        small = rules.logistic()
        xs, solution = small.run(tw.ADIANA(constants="refined"), tw.diana(C), ROUNDS)
        near(xs, adiana(small, C, solution.plan, ROUNDS))

    def test_two_messages_a_round_are_counted(self, C: tw.Compressor) -> None:
        small = rules.logistic()
        solution = small.run(tw.ADIANA(), tw.diana(C), 7)[1]
        assert solution.bytes_up == 7 * 2 * C.nbytes(8)
        promised = tw.predict(small.problem, rule=tw.ADIANA(), link=tw.diana(C), workers=5, tol=1e-6)
        assert promised.rounds is not None
        assert promised.bytes_up == promised.rounds * 2 * C.nbytes(8)
        assert solution.bytes_down == 7 * 8 * 8


def test_what_is_shared_does_not_average_out() -> None:
    """Of common coordinates ω_av is ω: a shorter step than that of independent ones."""
    small = rules.logistic()
    common, own = (
        tw.predict(small.problem, rule=tw.ADIANA(), link=tw.diana(tw.RandK(2, shared=shared)), workers=5)
        for shared in (True, False)
    )
    assert common.plan == theory.adiana_tight(common.constants, 3.0, 3.0)
    assert own.plan == theory.adiana_tight(own.constants, 3.0)
    assert common.plan.rate < own.plan.rate


@pytest.mark.parametrize("constants", ["tight", "paper", "refined"])
def test_a_step_of_ones_own_brings_its_own_momentum(constants: str) -> None:
    """step = 4 η: twice θ₁, and twice γ/β, whatever μ takes off."""
    small, C, rule = rules.logistic(), tw.Rotated(bits=1), tw.ADIANA(constants=constants)
    plan = small.run(rule, tw.diana(C), 1)[1].plan
    long = 2 * plan.more["gamma"] / plan.more["beta"]
    beta = 1 / (1 + long * small.problem.l2)
    changed = {**plan.more, "theta1": 2 * plan.more["theta1"], "gamma": long * beta, "beta": beta}
    xs, _ = small.run(rule, tw.diana(C), ROUNDS, step="theory*4")
    near(xs, adiana(small, C, theory.Plan("", "", 4 * plan.step, None, changed), ROUNDS))


def test_adiana_refined_without_loss_is_an_accelerated_gradient() -> None:
    """ω = 0 makes θ₂ = 0, and then z can be eliminated: y⁺ = x − η∇f(x), x⁺ = y⁺ + b(y⁺ − y) + c(y⁺ − x)."""
    small = rules.logistic()
    xs, solution = small.run(tw.ADIANA(constants="refined"), EXACT, ROUNDS)
    more, eta = solution.plan.more, solution.plan.step
    b = more["beta"] * (1 - more["theta1"])
    c = more["theta1"] * more["gamma"] / eta - more["theta1"] - b
    x = y = small.start
    expected = []
    for _ in range(ROUNDS):
        old, y = y, x - eta * small.grads(x).mean(0)
        x = y + b * (y - old) + c * (y - x)
        expected.append(y)
    near(xs, expected)


RULES = [
    (tw.Nesterov(), EXACT, 90),
    (tw.ADIANA(), tw.diana(tw.Rotated(bits=1)), 150),
    (tw.ADIANA(), tw.diana(tw.RandK(0.25)), 150),
    (tw.ADIANA(constants="paper"), tw.diana(tw.Rotated(bits=1)), 150),
    (tw.ADIANA(constants="refined"), tw.diana(tw.Rotated(bits=1)), 150),
]
each = pytest.mark.parametrize(("rule", "link", "rounds"), RULES, ids=str)


@each
def test_contracts_as_planned(rule: object, link: tw.Link, rounds: int) -> None:
    rules.contracts(rule, link, rounds)


@each
def test_three_ranks_and_one_process_agree_bit_for_bit(rule: object, link: tw.Link, rounds: int) -> None:
    rules.same_on_three_ranks(rule, link)


@each
def test_float32_stays_float32(rule: object, link: tw.Link, rounds: int) -> None:
    rules.keeps_float32(rule, link)


@each
def test_resumes_bitwise(rule: object, link: tw.Link, rounds: int, tmp_path: Path) -> None:
    rules.resumes_bitwise(rules.logistic(), rule, link, tmp_path)


def test_fista_resumes_bitwise_between_restarts(tmp_path: Path) -> None:
    rules.resumes_bitwise(rules.logistic(l2=0.0), tw.Nesterov(), EXACT, tmp_path, rounds=120)


@pytest.mark.parametrize(
    ("rule", "more", "says"),
    [
        (tw.Nesterov(), {"link": tw.diana(tw.Ternary())}, "must lose nothing; got diana.* ADIANA"),
        (tw.Nesterov(), {"link": tw.dcgd(tw.Float16())}, "must lose nothing; got dcgd"),
        (tw.Nesterov(), {"link": tw.lag()}, "must lose nothing; got lag"),
        (tw.Nesterov(), {"link": EXACT, "oracle": tw.LSVRG()}, r"oracle=Full\(\).* got LSVRG"),
        (tw.ADIANA(), {"link": tw.dcgd(tw.Ternary())}, r"send by a diana link; got dcgd"),
        (tw.ADIANA(), {"link": tw.diana(tw.Ternary()), "oracle": tw.Minibatch(2)}, r"oracle=Full\(\).* got Minibatch"),
        (tw.ADIANA("paper"), {"link": tw.diana(tw.RandK(2, shared=True))}, "independent among the workers; got RandK"),
        (tw.ADIANA(constants="refined"), {"link": EXACT, "penalty": tw.L1(0.1)}, "allows no penalty.*'tight'"),
    ],
    ids=str,
)
def test_refuses_before_the_first_round(rule: object, more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tw.solve(rules.logistic().problem, rule=rule, workers=3, **more)  # type: ignore[arg-type]


def test_refuses_problems_that_are_not_convex_enough() -> None:
    A, b = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(ValueError, match="f must be strongly convex; got 'convex'"):
        tw.solve(tw.LogisticLoss(A, b), rule=tw.ADIANA(), workers=2)
    with pytest.raises(ValueError, match="f must be convex"):
        tw.solve(tw.NonconvexLogistic(A, b), rule=tw.Nesterov(), link=EXACT, workers=2)


def test_constants_are_one_of_two() -> None:
    with pytest.raises(ValueError, match="constants must be one of 'tight', 'paper', 'refined'"):
        tw.ADIANA(constants="best")
