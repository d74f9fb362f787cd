"""What holds at every step, whatever is sent: both ends agree, nothing is lost, nothing of the caller's is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import thinwire as tw
from thinwire.kernels.arith import rank_sum
from thinwire.rounds import finish

from .quadratics import Quadratics, run

ROUNDOFF = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def test_the_mean_of_the_shifts_is_kept_over_100_000_steps() -> None:
    """h̄ = mean_i h_i. A step rounds h̄, each h_i and the mean of the messages: about n + 2 errors of u·max|h|, of
    either sign, so that after k steps 5 sigma are 5 √(k (n + 2)) u·max|h|. C here keeps a random half, times 2."""
    n, d, steps = 4, 8, 100_000
    recursion = tw.Recursion(lam=0.5)
    draw = torch.Generator().manual_seed(0)
    masks = 2.0 * torch.randint(0, 2, (1000, n, d), generator=draw)
    vectors = torch.randn(997, n, d, generator=draw) + torch.randn(n, d, generator=draw)
    state = recursion.start((n, d), (d,), torch.float32, torch.device("cpu"))
    for k in range(steps):
        v = vectors[k % 997]
        sent = recursion.send(v, state)
        own = sent * masks[k % 1000]
        _, mean = recursion.onto(state).add(rank_sum(own) / n)
        state = recursion.after(v, state, mean, own=own)
    assert state.shift is not None
    assert state.mean is not None
    drift = (state.mean.double() - state.shift.double().mean(0)).abs().max()
    assert drift <= 5 * math.sqrt(steps * (n + 2)) * ROUNDOFF[torch.float32] * state.shift.abs().max()


@pytest.mark.parametrize("link", [tw.diana(tw.RandK(0.25)), tw.ef21(tw.TopK(0.25)), tw.dasha(tw.Ternary())], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_of_the_shifts_is_kept_to_the_states_own_precision(link: tw.Link, dtype: torch.dtype) -> None:
    """The messages are float32, but float64 states are kept in float64: the same bound as above, worst case."""
    n, d, steps = 5, 13, 200
    exchange = tw.Exchange(link, d, tw.LocalGroup(n), route="gather", dtype=dtype)
    draw = torch.Generator().manual_seed(0)
    largest = 0.0
    for k in range(steps):
        exchange.commit(finish(exchange.round(torch.randn(n, d, generator=draw, dtype=torch.float64), k)))
        shift, mean = exchange.state[0].shift, exchange.state[0].mean
        assert shift is not None
        assert mean is not None
        largest = max(largest, float(shift.abs().max()))
    assert shift.dtype == mean.dtype == dtype
    drift = (mean.double() - shift.double().mean(0)).abs().max()
    assert drift <= steps * (n + 2) * ROUNDOFF[dtype] * largest


@pytest.mark.parametrize("C", [tw.TopK(0.2), tw.Sign(), tw.RandK(0.2).contractive()], ids=repr)
@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_ef14_loses_nothing(C: tw.Compressor, route: str) -> None:
    """x^k − γ mean_i e_i^k is the iterate of uncompressed descent along the same gradients.

    The sharded route's own downlink loses nothing either: its errors are added. Each step rounds some sums of
    magnitude M, the largest gradient or memory: 200 steps of at most 10 errors of 2^-53 M.
    """
    n, d, gamma = 5, 20, 0.02
    problem = Quadratics.drawn(n, d)
    exchange = tw.Exchange(tw.ef14(C), d, tw.LocalGroup(n), down=tw.ef14(tw.Sign()), route=route, dtype=torch.float64)
    x = virtual = problem.start
    largest = 0.0
    for k in range(200):
        v = torch.from_numpy(problem.grads(x))
        outcome = finish(exchange.round(v, k))
        exchange.commit(outcome)
        x = x - gamma * outcome.estimate.numpy()
        virtual = virtual - gamma * v.mean(0).numpy()
        error, below = exchange.state[0].error, exchange.state[1].error
        assert error is not None
        owed = error.mean(0) if below is None else error.mean(0) + below.reshape(-1)[:d]
        largest = max(largest, float(v.abs().max()), float(error.abs().max()))
        np.testing.assert_allclose(x - gamma * owed.numpy(), virtual, rtol=0, atol=200 * 10 * 2.0**-53 * largest)


@pytest.mark.parametrize("C", [tw.TopK(0.2), tw.RandK(0.2).contractive(), tw.Sign()], ids=repr)
def test_ef14_owes_little(C: tw.Compressor) -> None:
    """The quality law that goes with it: ‖e‖² ≤ 4 (1 − δ)/δ² max‖v‖² (Karimireddy et al., 2019, lemma 3), in
    expectation for a random C, whose mean over 8 workers is taken here; so the time average tends to v like 1/k."""
    n, d, steps = 8, 20, 300
    delta = C.delta(d)
    assert delta is not None
    v = torch.randn(n, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exchange = tw.Exchange(tw.ef14(C), d, tw.LocalGroup(n), route="gather", dtype=torch.float64)
    heard = torch.zeros(d, dtype=torch.float64)
    for k in range(steps):
        outcome = finish(exchange.round(v, k))
        exchange.commit(outcome)
        heard += outcome.estimate
        error = exchange.state[0].error
        assert error is not None
        owed = error.square().sum(1).mean()
        assert owed <= 4 * (1 - delta) / delta**2 * v.square().sum(1).max()
    assert (heard / steps - v.mean(0)).norm() <= owed.sqrt() / steps * (1 + 1e-9)


def test_a_dense_round_pays_what_ef14_owes() -> None:
    exchange = tw.Exchange(tw.ef14(tw.TopK(1)), 6, tw.LocalGroup(2), route="gather")
    v = torch.arange(12.0).reshape(2, 6)
    first = finish(exchange.round(v, 0))
    exchange.commit(first)
    second = finish(exchange.round(v, 1, dense=True))
    exchange.commit(second)
    assert torch.equal(first.estimate + second.estimate, 2 * v.mean(0))
    assert exchange.state[0].error is not None
    assert not exchange.state[0].error.any()


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_after_a_dense_round_the_link_knows_the_vectors(route: str) -> None:
    v = torch.randn(3, 10, generator=torch.Generator().manual_seed(1))
    for link in (tw.diana(tw.Ternary()), tw.ef21(tw.TopK(1)), tw.dasha(tw.Ternary()), tw.marina(tw.RandK(1))):
        exchange = tw.Exchange(link, 10, tw.LocalGroup(3), down=tw.dcgd(tw.Identity()), route=route)
        dense = finish(exchange.round(v, 0, dense=True))
        exchange.commit(dense)
        again = finish(exchange.round(v, 1))
        assert torch.equal(again.estimate, dense.estimate)  # v − r_i is all zeros, and zeros cost nothing
        assert torch.equal(dense.estimate, rank_sum(v) / 3)


@pytest.mark.parametrize("preset", ["diana", "ef21", "dasha", "marina", "rand_diana", "clag", "ef14"])
@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_the_state_is_nobody_elses(preset: str, route: str) -> None:
    """A caller that overwrites its vectors and estimates, as training does, changes no state."""
    C = tw.TopK(0.3) if preset in ("ef21", "clag", "ef14") else tw.RandK(0.3)
    exchange = tw.Exchange(getattr(tw.presets, preset)(C), 10, tw.LocalGroup(3), route=route)
    for k, dense in enumerate((True, False, False)):
        v = torch.randn(3, 10)
        outcome = finish(exchange.round(v, k, dense=dense))
        exchange.commit(outcome)
        before = {name: torch.as_tensor(part).clone() for name, part in exchange.state_dict().items()}
        v.fill_(77.0)
        outcome.estimate.fill_(78.0)
        for name, part in exchange.state_dict().items():
            assert torch.equal(torch.as_tensor(part), before[name]), name


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_the_trigger_keeps_no_bad_news_quiet(bad: float) -> None:
    """‖v − h‖² ≤ ζ‖v − v_prev‖² is false of NaN and true of ∞ ≤ ∞: neither may look like "nothing new"."""
    exchange = tw.Exchange(tw.lag(zeta=4.0), 5, tw.LocalGroup(2), route="gather")
    exchange.commit(finish(exchange.round(torch.ones(2, 5), 0)))
    v = torch.ones(2, 5)
    v[1, 3] = bad
    outcome = finish(exchange.round(v, 1))
    assert outcome.finite == (bad == 1e30)
    assert bool(outcome.estimate.isnan().all()) == (bad != 1e30)


@pytest.mark.parametrize("route", ["allreduce", "gather", "sharded"])
def test_a_sum_beyond_the_range_is_not_finite(route: str) -> None:
    """Every worker is finite; three times 2e38 is not a float32."""
    exchange = tw.Exchange(tw.diana(tw.Identity()), 5, tw.LocalGroup(3), route=route)
    outcome = finish(exchange.round(torch.full((3, 5), 2e38), 0))
    assert not outcome.finite
    exchange.commit(outcome)
    exchange.commit(finish(exchange.round(torch.ones(3, 5), 1)))
    assert all(torch.as_tensor(part).isfinite().all() for part in exchange.state_dict().values())


def test_wide_messages_do_not_widen_the_state() -> None:
    exchange = tw.Exchange(tw.diana(tw.Identity(bits=64)), 5, tw.LocalGroup(3), route="gather")
    outcome = finish(exchange.round(torch.ones(3, 5), 0))
    exchange.commit(outcome)
    assert outcome.estimate.dtype == torch.float32
    assert {part.dtype for part in exchange.state[0].tensors().values()} == {torch.float32}


def test_a_shift_makes_the_message_vanish() -> None:
    """The founding idea: as the gradients settle, so does what is sent."""
    problem = Quadratics.drawn(6, 12)
    _, exchange = run(problem, tw.diana(tw.RandK(0.5)), 0.05, 400)
    shift = exchange.state[0].shift
    assert shift is not None
    ideal = problem.grads(problem.solution)
    np.testing.assert_allclose(shift.numpy(), ideal, atol=1e-9 * np.abs(ideal).max())
