"""Rounds in which only some workers speak, and rounds that are listened to: what the exchange promises of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import thinwire as tw
from thinwire.exchange import ERROR_EVERY
from thinwire.rounds import finish

from .quadratics import compress

N, D, SEED = 5, 12, 7
LINKS = [
    tw.dcgd(tw.RandK(0.25)),
    tw.diana(tw.Ternary()),
    tw.ef21(tw.TopK(0.25)),
    tw.ef_bv(tw.Sign()),
    tw.dasha(tw.Rotated(bits=2)),
    tw.marina(tw.Natural()),
    tw.clag(tw.TopK(0.25), zeta=0.0),
]
ACTIVE = torch.tensor([True, False, True, False, False])


def exchange(link: tw.Link, route: str = "gather") -> tw.Exchange:
    return tw.Exchange(link, D, tw.LocalGroup(N), route=route, seed=SEED, dtype=torch.float64)


def vectors(step: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(step).normal(size=(N, D)))


@pytest.mark.parametrize("route", ["gather", "sharded"])
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_all_active_is_the_plain_round(link: tw.Link, route: str) -> None:
    plain, told = exchange(link, route), exchange(link, route)
    for step in range(4):
        outcomes = [
            finish(plain.round(vectors(step), step)),
            finish(told.round(vectors(step), step, active=torch.ones(N, dtype=torch.bool))),
        ]
        assert torch.equal(outcomes[0].estimate, outcomes[1].estimate)
        plain.commit(outcomes[0])
        told.commit(outcomes[1])


@pytest.mark.parametrize("route", ["gather", "sharded"])
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_who_is_silent_keeps_its_shift_and_says_zero(link: tw.Link, route: str) -> None:
    wire = exchange(link, route)
    wire.commit(finish(wire.round(vectors(0), 0)))
    for step in range(1, 30):
        if wire.dense(step):  # all speak
            continue
        before = wire.state[0]
        outcome = finish(wire.round(vectors(step), step, active=ACTIVE, listen=True))
        wire.commit(outcome)
        assert outcome.own is not None
        assert not outcome.own[~ACTIVE].any()
        after = wire.state[0]
        if before.shift is not None:
            assert after.shift is not None
            assert torch.equal(before.shift[~ACTIVE], after.shift[~ACTIVE])
            assert not torch.equal(before.shift[ACTIVE], after.shift[ACTIVE])
            if route == "gather":  # h̄ stays the mean of the h_i: a sum of 5 differs by a few roundings a step
                torch.testing.assert_close(after.mean[0], after.shift.mean(0), rtol=0, atol=30 * 8 * 2.0**-52)


@pytest.mark.parametrize("step", [0, 1, ERROR_EVERY])
def test_what_is_listened_to_is_what_the_messages_say(step: int) -> None:
    C, v = tw.Rotated(bits=2), vectors(step)
    outcome = finish(exchange(tw.dcgd(C)).round(v, step, listen=True))
    assert outcome.own is not None
    np.testing.assert_array_equal(outcome.own.numpy(), compress(C, N, v.numpy(), step))
    assert finish(exchange(tw.dcgd(C)).round(v, step)).own is None


def test_what_travels_whole_says_itself() -> None:
    v = vectors(0)
    outcome = finish(exchange(tw.marina(tw.RandK(0.25))).round(v, 0, listen=True))
    assert outcome.own is not None
    assert torch.equal(outcome.own, v)


def test_a_link_that_pays_back_its_errors_needs_everyone() -> None:
    with pytest.raises(ValueError, match=r"ef14\(.*needs all workers in every step\. Use ef21"):
        finish(exchange(tw.ef14(tw.TopK(0.25))).round(vectors(0), 0, active=ACTIVE))
