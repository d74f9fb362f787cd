"""Where a method has nothing left of its own, it must be the method it degenerates to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import thinwire as tw
from thinwire.kernels.arith import rank_sum
from thinwire.rounds import finish

from ..reference.methods import gradient_descent
from .quadratics import Quadratics, run

PROBLEM = Quadratics.drawn(n=6, d=12)
GAMMA, STEPS = 0.05, 60
EXACT = tw.Identity(bits=64)


def with_numbers(link: tw.Link, **numbers: float) -> tw.Link:
    """The same link with some of its numbers put by hand."""
    rule = link.rule
    return replace(link, rule=lambda link, d, n: replace(rule(link, d, n), **numbers))


def same(left: tw.Link, right: tw.Link) -> None:
    ours, theirs = run(PROBLEM, left, GAMMA, STEPS)[0], run(PROBLEM, right, GAMMA, STEPS)[0]
    assert np.array_equal(np.stack(ours), np.stack(theirs))


def whole(n: int, d: int, k: int) -> Tensor:
    """Vectors of whole numbers: their sums and differences are exact in any order."""
    return torch.randint(-1000, 1000, (n, d), generator=torch.Generator().manual_seed(k)).double()


@pytest.mark.parametrize("preset", ["ef21", "diana", "dcgd", "ef_bv", "dasha", "marina", "rand_diana", "clag"])
@pytest.mark.parametrize("route", ["allreduce", "gather", "sharded"])
def test_identity_makes_it_the_mean_bit_for_bit(preset: str, route: str) -> None:
    """ω = 0, δ = 1: on whole numbers, and with 2^k workers, h̄ + mean(v − h) rounds nowhere."""
    link = getattr(tw.presets, preset)(EXACT, **({"zeta": 0.0} if preset == "clag" else {}))
    exchange = tw.Exchange(link, 9, tw.LocalGroup(4), down=tw.dcgd(EXACT), route=route, dtype=torch.float64)
    for k in range(10):
        v = whole(4, 9, k)
        outcome = finish(exchange.round(v, k))
        exchange.commit(outcome)
        assert torch.equal(outcome.estimate, v.mean(0))


@pytest.mark.parametrize("preset", [tw.ef21, tw.diana, tw.ef_bv, tw.dasha, tw.marina, tw.rand_diana, tw.ef14])
def test_identity_makes_it_gradient_descent(preset: Callable[[tw.Compressor], tw.Link]) -> None:
    """On real numbers each round adds some roundings of 2^-53, which the descent contracts: 1e-14 is 50 of them."""
    xs, _ = run(PROBLEM, preset(EXACT), GAMMA, STEPS)
    expected = gradient_descent(PROBLEM.grads, PROBLEM.start, GAMMA, STEPS)
    np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=0, atol=1e-14 * np.abs(PROBLEM.b).max())


def test_marina_with_p_1_is_the_mean_in_rank_order_bit_for_bit() -> None:
    link = with_numbers(tw.marina(tw.RandK(0.25)), p=1.0)
    exchange = tw.Exchange(link, 12, tw.LocalGroup(6), route="gather", dtype=torch.float64)
    for k in range(10):
        v = torch.from_numpy(PROBLEM.grads(np.full(12, float(k))))
        outcome = finish(exchange.round(v, k))
        exchange.commit(outcome)
        assert torch.equal(outcome.estimate, rank_sum(v) / 6)


def test_diana_with_lambda_0_is_dcgd() -> None:
    same(with_numbers(tw.diana(tw.Ternary()), lam=0.0), tw.dcgd(tw.Ternary()))


def test_dasha_with_a_1_is_ef_bv_with_lambda_nu_1() -> None:
    C = tw.RandK(0.25)
    same(with_numbers(tw.dasha(C), a=1.0), with_numbers(tw.ef_bv(C), lam=1.0, nu=1.0))


def test_ef_bv_on_a_deterministic_contraction_is_ef21() -> None:
    same(tw.ef_bv(tw.TopK(0.25)), tw.ef21(tw.TopK(0.25)))


def test_clag_with_zeta_0_is_ef21() -> None:
    same(tw.clag(tw.TopK(0.25), zeta=0.0), tw.ef21(tw.TopK(0.25)))


def test_ef_bv_of_one_worker_is_ef21_on_the_scaled_compressor() -> None:
    """λ = ν = 1/(1 + ω): the scale is applied in float64 there and in float32 here, 2^-24 relative a message."""
    one = Quadratics.drawn(n=1, d=12)
    ours, theirs = (
        run(one, link, GAMMA, STEPS)[0] for link in (tw.ef_bv(tw.RandK(0.3)), tw.ef21(tw.RandK(0.3).contractive()))
    )
    np.testing.assert_allclose(np.stack(ours), np.stack(theirs), rtol=1e-6, atol=1e-6)


def test_ef_bv_of_many_workers_takes_longer_steps_than_diana_s_shift() -> None:
    """λ is DIANA's; ν grows towards DIANA's ν = 1 as the workers' errors average out."""
    C = tw.RandK(0.25)
    lam = tw.diana(C).recursion(12, 1).lam
    assert [tw.ef_bv(C).recursion(12, n).lam for n in (1, 6, 1000)] == [lam] * 3
    assert [round(tw.ef_bv(C).recursion(12, n).nu, 3) for n in (1, 6, 1000)] == [0.25, round(1 / (1 + 3 / 6), 3), 0.997]


def test_identity_before_a_compressor_is_the_compressor() -> None:
    assert tw.Identity() >> tw.Ternary() == tw.Ternary()


@pytest.mark.parametrize("route", ["allreduce", "gather", "sharded"])
def test_one_worker_with_identity_has_no_error(route: str) -> None:
    exchange = tw.Exchange(tw.dcgd(tw.Identity()), 100, tw.LocalGroup(1), route=route)
    v = torch.randn(1, 100, generator=torch.Generator().manual_seed(0))
    outcome = finish(exchange.round(v, 0))
    assert torch.equal(outcome.estimate, v[0])
    assert outcome.error is not None
    assert outcome.error[0] == 0
    assert sum(outcome.sent.values()) == 0
