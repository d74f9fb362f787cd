"""Scaffnew and LoCoDL: their twins, what they conserve, what they become in the limit, and how fast they are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import thinwire as tw
from thinwire.convex.draws import METHOD
from thinwire.convex.methods.base import Run

from ..comm.ranks import run_ranks
from ..reference import methods_local as twin
from .stepping import Array, assert_resumes, begin, changed, compress, optimum, problem, rounds

WHOLE = tw.dcgd(tw.Identity(bits=64))
DIANA = tw.diana(tw.Rotated(bits=1))
UNBIASED = [tw.Identity(bits=64), tw.Natural(), tw.RandK(0.25), tw.RandK(3, shared=True), tw.Ternary(), tw.PermK()]
KINDS = ["ridge", "logistic"]
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
"""Twin and rule differ by float64 roundings, a few 1e-16 a step, which contraction forgets. Such a difference changes a
message only where it crosses a rounding of float32 or a draw, once in 1e8 values; the seeds are fixed."""


def heads(run: Run, iterations: int) -> list[int]:
    """The iterations that end in a communication."""
    return [k for k in range(iterations) if run.draws.coin(k, METHOD) < run.plan.more["p"]]


def expected(run: Run, reference: Any, communications: int, **numbers: Any) -> list[Array]:
    """The twin's mean x_i after each communication; a compressor draws by the number of the communication."""
    ends = heads(run, 400)[:communications]
    assert len(ends) == communications
    if "C" in numbers:
        real = numbers["C"]
        numbers["C"] = lambda x, k: real(x, ends.index(k))
    coin = partial(run.draws.coin, tensor=METHOD)
    X = np.zeros((run.objective.rows, run.objective.d))
    xs = reference(
        run.objective.gradients,
        X=X,
        gamma=run.plan.step,
        steps=ends[-1] + 1,
        p=run.plan.more["p"],
        coin=coin,
        **numbers,
    )
    return [xs[k] for k in ends]


@pytest.mark.parametrize("kind", KINDS)
def test_scaffnew_is_its_twin(kind: str) -> None:
    method, run = begin(problem(kind), tw.Scaffnew(), WHOLE)
    np.testing.assert_allclose(rounds(method, 20), expected(run, twin.scaffnew, 20), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_locodl_is_its_twin(C: tw.Compressor, kind: str) -> None:
    method, run = begin(problem(kind), tw.LoCoDL(), tw.dcgd(C))
    means = []
    for k in range(20):
        method.round(k)
        means.append(method.X.mean(0))
    numbers = {name: run.plan.more[name] for name in ("rho", "share", "dual")}
    C_k = partial(compress, C, 5)
    np.testing.assert_allclose(means, expected(run, twin.locodl, 20, C=C_k, **numbers), **CLOSE)


def test_the_duals_of_scaffnew_sum_to_nothing() -> None:
    method, run = begin(problem(), tw.Scaffnew(), WHOLE)
    for k in range(60):
        method.round(k)
        # h_i moves by (p/γ)(x − x̂_i): of the mean, five roundings of values below |x| + (γ/p)|h| are left
        size = run.plan.more["p"] / run.plan.step * np.abs(method.x).max() + np.abs(method.h).max()
        assert np.abs(method.h.mean(0)).max() <= 8 * 2.0**-52 * size
    np.testing.assert_allclose(method.h, run.objective.gradients(optimum(run)), atol=1e-4)


def test_float32_messages_do_not_make_the_duals_drift() -> None:
    """What a rounded round adds to Σ h_i the next one takes away: its size does not grow with the rounds."""
    method, run = begin(problem(), tw.Scaffnew(), tw.dcgd(tw.Identity(bits=32)))
    for k in range(400):
        method.round(k)
        said = np.abs(method.x).max() + run.plan.step / run.plan.more["p"] * np.abs(method.h).max()
        assert np.abs(method.h.mean(0)).max() <= 2 * 2.0**-24 * run.plan.more["p"] / run.plan.step * said
    np.testing.assert_allclose(method.x, optimum(run), atol=1e-6)


@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_the_duals_of_locodl_cancel(C: tw.Compressor) -> None:
    method, _ = begin(problem(), tw.LoCoDL(), tw.dcgd(C))
    rounds(method, 60)
    # 60 increments, each with a few roundings of what u and v are made of
    size = max(np.abs(method.u).max(), np.abs(method.v).max(), 1.0)
    assert np.abs(method.u.mean(0) + method.v).max() <= 60 * 16 * 2.0**-52 * size


def test_scaffnew_that_always_talks_is_gradient_descent() -> None:
    given = problem()
    _, run = begin(given, tw.Scaffnew(), WHOLE)
    method, run = begin(given, tw.Scaffnew(), WHOLE, plan=changed(run.plan, p=1.0))
    x, xs = run.x, []
    for _ in range(30):
        x = x - run.plan.step * run.objective.gradients(x).mean(0)
        xs.append(x)
    np.testing.assert_allclose(rounds(method, 30), xs, **CLOSE)


def test_locodl_that_always_talks_whole_is_gradient_descent_from_the_mean_of_x_and_y() -> None:
    """With C = Identity and p = ρ = χ = 1 all x_i and y are set to the mean of mean x̂_i and ŷ, and stay equal; the
    duals cancel in it. So a round is a step of γ on half of mean f̃_i + g, which is half of f."""
    given = problem()
    _, run = begin(given, tw.LoCoDL(), WHOLE)
    method, run = begin(given, tw.LoCoDL(), WHOLE, plan=changed(run.plan, p=1.0))
    x, xs = run.x, []
    for _ in range(30):
        x = x - run.plan.step / 2 * run.objective.gradients(x).mean(0)
        xs.append(x)
    np.testing.assert_allclose(rounds(method, 30), xs, **CLOSE)


def test_scaffnew_takes_penalties() -> None:
    """ProxSkip's server step: the optimum of an L1 problem, some of whose coordinates are nought."""
    method, run = begin(problem("ridge"), tw.Scaffnew(), WHOLE, penalty=tw.L1(0.3))
    rounds(method, 300)
    best = optimum(run)
    assert (best == 0).any()
    assert (best != 0).any()
    np.testing.assert_allclose(method.x, best, atol=1e-12)
    np.testing.assert_array_equal(method.x == 0, best == 0)


@pytest.mark.parametrize("rule", [tw.Scaffnew(), *(tw.LoCoDL(),) * 3], ids=["scaffnew", "whole", "natural", "randk"])
def test_contraction_is_at_least_the_plan_s(rule: Any, request: pytest.FixtureRequest) -> None:
    """The plan's rate is of a Lyapunov function that bounds ‖x − x*‖², and of 1/p iterations: over many rounds and
    several seeds the coin's luck is a few per cent of the exponent, far less than theory's slack."""
    links = {"natural": tw.dcgd(tw.Natural()), "randk": tw.dcgd(tw.RandK(0.5))}
    link = links.get(request.node.callspec.id, WHOLE)
    falls = []
    for seed in range(4):
        method, run = begin(problem("ridge", l2=0.01), rule, link, seed=seed)
        best, xs = optimum(run), rounds(method, 120)
        falls.append(np.log(np.sum((xs[-1] - best) ** 2) / np.sum((xs[19] - best) ** 2)) / 100)
    assert np.mean(falls) <= np.log1p(-run.plan.rate)


@pytest.mark.parametrize("rule", [tw.Scaffnew(), tw.LoCoDL()], ids=repr)
def test_local_steps_need_fewer_rounds(rule: Any) -> None:
    given = problem("ridge", l2=3e-3)
    local = tw.solve(given, rule=rule, link=WHOLE, workers=5)
    plain = tw.solve(given, rule=tw.Gradient(), link=WHOLE, workers=5)
    assert local.status is plain.status is tw.Status.CONVERGED
    assert local.rounds < plain.rounds / 2


@pytest.mark.parametrize("step", ["theory", "theory*0.5"])
@pytest.mark.parametrize("rule, link", [(tw.Scaffnew(), WHOLE), (tw.LoCoDL(), tw.dcgd(tw.Natural()))], ids=repr)
def test_it_converges_at_smaller_steps_too(rule: Any, link: tw.Link, step: str) -> None:
    method, run = begin(problem(), rule, link, step=step)
    rounds(method, 400)
    np.testing.assert_allclose(method.x, optimum(run), atol=1e-9)


@pytest.mark.parametrize("rule, link", [(tw.Scaffnew(), WHOLE), (tw.LoCoDL(), tw.dcgd(tw.RandK(0.25)))], ids=repr)
def test_it_resumes_bit_for_bit(rule: Any, link: tw.Link) -> None:
    assert_resumes(lambda: begin(problem(), rule, link)[0])


@pytest.mark.parametrize("rule, link", [(tw.Scaffnew(), WHOLE), (tw.LoCoDL(), tw.dcgd(tw.RandK(0.25)))], ids=repr)
def test_bytes_are_those_of_the_rounds(rule: Any, link: tw.Link) -> None:
    solution = tw.solve(problem(), rule=rule, link=link, workers=5, tol=1e-30, max_rounds=17)
    assert solution.bytes_up == 17 * link.compressor.nbytes(8)
    assert solution.bytes_down == 17 * 8 * 8


@pytest.mark.parametrize("rule, link", [(tw.Scaffnew(), WHOLE), (tw.LoCoDL(), tw.dcgd(tw.Ternary()))], ids=repr)
def test_three_ranks_and_three_rows_have_the_same_bits(rule: Any, link: tw.Link) -> None:
    given, arguments = problem("ridge"), {"rule": rule, "link": link, "tol": 1e-30, "max_rounds": 12}
    local = tw.solve(given, workers=3, **arguments)
    parts = np.array_split(np.arange(60), 3)

    def work(group: tw.ProcessGroup) -> tw.Solution:
        mine = parts[group.ranks.start]
        return tw.solve(tw.SquaredLoss(given.A[mine], given.b[mine], l2=given.l2), group=group, **arguments)

    for solution in run_ranks(3, work):
        np.testing.assert_array_equal(solution.x, local.x)
        assert (solution.bytes_up, solution.bytes_down) == (local.bytes_up, local.bytes_down)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"rule": tw.Scaffnew(), "link": DIANA},
            r"Scaffnew\(\): the link must send vectors as they are.*or use LoCoDL\(\)",
        ),
        ({"rule": tw.Scaffnew(), "link": tw.dcgd(tw.Float16())}, "as they are"),
        ({"rule": tw.Scaffnew(), "link": tw.diana(tw.Identity())}, "as they are"),
        ({"rule": tw.LoCoDL(), "link": DIANA}, r"LoCoDL\(\): the link must be without memory.*Pass link=dcgd\(Rotated"),
        ({"rule": tw.LoCoDL(), "link": WHOLE, "penalty": tw.L1(0.1)}, r"allows a penalty.*Scaffnew"),
        ({"rule": tw.LoCoDL(), "link": WHOLE, "oracle": tw.LSVRG()}, r"full gradients.*oracle=Full"),
    ],
)
def test_what_theory_does_not_cover_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tw.solve(problem(), workers=4, **arguments)


@pytest.mark.parametrize("rule", [tw.Scaffnew(), tw.LoCoDL()], ids=repr)
def test_every_worker_needs_a_ridge(rule: Any) -> None:
    """Squares with A of full rank are strongly convex in the mean, and yet no f_i of four rows is."""
    with pytest.raises(ValueError, match=r"strongly convex by its ridge.*l2 > 0"):
        tw.solve(problem("ridge", l2=0.0), rule=rule, link=WHOLE, workers=15)
    with_intercept = replace(problem(), intercept=True)
    with pytest.raises(ValueError, match="no intercept"):
        tw.solve(with_intercept, rule=rule, link=WHOLE, workers=4)
