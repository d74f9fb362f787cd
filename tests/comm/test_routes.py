"""Which routes there are, what they cost, what is counted, and how a memory is put away and taken up again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import thinwire as tw
from thinwire.comm.base import Lane, Pending
from thinwire.comm.mean import ROUND_BYTES
from thinwire.exchange import route_bytes
from thinwire.kernels.arith import LANES, rank_sum
from thinwire.rounds import finish

from . import fleet
from .ranks import run_ranks

IDENTITY = tw.dcgd(tw.Identity())


@dataclass
class Counting(tw.Group):
    """Another group, and the bytes that one of its workers hands to the others."""

    inner: tw.Group
    bytes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size, self.ranks, self.device = self.inner.size, self.inner.ranks, self.inner.device

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        assert data.dtype == torch.uint8
        self.bytes.append(data[0].numel() * (self.size - 1))
        return self.inner.all_gather(data, lane)

    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        assert data.dtype == torch.uint8
        assert data.shape[:2] == (len(self.ranks), self.size)
        self.bytes.append(data[0, 0].numel() * (self.size - 1))
        return self.inner.all_to_all(data, lane)


@pytest.mark.parametrize("link", fleet.LINKS, ids=repr)
def test_the_bytes_reported_are_those_handed_over(link: tw.Link) -> None:
    n, d = 3, 50
    for route in fleet.legal(link, d, n):
        group = Counting(tw.LocalGroup(n))
        exchange = tw.Exchange(link, d, group, route=route)
        for k, dense in enumerate((False, True, False)):
            group.bytes.clear()
            outcome = finish(exchange.round(fleet.vectors(n, d, k), k, dense=dense))
            exchange.commit(outcome)
            assert list(outcome.sent.values()) == group.bytes, (route, k)
            if k == 2 and "down" in outcome.sent and not exchange.recursion.p:
                rounding = 2 * n * 4 if route == "allreduce" else 0  # n equal shares, each filled up to an element
                assert abs(sum(group.bytes) + 2 * ROUND_BYTES - exchange.costs[route]) <= rounding


def test_the_bytes_of_processes_with_several_workers() -> None:
    def work(inner: tw.ProcessGroup) -> None:
        for route in ("allreduce", "gather", "sharded"):
            group = Counting(inner)
            outcome = finish(tw.Exchange(IDENTITY, 10, group, route=route).round(torch.ones(2, 10), 0))
            assert list(outcome.sent.values()) == group.bytes

    run_ranks(2, work, rows=2)


class TestChoice:
    def test_the_cheapest(self) -> None:
        for link in fleet.LINKS:
            for n, d in ((2, 100), (64, 10**5)):
                exchange = tw.Exchange(link, d, Described(n))
                assert exchange.costs[exchange.route] == min(exchange.costs.values())

    def test_few_bytes_are_gathered_and_many_are_sharded(self) -> None:
        link = tw.diana(tw.Rotated(bits=1))
        assert tw.Exchange(link, 1000, Described(4)).route == "gather"
        assert tw.Exchange(link, 10**7, Described(16)).route == "sharded"
        assert tw.Exchange(tw.diana(tw.RandK(0.01, shared=True)), 10**6, Described(64)).route == "allreduce"

    def test_it_can_be_overridden(self) -> None:
        for route in ("allreduce", "gather", "sharded"):
            assert tw.Exchange(IDENTITY, 10, tw.LocalGroup(2), route=route).route == route

    def test_an_illegal_route_is_refused(self) -> None:
        rule = r"allreduce needs payloads of 32-bit elements .* RandK\(…, shared=True\).*Use gather or sharded"
        for link in (tw.diana(tw.RandK(0.1)), tw.ef21(tw.TopK(0.1)), tw.diana(tw.Float16())):
            with pytest.raises(ValueError, match=rule):
                tw.Exchange(link, 10, tw.LocalGroup(2), route="allreduce")
        with pytest.raises(ValueError, match="one of 'allreduce', 'gather', 'sharded'; got 'ring'"):
            tw.Exchange(IDENTITY, 10, tw.LocalGroup(2), route="ring")

    def test_sums_must_be_as_wide_as_what_remembers_them(self) -> None:
        shared = tw.RandK(0.5, shared=True)
        assert "allreduce" in route_bytes(tw.diana(shared), IDENTITY, 10, 2)
        assert "allreduce" not in route_bytes(tw.diana(shared), IDENTITY, 10, 2, torch.float64)
        assert "allreduce" in route_bytes(tw.dcgd(shared), IDENTITY, 10, 2, torch.float64)
        assert "allreduce" in route_bytes(tw.diana(shared >> tw.Identity(bits=64)), IDENTITY, 10, 2, torch.float64)
        with pytest.raises(ValueError, match="64-bit elements"):
            tw.Exchange(tw.diana(shared), 10, tw.LocalGroup(2), route="allreduce", dtype=torch.float64)


class TestDown:
    def test_by_default_the_link_itself_if_it_can_be(self) -> None:
        rotated = tw.diana(tw.Rotated(bits=3))
        for link in (tw.diana(tw.Ternary()), tw.ef14(tw.Sign()), tw.dasha(tw.Natural())):
            assert tw.Exchange(link, 10, tw.LocalGroup(2)).down == link
        for link in (tw.diana(tw.RandK(0.1)), tw.marina(tw.Ternary()), tw.lag(), tw.clag(tw.Sign())):
            assert tw.Exchange(link, 10, tw.LocalGroup(2)).down == rotated

    @pytest.mark.parametrize("down", [tw.marina(tw.Ternary()), tw.rand_diana(tw.Ternary()), tw.lag()], ids=repr)
    def test_neither_coin_nor_trigger(self, down: tw.Link) -> None:
        with pytest.raises(ValueError, match="neither coin nor trigger"):
            tw.Exchange(IDENTITY, 10, tw.LocalGroup(2), down=down)

    def test_an_owner_speaks_alone(self) -> None:
        """ef_bv's ν counts one speaker; Perm-K's ω still counts the n among whom coordinates are dealt."""
        exchange = tw.Exchange(IDENTITY, 40, tw.LocalGroup(4), down=tw.ef_bv(tw.RandK(5)), route="sharded")
        assert exchange.down_recursion.lam == exchange.down_recursion.nu == 0.5
        exchange = tw.Exchange(IDENTITY, 40, tw.LocalGroup(4), down=tw.diana(tw.PermK()), route="sharded")
        assert exchange.down_recursion.lam == 0.25


@dataclass
class Described(tw.Group):
    """A group that is only asked how large it is: one worker of n."""

    size: int
    ranks: range = range(1)
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # immutable

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        raise AssertionError

    all_to_all = all_gather


@pytest.mark.parametrize("link", fleet.LINKS, ids=repr)
def test_interrupted_and_resumed_is_uninterrupted(link: tw.Link, tmp_path: object) -> None:
    d, n = 20, 3
    for route in fleet.legal(link, d, n):

        def fresh(route: str = route) -> tw.Exchange:
            return tw.Exchange(link, d, tw.LocalGroup(n), route=route)

        whole = fleet.history(fresh(), range(5))
        first = fresh()
        fleet.history(first, range(3))
        torch.save(first.state_dict(), f"{tmp_path}/state.pt")
        fleet.history(first, range(3, 5))  # going on does not change what was put away
        second = fresh()
        second.load_state_dict(torch.load(f"{tmp_path}/state.pt"))
        rest = fleet.history(second, range(3, 5))
        for ours, theirs in zip(rest, whole[3:], strict=True):
            assert fleet.bits(ours.estimate) == fleet.bits(theirs.estimate), route
            assert fleet.same_states(ours.state, theirs.state), route


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    link = tw.diana(tw.Ternary())
    exchange = tw.Exchange(link, 10, tw.LocalGroup(2), route="sharded")
    fleet.history(exchange, range(2))
    before = exchange.state_dict()
    missing = {name: part for name, part in before.items() if name != "up.shift"}
    for wrong, message in (
        (missing, "its parts are down.mean, down.shift, down.started, up.mean, up.shift, up.started"),
        ({**before, "up.news": torch.zeros(1)}, "its parts are"),
        ({**before, "up.shift": torch.zeros(2, 11)}, r"up.shift has shape \(2, 10\); got torch.Size\(\[2, 11\]\)"),
        ({**before, "up.shift": True}, r"up.shift has shape \(2, 10\); got True"),
        (tw.Exchange(link, 10, tw.LocalGroup(2), route="gather").state_dict(), "its parts are"),
    ):
        with pytest.raises(ValueError, match=message):
            exchange.load_state_dict(wrong)
        assert fleet.same_states(exchange.state_dict(), before)


def test_a_loaded_state_is_a_copy() -> None:
    exchange = tw.Exchange(tw.diana(tw.Ternary()), 10, tw.LocalGroup(2), route="gather")
    given = {name: torch.as_tensor(part).clone() for name, part in exchange.state_dict().items()}
    exchange.load_state_dict({**given, "up.started": True, "down.started": False})
    given["up.shift"].fill_(5.0)
    assert not torch.as_tensor(exchange.state_dict()["up.shift"]).any()


matrices = st.tuples(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**31)).map(
    lambda drawn: torch.randn(drawn[:2], generator=torch.Generator().manual_seed(drawn[2])) * 10.0 ** (drawn[2] % 7)
)


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_rank_sum(x: Tensor) -> None:
    before = x.clone()
    total = rank_sum(x)
    assert torch.equal(x, before), "the summands are left as they were"
    lanes = np.zeros((min(len(x), LANES), x.shape[1]), np.float32)
    for rank, row in enumerate(x.numpy()):
        lanes[rank % LANES] += row
    expected = lanes[0]
    for lane in lanes[1:]:
        expected = expected + lane
    assert fleet.bits(total) == fleet.bits(torch.from_numpy(expected)), "the order is that of the documentation"
    assert fleet.bits(rank_sum(x[:, -1:])) == fleet.bits(total[-1:]), "a coordinate's sum is its own affair"
    exact = x.double().sum(0)  # a sum of n terms is off by at most n u Σ|x|, u = 2^-24
    assert ((total.double() - exact).abs() <= len(x) * 2.0**-24 * x.double().abs().sum(0)).all()
    whole = (x / x.abs().max() * 100).round()
    assert torch.equal(rank_sum(whole).double(), whole.double().sum(0)), "whole numbers add exactly"
    assert torch.equal(rank_sum(x[:1]), x[0])
