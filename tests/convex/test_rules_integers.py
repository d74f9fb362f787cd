"""IntSGD and IntDIANA: their twins, sums that never overflow, integers that stay small, and how fast they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import thinwire as tw
from thinwire.comm.total import total
from thinwire.convex.draws import METHOD
from thinwire.convex.methods.base import Run
from thinwire.convex.wire import NotFinite

from ..comm.ranks import run_ranks
from ..reference import methods_integers as twin
from .stepping import assert_resumes, begin, optimum, problem, rounds

WHOLE = tw.dcgd(tw.Identity(bits=64))
DIANA = tw.diana(tw.Rotated(bits=1))
RULES = [tw.IntSGD(bits=32), tw.IntDIANA(bits=16)]
INTEGERS = [torch.int8, torch.int16, torch.int32]


def compared(run: Run, steps: int, shifts: bool) -> Any:
    uniform = lambda k: run.draws.many(k, METHOD, run.case.d)  # noqa: E731
    beta, eps = run.plan.more["beta"], 1e-8
    return twin.intsgd(run.objective.gradients, run.x, run.plan.step, steps, beta, eps, uniform, shifts)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_it_is_its_twin(rule: Any, kind: str) -> None:
    """Both differ by float64 roundings, a few 1e-16 a step; an integer by one where t + u is so near to the next, once
    in 1e14 values."""
    method, run = begin(problem(kind), rule, WHOLE)
    xs, integers = compared(run, 40, isinstance(rule, tw.IntDIANA))
    np.testing.assert_allclose(rounds(method, 40), xs, rtol=1e-12, atol=1e-13)
    assert max(integers) <= method.limit
    assert method.cut == 0


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("n, size", [(1, 1), (3, 1), (4, 10), (7, 23)])
def test_sums_are_exact_at_the_ends_of_the_range(n: int, size: int, dtype: torch.dtype) -> None:
    most = torch.iinfo(dtype).max // n
    rng = np.random.default_rng(size)
    rows = rng.integers(-most, most, size=(n, size), endpoint=True)
    rows[:, 0] = most
    sums, sent = total(tw.LocalGroup(n), torch.from_numpy(rows).to(dtype))
    assert sums.dtype == dtype
    np.testing.assert_array_equal(sums.numpy(), rows.sum(0))
    assert sent == 2 * (n - 1) * -(-size // n) * dtype.itemsize


def test_integers_that_do_not_fit_are_cut_off_and_counted() -> None:
    """IntSGD's scale grows while its gradients do not vanish: eight bits for five workers end at ±25."""
    method, _ = begin(problem(), tw.IntSGD(bits=8), WHOLE)
    rounds(method, 200)
    assert method.limit == 25
    assert method.cut > 0
    assert np.isfinite(method.x).all()


def test_the_integers_of_intdiana_stay_small() -> None:
    """√(d/2n) γL_max plus the rounding of one is their order; ten times that is far below the ±25 of eight bits."""
    method, run = begin(problem("ridge"), tw.IntDIANA(bits=8), WHOLE)
    rounds(method, 400)
    expected = np.sqrt(run.case.d / 10) * run.plan.step * run.case.constants.largest
    assert method.limit == 25
    _, integers = compared(run, 200, shifts=True)
    assert max(integers[20:]) <= 10 * expected + 1


def test_the_mean_of_the_shifts_is_the_shift() -> None:
    method, _ = begin(problem(), tw.IntDIANA(), WHOLE)
    rounds(method, 60)
    # 60 increments, and means of five: a few roundings each of what h_i is made of
    np.testing.assert_allclose(method.mean, method.h.mean(0), rtol=0, atol=60 * 8 * 2.0**-52 * np.abs(method.h).max())


def test_shifts_go_to_the_optimum_where_plain_integers_stop() -> None:
    given = problem("ridge")
    arguments: dict[str, Any] = {"link": WHOLE, "workers": 5, "tol": 1e-12, "max_rounds": 1500}
    shifted = tw.solve(given, rule=tw.IntDIANA(bits=8), **arguments)
    plain = tw.solve(given, rule=tw.IntSGD(bits=8), **arguments)
    assert shifted.status is tw.Status.CONVERGED
    assert plain.status is tw.Status.FLOOR


@pytest.mark.parametrize("bits, rule", [(8, tw.IntDIANA), (16, tw.IntDIANA), (32, tw.IntSGD)])
def test_contraction_is_at_least_the_plan_s(bits: int, rule: Any) -> None:
    """f − f* is part of the theorem's V, of which the mean over seeds and rounds is to fall by 1 − γμ a round."""
    given, falls = problem("ridge", l2=0.1), []
    for seed in range(3):
        method, run = begin(given, rule(bits=bits), WHOLE, seed=seed)
        floor = run.objective.values(optimum(run)).mean()
        gaps = np.array([run.objective.values(x).mean() - floor for x in rounds(method, 300)])
        last = int(np.flatnonzero(gaps > 1e-9 * gaps[0])[-1])  # before float64's rounding is reached
        falls.append(np.log(gaps[last] / gaps[last // 4]) / (last - last // 4))
        assert method.cut == 0
    assert run.plan.rate is not None
    assert np.mean(falls) <= np.log1p(-run.plan.rate)


def test_bytes_are_those_of_the_elements() -> None:
    """The first round whole; then d integers and one that says whether all was finite, up and down alike."""
    arguments: dict[str, Any] = {"link": tw.dcgd(tw.Identity()), "workers": 5, "tol": 1e-30, "max_rounds": 11}
    for bits, rule in ((8, tw.IntDIANA), (16, tw.IntSGD)):
        solution = tw.solve(problem(), rule=rule(bits=bits), **arguments)
        assert solution.bytes_up == 9 * 4 + 10 * 9 * bits // 8
        assert solution.bytes_down == 8 * 8 + 10 * 9 * bits // 8


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_it_resumes_bit_for_bit(rule: Any) -> None:
    assert_resumes(lambda: begin(problem(), rule, WHOLE)[0])


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_row_that_is_not_finite_is_noticed_by_all(rule: Any) -> None:
    method, _ = begin(problem(), rule, WHOLE)
    rounds(method, 3)
    method.x[2] = np.nan
    with pytest.raises(NotFinite):
        method.round(3)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_three_ranks_and_three_rows_have_the_same_bits(rule: Any) -> None:
    given, arguments = problem("ridge"), {"rule": rule, "link": WHOLE, "tol": 1e-30, "max_rounds": 15}
    local = tw.solve(given, workers=3, **arguments)
    parts = np.array_split(np.arange(60), 3)

    def work(group: tw.ProcessGroup) -> tw.Solution:
        mine = parts[group.ranks.start]
        return tw.solve(tw.SquaredLoss(given.A[mine], given.b[mine], l2=given.l2), group=group, **arguments)

    for solution in run_ranks(3, work):
        np.testing.assert_array_equal(solution.x, local.x)
        assert (solution.bytes_up, solution.bytes_sent) == (local.bytes_up, local.bytes_sent)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rule": tw.IntSGD(), "link": DIANA}, r"IntSGD\(bits=32\): the link must send vectors as they are"),
        ({"rule": tw.IntDIANA(), "link": tw.dcgd(tw.Natural())}, "as they are"),
        ({"rule": tw.IntDIANA(), "link": WHOLE, "workers": 60}, None),
        ({"rule": tw.IntDIANA(), "link": WHOLE, "workers": 128}, r"sums of 128 integers do not fit in 8.*bits=16"),
        ({"rule": tw.IntDIANA(), "link": WHOLE, "penalty": tw.L1(0.1)}, "allows a penalty"),
        ({"rule": tw.IntSGD(), "link": WHOLE, "oracle": tw.LSVRG()}, r"full gradients.*oracle=Full"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: Any, message: str | None) -> None:
    solve = partial(tw.solve, problem(rows=130), max_rounds=2, **{"workers": 4, **arguments})
    if message is None:
        assert solve().status is tw.Status.SPENT
    else:
        with pytest.raises(ValueError, match=message):
            solve()


@pytest.mark.parametrize("rule", [tw.IntSGD, tw.IntDIANA])
def test_integers_have_eight_sixteen_or_thirty_two_bits(rule: Any) -> None:
    with pytest.raises(ValueError, match="bits must be one of 8, 16, 32"):
        rule(bits=4)
