"""Partial participation: EF21-PP, PP-MARINA, DASHA-PP: their twins, who is there, what it costs, how fast they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import thinwire as tw
from thinwire.keys import Purpose

from ..comm.ranks import run_ranks
from ..reference import methods_partial as twin
from .stepping import SEED, assert_resumes, begin, compress, optimum, problem, rounds

UNBIASED = [tw.Identity(bits=64), tw.Natural(), tw.RandK(0.25), tw.Ternary()]
CONTRACTIVE = [tw.Identity(bits=64), tw.TopK(0.25), tw.Sign(), tw.RandK(0.25).contractive()]
LINKS = [tw.ef21(tw.TopK(0.25)), tw.marina(tw.RandK(0.25)), tw.dasha(tw.RandK(0.25))]
KINDS = ["ridge", "logistic"]
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
"""Twin and rule differ by float64 roundings, a few 1e-16 a step, which contraction forgets. Such a difference changes a
message only where it crosses a rounding of float32 or a draw, once in 1e8 values; the seeds are fixed."""
N, SHARE = 6, 0.4


def compared(link: tw.Link, reference: Any, kind: str, **numbers: Any) -> None:
    method, run = begin(problem(kind), tw.Partial(SHARE), link, N)
    more = {name: run.plan.more[name] for name in numbers.pop("more", ())}
    C = partial(compress, link.compressor, N)
    xs = reference(run.objective.gradients, C, x=run.x, gamma=run.plan.step, steps=40, **more, **numbers)
    np.testing.assert_allclose(rounds(method, 40), xs, **CLOSE)


def present(kind: str, link: tw.Link) -> Any:
    return begin(problem(kind), tw.Partial(SHARE), link, N)[0].present


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("C", CONTRACTIVE, ids=repr)
def test_ef21_pp_is_its_twin(C: tw.Compressor, kind: str) -> None:
    link = tw.ef21(C)
    compared(link, twin.ef21_pp, kind, present=present(kind, link))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_pp_marina_is_its_twin(C: tw.Compressor, kind: str) -> None:
    link = tw.marina(C)
    who = present(kind, link)
    coin = lambda k: tw.Key(SEED, k).uniform(Purpose.COIN)  # noqa: E731
    compared(link, twin.pp_marina, kind, clients=lambda k: np.flatnonzero(who(k)), coin=coin, more=("p",))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_dasha_pp_is_its_twin(C: tw.Compressor, kind: str) -> None:
    """The first messages are compressed, as those of the plain link are: g_i⁰ = C(∇f_i(x⁰))."""
    link = tw.dasha(C)
    omega = C.omega(8)
    assert omega is not None
    numbers: dict[str, Any] = {"participation": SHARE, "a": SHARE / (2 * omega + 1), "b": SHARE / (2 - SHARE)}
    run = begin(problem(kind), tw.Partial(SHARE), link, N)[1]
    first = compress(C, N, run.objective.gradients(run.x), 0)
    compared(link, twin.dasha_pp, kind, present=present(kind, link), g_i=first, **numbers)


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_with_everyone_it_is_the_plain_method_bit_for_bit(link: tw.Link) -> None:
    part, plain = begin(problem(), tw.Partial(1.0), link)[0], begin(problem(), tw.Gradient(), link)[0]
    np.testing.assert_array_equal(rounds(part, 20), rounds(plain, 20))


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_the_mean_of_the_shifts_is_the_receivers_shift(link: tw.Link) -> None:
    method, _ = begin(problem(), tw.Partial(SHARE), link)
    for k in range(60):
        method.round(k)
        state = method.wire.exchange.state[0]
        if state.shift is not None:  # MARINA has none
            # 60 means of five, each with a few roundings of what h_i is made of
            bound = 60 * 8 * 2.0**-52 * float(state.shift.abs().max())
            np.testing.assert_allclose(state.mean[0], state.shift.mean(0), rtol=0, atol=bound)


def test_those_who_are_absent_do_not_matter() -> None:
    """Whatever an absent worker has, the round is the same; and so is the worker, but for what it follows."""
    for link in LINKS:
        method, run = begin(problem(), tw.Partial(SHARE), link)
        other, _ = begin(problem(), tw.Partial(SHARE), link)
        for k in range(8):
            method.round(k)
            other.round(k)
        k = next(k for k in range(8, 50) if not method.wire.dense(k) and 0 < method.present(k).sum() < 5)
        v = run.objective.gradients(method.x)
        strange = np.where(method.present(k)[:, None], v, 1e3)
        ours, theirs = (
            one.wire.mean(rows, k, active=method.present(k)) for one, rows in ((method, v), (other, strange))
        )
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("participation", [0.05, 0.3, 0.9])
def test_who_is_there(participation: float) -> None:
    """Everyone at first; then as many as are asked for, each as often, in rounds that do not depend on each other."""
    n, K = 20, 400
    for link in (tw.marina(tw.Natural()), tw.ef21(tw.Sign())):
        method, _ = begin(problem(), tw.Partial(participation), link, n)
        assert method.present(0).all()
        here = np.stack([method.present(k) for k in range(1, K + 1)])
        if link.method == "marina":
            assert (here.sum(1) == max(1, round(participation * n))).all()
        share = here.mean() if link.method == "ef21" else max(1, round(participation * n)) / n
        sigma = np.sqrt(share * (1 - share) / K)
        assert np.abs(here.mean(0) - share).max() <= 5 * sigma  # 5 σ of each worker's share of the rounds
        assert abs(here.mean() - participation) <= 5 * np.sqrt(participation / (K * n))
        together = (here[1:] & here[:-1]).mean()
        assert abs(together - share**2) <= 5 * np.sqrt(share**2 / (K * n)) + 1e-12


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_only_who_is_there_is_counted(link: tw.Link) -> None:
    method, run = begin(problem(), tw.Partial(SHARE), link)
    expected = 0
    for k in range(50):
        speakers = 5 if method.wire.dense(k) else int(method.present(k).sum())
        size = 72 if method.wire.dense(k) else link.compressor.nbytes(8)  # 8 float64 values, and the flag
        expected += -(-speakers * size // 5)
        method.round(k)
        assert run.traffic.up == expected


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_contraction_is_at_least_the_plan_s(link: tw.Link) -> None:
    """f − f* is part of the theorem's V, of which the mean over seeds and rounds is to fall by 1 − γμ a round."""
    given, falls = problem("ridge", l2=0.5), []
    for seed in range(3):
        method, run = begin(given, tw.Partial(0.5), link, seed=seed)
        assert run.plan.rate is not None
        floor = run.objective.values(optimum(run)).mean()
        gaps = np.array([run.objective.values(x).mean() - floor for x in rounds(method, 400)])
        last = int(np.flatnonzero(gaps > 1e-9 * gaps[0])[-1])  # before float64's rounding is reached
        falls.append(np.log(gaps[last] / gaps[last // 4]) / (last - last // 4))
    assert np.mean(falls) <= np.log1p(-run.plan.rate)


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_it_reaches_the_optimum_and_says_so(link: tw.Link) -> None:
    given, step = problem("logistic", l2=0.1), "theory" if link.method == "marina" else "theory*8"
    solution = tw.solve(given, rule=tw.Partial(0.5), link=link, workers=5, step=step, tol=1e-8, max_rounds=4000)
    assert solution.status is tw.Status.CONVERGED
    # a gap of 1e-8 · (P(0) − min P) is at most (μ/2)‖x − x*‖², so that ‖x − x*‖ ≤ √(2 · 0.7e-8 / 0.1) < 4e-4
    np.testing.assert_allclose(solution.x, optimum(begin(given, tw.Gradient(), tw.dcgd(tw.Identity()))[1]), atol=4e-4)


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_it_resumes_bit_for_bit(link: tw.Link) -> None:
    assert_resumes(lambda: begin(problem(), tw.Partial(SHARE), link)[0])


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_three_ranks_and_three_rows_have_the_same_bits(link: tw.Link) -> None:
    given, arguments = problem("ridge"), {"rule": tw.Partial(0.5), "link": link, "tol": 1e-30, "max_rounds": 15}
    local = tw.solve(given, workers=3, **arguments)
    parts = np.array_split(np.arange(60), 3)

    def work(group: tw.ProcessGroup) -> tw.Solution:
        mine = parts[group.ranks.start]
        return tw.solve(tw.SquaredLoss(given.A[mine], given.b[mine], l2=given.l2), group=group, **arguments)

    for solution in run_ranks(3, work):
        np.testing.assert_array_equal(solution.x, local.x)
        assert solution.bytes_up == local.bytes_up


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"link": tw.diana(tw.Natural())}, r"Partial\(participation=0\.5\): theory has.*ef21, dasha and marina"),
        ({"link": tw.ef21(tw.TopK(0.5)), "penalty": tw.L1(0.1)}, "allows a penalty"),
        ({"link": tw.ef21(tw.TopK(0.5)), "oracle": tw.PAGE()}, r"full gradients.*oracle=Full"),
        ({"link": tw.dasha(tw.RandK(2, shared=True))}, r"errors must average out.*draws for itself"),
    ],
)
def test_what_theory_does_not_cover_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tw.solve(problem(), workers=4, rule=tw.Partial(0.5), **arguments)


@pytest.mark.parametrize("participation", [0.0, -0.1, 1.5, float("nan")])
def test_participation_is_a_share(participation: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        tw.Partial(participation)
