"""DORE, MCM and EF21-P + DIANA: their twins, what they are where the server's messages lose nothing, their rates.

Tolerance of the twins: as for the accelerated rules.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import thinwire as tw

from ..reference import methods as plain
from ..reference import methods_bidirectional as twin
from . import rules
from .rules import Array

LINK = tw.diana(tw.Rotated(bits=1))
UP = [tw.Ternary(), tw.Rotated(bits=1), tw.RandK(0.25)]
UNBIASED = [tw.Ternary(), tw.Rotated(bits=3), tw.Natural()]
CONTRACTIVE = [tw.TopK(0.25), tw.Sign(), tw.RandK(0.25).contractive()]
WHOLE = tw.Identity(bits=64)
ROUNDS = 30

up = pytest.mark.parametrize("C", UP, ids=repr)
unbiased = pytest.mark.parametrize("D", UNBIASED, ids=repr)
contractive = pytest.mark.parametrize("D", CONTRACTIVE, ids=repr)


def near(xs: list[Array], expected: list[Array]) -> None:
    assert len(xs) == len(expected)
    scale = np.abs(np.stack(expected)).max()
    np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=0, atol=1e-12 * scale)


@up
@unbiased
@pytest.mark.parametrize("penalty", [tw.Zero(), tw.L1(0.02)], ids=repr)
def test_dore(C: tw.Compressor, D: tw.Compressor, penalty: tw.Penalty) -> None:
    small = rules.logistic(penalty=penalty)
    xs, solution = small.run(tw.DORE(D), tw.diana(C), ROUNDS)
    more = solution.plan.more
    numbers = {"alpha": more["lam"], "beta": more["beta"], "eta": more["eta"], "prox": small.prox}
    down, step = rules.downlink(D), solution.plan.step
    near(xs, twin.dore(small.grads, small.messages(C), down, small.start, step, ROUNDS, **numbers))


@up
@unbiased
def test_mcm(C: tw.Compressor, D: tw.Compressor) -> None:
    small = rules.logistic()
    xs, solution = small.run(tw.MCM(D), tw.diana(C), ROUNDS)
    numbers = {"lam": solution.plan.more["lam"], "back": solution.plan.more["down"]}
    down, step = rules.downlink(D), solution.plan.step
    near(xs, twin.mcm(small.grads, small.messages(C), down, small.start, step, ROUNDS, **numbers))


@up
@contractive
def test_ef21p(C: tw.Compressor, D: tw.Compressor) -> None:
    small = rules.logistic()
    xs, solution = small.run(tw.EF21P(D), tw.diana(C), ROUNDS)
    down, step, lam = rules.downlink(D), solution.plan.step, solution.plan.more["lam"]
    near(xs, twin.ef21p_diana(small.grads, small.messages(C), down, small.start, step, ROUNDS, lam))


@pytest.mark.parametrize("rule", [tw.DORE(WHOLE), tw.MCM(WHOLE), tw.EF21P(WHOLE)], ids=repr)
def test_where_the_server_loses_nothing_it_is_diana(rule: tw.DORE | tw.MCM | tw.EF21P) -> None:
    """DORE moves β of the way, e staying 0: DIANA with the step βγ."""
    small, C = rules.logistic(), tw.Rotated(bits=1)
    xs, solution = small.run(rule, tw.diana(C), ROUNDS)
    step, lam = solution.plan.step * solution.plan.more.get("beta", 1.0), solution.plan.more["lam"]
    near(xs, plain.diana(small.grads, small.messages(C), small.start, step, ROUNDS, alpha=lam))


RULES = [
    (tw.DORE(tw.Rotated(bits=3)), LINK, 150),
    (tw.DORE(tw.Ternary()), tw.diana(tw.RandK(0.25)), 150),
    (tw.MCM(tw.Rotated(bits=3)), LINK, 150),
    (tw.MCM(tw.Ternary()), tw.diana(tw.RandK(0.25)), 150),
    (tw.EF21P(tw.TopK(0.5)), LINK, 150),
    (tw.EF21P(tw.Rotated(bits=3)), tw.diana(tw.RandK(0.25)), 150),
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


@pytest.mark.parametrize("rule", [tw.DORE(tw.Ternary()), tw.MCM(tw.Ternary()), tw.EF21P(tw.TopK(0.25))], ids=repr)
def test_the_servers_bytes_are_its_messages(rule: tw.DORE | tw.MCM | tw.EF21P) -> None:
    solution = rules.logistic().run(rule, LINK, 7)[1]
    assert solution.bytes_up == 7 * LINK.compressor.nbytes(8)
    assert solution.bytes_down == 7 * rule.down.nbytes(8)


def test_the_servers_draws_are_no_workers() -> None:
    """The first worker's message and the server's are of one compressor and one round, and yet choose apart."""
    C, x = tw.RandK(2), np.arange(1.0, 9.0)
    worker, server = rules.logistic(n=1).messages(C), rules.downlink(C)
    assert any(not np.array_equal(worker(x[None], k)[0], server(x, k)) for k in range(8))


@pytest.mark.parametrize(
    ("rule", "more", "says"),
    [
        (tw.DORE(tw.TopK(0.5)), {}, r"down must be unbiased; got TopK.* EF21P\(TopK"),
        (tw.MCM(tw.Sign()), {}, r"down must be unbiased; got Sign.* EF21P\(Sign"),
        (tw.EF21P(tw.RandK(0.25)), {}, r"down must be contractive; got RandK.*RandK\(k=0.25\)\).contractive\(\)"),
        (tw.EF21P(tw.TopK(0.5)), {"link": tw.ef21(tw.TopK(0.5))}, "send by a diana link; got ef21"),
        (tw.MCM(tw.Ternary()), {"oracle": tw.SAGA()}, r"oracle=Full\(\).*got SAGA"),
        (tw.MCM(tw.Ternary()), {"penalty": tw.L1(0.1)}, "allows no penalty. Use DORE"),
        (tw.EF21P(tw.TopK(0.5)), {"penalty": tw.L1(0.1)}, "allows no penalty. Use DORE"),
        (tw.EF21P(tw.TopK(0.5)), {"link": tw.diana(tw.RandK(2, shared=True))}, "independent among the workers"),
    ],
    ids=str,
)
def test_refuses_before_the_first_round(rule: object, more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tw.solve(rules.logistic().problem, rule=rule, workers=3, **more)  # type: ignore[arg-type]


def test_refuses_problems_that_are_not_convex_enough() -> None:
    A, b = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(ValueError, match="f must be strongly convex; got 'convex'"):
        tw.solve(tw.LogisticLoss(A, b), rule=tw.MCM(tw.Ternary()), workers=2)
    with pytest.raises(ValueError, match=r"every f_i must be strongly convex.*no intercept"):
        tw.solve(tw.SquaredLoss(A, b * 1.0), rule=tw.DORE(tw.Ternary()), workers=2)
