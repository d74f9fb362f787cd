"""All ranks agree with each other and with LocalGroup bit for bit, in every route, for every shape and preset."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

import thinwire as tw
from thinwire.rounds import finish

from . import fleet
from .ranks import run_ranks

LENGTHS = (1, 2, 3, 7, 100, 1003)
"""Shorter than the group, and divisible by nothing."""

ROUTES = [
    ("allreduce", tw.diana(tw.RandK(0.3, shared=True))),
    ("allreduce", tw.ef21(tw.Identity())),
    ("allreduce", tw.dcgd(tw.Float16())),
    ("gather", tw.diana(tw.Rotated(bits=2))),
    ("gather", tw.marina(tw.PermK())),
    ("sharded", tw.diana(tw.Rotated(bits=1))),
    ("sharded", tw.marina(tw.PermK())),
    ("sharded", tw.ef14(tw.TopK(0.2))),
]

Made = Callable[[tw.Group], tw.Exchange]


def compare(
    exchanges: list[Made],
    processes: int,
    rows: int = 1,
    steps: int = 2,
    make: Callable[[int, int, int], Tensor] = fleet.vectors,
) -> None:
    """Every exchange, one after another, on threads and on a LocalGroup."""

    def work(group: tw.ProcessGroup) -> list[list[fleet.Seen]]:
        return [fleet.history(made(group), range(steps), make) for made in exchanges]

    ranks = run_ranks(processes, work, rows=rows)
    for i, made in enumerate(exchanges):
        exchange = made(tw.LocalGroup(processes * rows))
        local = fleet.history(exchange, range(steps), make)
        seen = [(range(r * rows, (r + 1) * rows), rank[i]) for r, rank in enumerate(ranks)]
        note = (exchange.link, exchange.route, exchange.d, processes, rows)
        fleet.agree(local, seen, sharded=exchange.route == "sharded", note=note)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_every_world_size_and_length(n: int) -> None:
    made = [partial(tw.Exchange, link, d, route=route) for route, link in ROUTES for d in LENGTHS]
    compare([lambda group, m=m: m(group=group) for m in made], n)


@pytest.mark.parametrize("link", fleet.LINKS, ids=repr)
def test_every_preset_through_every_route(link: tw.Link) -> None:
    """4 steps on 3 ranks, in float32; every fourth link in float64 too."""
    exchanges: list[Made] = [
        lambda group, route=route, dtype=dtype: tw.Exchange(link, 100, group, route=route, dtype=dtype)
        for dtype in ((torch.float32, torch.float64) if link in fleet.LINKS[3::4] else (torch.float32,))
        for route in fleet.legal(link, 100, 3)
        if not (route == "allreduce" and dtype == torch.float64 and link.recursion(100, 3).remembers)
    ]
    compare(exchanges, 3, steps=4)


@pytest.mark.parametrize("rows", [2, 3])
def test_several_workers_in_each_process(rows: int) -> None:
    """rows = 3 in each of 2 processes is LocalGroup(6)."""
    made = [partial(tw.Exchange, link, d, route=route) for route, link in ROUTES for d in (2, 7, 100)]
    compare([lambda group, m=m: m(group=group) for m in made], 2, rows=rows)


@pytest.mark.parametrize(
    "down", [tw.dcgd(tw.Identity()), tw.ef14(tw.Sign()), tw.dasha(tw.RandK(0.5)), tw.diana(tw.PermK())]
)
def test_a_downlink_of_one_s_own(down: tw.Link) -> None:
    link = tw.diana(tw.Rotated(bits=1))
    compare([lambda group: tw.Exchange(link, 50, group, down=down, route="sharded")], 3, steps=4)


def test_long_vectors_and_their_trigger() -> None:
    """Long enough for torch to split a sum between threads, when a row is alone and not when it is one of several."""
    made: list[Made] = [
        lambda group, link=link: tw.Exchange(link, 70_001, group, route="gather")
        for link in (tw.clag(tw.Sign(), zeta=0.7), tw.diana(tw.Rotated(bits=1)))
    ]
    compare(made, 2, steps=3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_worker_stops_the_step_for_all(bad: float) -> None:
    """Step 2 of 4 holds one bad value, on the last worker and in the last coordinate: whichever way it goes, all ranks
    see NaN throughout, and the states are as if the step had not been."""

    def make(n: int, d: int, k: int) -> Tensor:
        v = fleet.vectors(n, d, k).clone()
        if k == 2:
            v[-1, -1] = bad
        return v

    made = [partial(tw.Exchange, link, d, route=route) for route, link in ROUTES for d in (2, 100)]
    compare([lambda group, m=m: m(group=group) for m in made], 3, steps=4, make=make)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("link", fleet.LINKS, ids=repr)
def test_a_bad_step_leaves_no_trace(link: tw.Link, bad: float) -> None:
    d, n = 20, 4
    for route in fleet.legal(link, d, n):
        hurt, spared = (tw.Exchange(link, d, tw.LocalGroup(n), route=route) for _ in range(2))
        fleet.history(hurt, range(2))
        fleet.history(spared, range(2))
        before = {name: torch.as_tensor(part).clone() for name, part in hurt.state_dict().items()}
        v = fleet.vectors(n, d, 2).clone()
        v[1, 13] = bad
        for dense in (False, True):
            outcome = finish(hurt.round(v, 2, dense=dense))
            assert not outcome.finite
            assert outcome.estimate.shape == (d,)
            assert bool(outcome.estimate.isnan().all()), route
            assert fleet.same_states(hurt.state_dict(), before), "nothing was committed"
            hurt.commit(outcome)
            assert fleet.same_states(hurt.state_dict(), before), "a bad round commits nothing"
        for ours, theirs in zip(fleet.history(hurt, (3, 4)), fleet.history(spared, (3, 4)), strict=True):
            assert ours.finite
            assert fleet.bits(ours.estimate) == fleet.bits(theirs.estimate)
            assert fleet.same_states(ours.state, theirs.state)


def test_rounds_under_way_together_give_the_same_bits() -> None:
    """Five vectors, as the engine drives them: when one is begun, each older one moves on by a stage, newest first."""
    routes = [row for row in ROUTES if row[1].method != "marina"]

    def exchanges(group: tw.Group) -> list[tw.Exchange]:
        return [tw.Exchange(link, 30 + i, group, route=route, tensor=i) for i, (route, link) in enumerate(routes)]

    def together(group: tw.ProcessGroup) -> list[list[Tensor]]:
        mine = exchanges(group)
        estimates: list[list[Tensor]] = [[] for _ in mine]
        for k in range(3):
            outcomes: dict[int, tw.Outcome] = {}
            rounds = []
            for i, exchange in enumerate(mine):
                v = fleet.vectors(group.size, exchange.d, k)[group.ranks.start : group.ranks.stop]
                rounds.append((i, exchange.round(v, k)))
                _advance(rounds, outcomes)
            while rounds:
                _advance(rounds, outcomes)
            for i, exchange in enumerate(mine):
                estimates[i].append(outcomes[i].estimate)
                exchange.commit(outcomes[i])
        return estimates

    ranks = run_ranks(3, together)
    for i, exchange in enumerate(exchanges(tw.LocalGroup(3))):
        for k, seen in enumerate(fleet.history(exchange, range(3))):
            for rank in ranks:
                assert fleet.bits(rank[i][k]) == fleet.bits(seen.estimate), (exchange.link, exchange.route, k)


def _advance(rounds: list[tuple[int, object]], outcomes: dict[int, tw.Outcome]) -> None:
    for entry in reversed(rounds[:]):
        try:
            next(entry[1])  # type: ignore[call-overload]
        except StopIteration as end:
            outcomes[entry[0]] = end.value
            rounds.remove(entry)
