"""Stages: links that follow each other hand on what both remember, in the same step everywhere, and lose nothing."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

import thinwire as tw
from thinwire.exchange import Exchange
from thinwire.rounds import finish
from thinwire.training.reducer import Reducer

from . import jobs
from .fleet import Fleet
from .rows import SHAPES, mean_gradient, reducer, run, same

THREE, ONE = tw.diana(tw.Rotated(bits=3)), tw.diana(tw.Rotated(bits=1))
EPS = torch.finfo(torch.float32).eps


def exchanges(made: Reducer) -> list[Exchange]:
    return [part for part, frame in zip(made.carriers, made.frames, strict=True) if frame.sender is not None]


def apart(exchange: Exchange) -> float:
    """How far h̄ is from the mean of the h_i, in units of the largest h."""
    up = exchange.state[0]
    assert up.shift is not None
    assert up.mean is not None
    mean = up.mean.reshape(-1)[: exchange.d]
    return float((up.shift[:, : exchange.d].mean(0) - mean).abs().max() / up.shift.abs().max())


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_shifts_are_handed_on(route: str) -> None:
    made = reducer(tw.Stages({0: THREE, 5: ONE}), route=route)
    for step in range(5):
        run(made, step)
        before = [exchange.state for exchange in exchanges(made)]
    run(alone := reducer(THREE, route=route), 0)
    for step in range(1, 5):
        run(alone, step)
    for now, old, other in zip(exchanges(made), before, exchanges(alone), strict=True):
        assert now.link == ONE.bind(4), "the link of the next step is there when the last one is over"
        for place, side in enumerate(now.state):
            assert all(torch.equal(part, other.state[place].tensors()[name]) for name, part in side.tensors().items())
        assert old is now.state
    for step in range(5, 40):
        run(made, step)
        # each step adds the roundings of λ·m to h_i and to h̄: at most an eps of the largest h a step and side
        assert all(apart(exchange) <= 2 * EPS * (step + 1) for exchange in exchanges(made))


LINKS = ["dcgd", "diana", "rand_diana", "dasha", "marina", "ef21", "ef_bv", "clag", "ef14"]
STILL = torch.randn(3, 400, generator=torch.Generator().manual_seed(4)) + 2


def steps(exchange: Exchange, begin: int, end: int, v: Tensor = STILL) -> Tensor:
    """The last estimate."""
    for step in range(begin, end):
        outcome = finish(exchange.round(v, step))
        exchange.commit(outcome)
    return outcome.estimate


def link(name: str, bits: int) -> tw.Link:
    code = tw.Rotated(bits=bits, block=128)
    return getattr(tw, name)(code if name in ("dcgd", "diana", "rand_diana", "dasha", "marina") else code.contractive())


@pytest.mark.parametrize("first", LINKS)
@pytest.mark.parametrize("second", LINKS)
@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_any_link_may_follow_any_other_unless_it_owes(first: str, second: str, route: str) -> None:
    """Vectors stand still, so every link that remembers gets to their mean: also from what another has remembered."""
    if first == "ef14" != second:
        with pytest.raises(ValueError, match="Let both be ef14, or start with ef21"):
            tw.Stages({0: link(first, 1), 60: link(second, 2)})
        return
    down = tw.diana(tw.Rotated(bits=3, block=128))
    old = Exchange(link(first, 1), STILL.shape[1], tw.LocalGroup(3), down=down, route=route)
    mean = STILL.mean(0)
    steps(old, 0, 60)
    new = old.turned(link(second, 2))
    learned = new.state[0].shift is not None and old.state[0].shift is not None
    wrong = float((steps(new, 60, 61) - mean).norm() / mean.norm())
    if learned:
        assert wrong < 1e-4, "what was known is known"
    if second != "ef14":
        assert wrong < 0.5, "√ω = 0.37 of a vector, and what the answer adds"
    after = steps(new, 61, 130)
    if second not in ("dcgd", "ef14"):
        # each step multiplies the error by √(ω/(1+ω)) < 0.36, or √((1−δ)) of the same size: 70 of them by nothing
        assert (after - mean).norm() < 1e-5 * mean.norm()
    if new.state[0].shift is not None and new.state[0].mean is not None:
        assert apart(new) <= 2 * EPS * 130


def test_what_only_the_next_link_remembers_starts_from_zero() -> None:
    made, fresh = reducer(tw.Stages({0: tw.dcgd(tw.Rotated(bits=3)), 3: ONE})), reducer(ONE)
    for step in range(3):
        run(made, step)
    for now, new in zip(exchanges(made), exchanges(fresh), strict=True):
        for side, empty in zip(now.state, new.state, strict=True):
            assert all(torch.equal(part, empty.tensors()[name]) for name, part in side.tensors().items())
            assert not side.started


def test_a_memory_of_errors_is_handed_on_and_paid() -> None:
    """What was estimated and what is still owed are what was to be said, over a change of the compressor."""
    made = reducer(tw.Stages({0: tw.ef14(tw.TopK(0.1)), 4: tw.ef14(tw.TopK(0.01))}), route="gather")
    told = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    wanted = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(12):
        for name, estimate in run(made, step).items():
            told[name] += estimate
            wanted[name] += mean_gradient(name, step)
    for exchange, frame in zip(exchanges(made), made.frames, strict=False):
        assert exchange.state[0].error is not None
        owed = exchange.state[0].error.mean(0)
        for slot in frame.slots:
            rest = wanted[slot.name] - told[slot.name] - owed[slot.part].view(slot.shape)
            # roundings of 12 steps' sums, each of values up to about 12 × 4
            assert rest.abs().max() < 12 * 12 * 4 * EPS


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize(
    "links",
    [
        (tw.dcgd(tw.Rotated(bits=3)), ONE),
        (THREE, ONE),
        (tw.marina(tw.Rotated(bits=2)), ONE),
        (ONE, tw.dasha(tw.Rotated(bits=1))),
        (tw.ef21(tw.TopK(0.1)), tw.ef14(tw.TopK(0.01))),
    ],
    ids=str,
)
def test_resumed_anywhere_around_the_change(links: tuple[tw.Link, tw.Link], momentum: float | None) -> None:
    stages = tw.Stages({0: links[0], 3: links[1]})
    made = reducer(stages, momentum=momentum)
    saved, told = [made.state_dict()], []
    for step in range(6):
        told.append(run(made, step))
        saved.append(made.state_dict())
    for at in range(7):
        again = reducer(stages, momentum=momentum)
        again.load_state_dict(saved[at])
        assert all(same(run(again, step), told[step]) for step in range(at, 6)), at


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_a_step_that_is_not_finite_does_not_move_the_change(momentum: float | None) -> None:
    stages = tw.Stages({0: tw.dcgd(tw.Rotated(bits=3)), 2: ONE, 4: tw.dasha(tw.Rotated(bits=1))})
    spared = reducer(stages, momentum=momentum)
    told = [run(spared, step) for step in range(6)]
    for bad in range(6):
        hurt = reducer(stages, momentum=momentum)
        for step in range(6):
            if step == bad:
                assert run(hurt, 77, poison=2)["0.weight"].isnan().all()
            assert same(run(hurt, step), told[step]), (bad, step)
        assert hurt.steps == 6


def test_a_stage_counts_the_steps_that_counted() -> None:
    made = reducer(tw.Stages({0: THREE, 2: ONE}))
    run(made, 0)
    run(made, 1, poison=0)
    assert exchanges(made)[0].link == THREE.bind(4)
    run(made, 1)
    assert exchanges(made)[0].link == ONE.bind(4)


def test_all_ranks_change_in_the_same_step(fleet: Fleet) -> None:
    """A rank that changed earlier or later would decode another's bytes wrongly, or wait for ever."""
    stages = tw.Stages({0: tw.dcgd(tw.Rotated(bits=3)), 2: ONE})
    options = {"steps": 5, "attach": {"momentum": 0.9}}
    hurt = fleet.run(jobs.train_with, stages, {**options, "poison": (1, 2)})
    spared = fleet.run(jobs.train_with, stages, {**options, "skip": 2})
    for result in (*hurt, *spared):
        assert torch.equal(result["weights"], hurt[0]["weights"])
    alone = fleet.run(jobs.train_with, "dcgd(rotated(3))", {**options, "skip": 2})
    for number, (ours, others) in enumerate(zip(spared[0]["gradients"], alone[0]["gradients"], strict=True)):
        assert torch.equal(ours, others) == (number < 2), "the first two steps are those of the first link"


def test_stages_share_the_route_that_is_best_in_the_end() -> None:
    summable, thin = tw.dcgd(tw.RandK(0.5, shared=True)), tw.dcgd(tw.Rotated(bits=1))
    for links in ((summable, thin), (thin, summable)):
        made = reducer(tw.Stages(dict(enumerate(links))))
        routes = []
        for step in range(3):
            run(made, step)
            routes.append({exchange.route for exchange in exchanges(made)})
        assert all(before == after for before, after in pairwise(routes))
        assert routes[0] <= {"gather", "sharded"}, "the one that cannot be added up takes the other along"
    with pytest.raises(ValueError, match=r"route of dcgd\(Rotated\(bits=1\)\): allreduce needs payloads"):
        reducer(tw.Stages({0: summable, 1: thin}), route="allreduce")


def test_frames_are_those_of_the_last_stage() -> None:
    """A first stage that sends everything whole is no reason to leave the rest of training uncompressed."""
    made = reducer(tw.Stages({0: tw.dcgd(tw.Identity()), 2: ONE}))
    told = [run(made, step) for step in range(3)]
    for step, name in product(range(2), SHAPES):
        assert torch.allclose(told[step][name], mean_gradient(name, step), rtol=0, atol=4e-6)  # as in test_policy
    assert made.stats().last.ratio > 8
