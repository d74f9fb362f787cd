"""Other workers than before: who stays keeps what is its own, who joins is the mean of those, and h̄ is the mean."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import thinwire as tw
from tests.comm.fleet import LINKS
from tests.comm.ranks import run_ranks
from thinwire.rounds import finish_all

from . import reducers
from .test_checkpoint import legal

EPS = torch.finfo(torch.float32).eps
CHANGES = [(3, [2, 0], 2), (2, [0, 1], 3), (3, [1], 4)]
"""Old workers, the old ranks of the first workers now, and how many there are now; the rest joins."""


def changed(asked: Any, old: int, staying: list[int], new: int, route: str) -> tuple[Any, Any]:
    """A reducer of `old` workers after some steps, and one of `new` workers that goes on from it."""
    before = reducers.make(tw.LocalGroup(old), asked)
    reducers.run(before, range(3))
    after = reducers.make(tw.LocalGroup(new), asked)
    after.load_state_dict(reducers.packed(reducers.chosen(before.state_dict(), staying, route)))
    return before, after


def mean_of(frame: dict[str, Tensor], of: str = "up.shift") -> Tensor:
    return frame[of].to(torch.float64).mean(dim=0)


def h_bar(frame: dict[str, Tensor]) -> Tensor:
    """(d,), from the shares of their owners."""
    return frame["up.mean"].reshape(-1)[
        : next(v.shape[1] for k, v in frame.items() if k in ("up.shift", "up.previous"))
    ]


@pytest.mark.filterwarnings("ignore:thinwire. ")
@pytest.mark.parametrize("change", [*CHANGES, (3, [2, 0, 1], 3)], ids=str)
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_the_rule(link: tw.Link, change: tuple[int, list[int], int]) -> None:
    old, staying, new = change
    for route in sorted(set(legal(link, old)) & set(legal(link, new))):
        asked = reducers.settings(link, route=route, momentum=0.9)
        before, after = changed(asked, old, staying, new, route)
        assert after.steps == before.steps
        pairs = zip(reducers.remembered(before), reducers.remembered(after), strict=True)
        for was, now in pairs:
            for name in {"up.shift", "up.previous", "average"} & set(now):
                assert torch.equal(now[name][: len(staying)], was[name][staying]), "who stays keeps its own"
                # a sum in float64, rounded once
                expected = mean_of({name: was[name][staying]}, name)
                assert bool(((now[name][len(staying) :] - expected).abs() <= EPS * expected.abs()).all())
            if "up.mean" in now:
                own = "up.shift" if "up.shift" in now else "up.previous"
                # each h_i is as exact as float32 is, and so is h̄
                assert bool(((h_bar(now) - mean_of(now, own)).abs() <= EPS * now[own].abs().max()).all())
            if "up.error" in now:
                paid = now["up.error"].sum(dim=0) / new
                owed = was["up.error"][staying].sum(dim=0) / old
                assert torch.allclose(paid, owed, rtol=8 * EPS, atol=8 * EPS * float(was["up.error"].abs().max()))
                assert not bool(now["up.error"][len(staying) :].any())
            for name in {"down.mean", "down.error"} & set(now):  # shares end to end: what all know, and what is owed
                d = now["average"].shape[1]
                told, mine = was[name].reshape(-1)[:d], now[name].reshape(-1)[:d]
                if name == "down.mean":
                    assert torch.equal(mine, told)
                    assert torch.equal(now["down.shift"].reshape(-1)[:d], told)
                else:
                    part = was[name].shape[1]
                    of_who_stays = torch.tensor([int(i // part in staying) for i in range(d)])
                    assert torch.equal(mine, told * of_who_stays)


@pytest.mark.filterwarnings("ignore:thinwire. ")
@pytest.mark.parametrize("link", [tw.diana(tw.Rotated(bits=2)), tw.ef21(tw.TopK(0.2))], ids=repr)
@pytest.mark.parametrize("route", ["gather", "sharded"])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_mean_is_the_mean_50_steps_later(link: tw.Link, route: str, change: tuple[int, list[int], int]) -> None:
    old, staying, new = change
    _, after = changed(reducers.settings(link, route=route), old, staying, new, route)
    reducers.run(after, range(3, 53))
    for frame in reducers.remembered(after):
        if "up.shift" in frame:
            # a step rounds each h_i once, h̄ once, and the mean of n messages n times
            bound = 50 * (new + 2) * EPS * frame["up.shift"].abs().max()
            assert bool(((h_bar(frame) - mean_of(frame)).abs() <= bound).all())


@pytest.mark.parametrize(
    "link",
    [tw.diana(tw.Rotated(bits=2)), tw.ef21(tw.TopK(0.3)), tw.marina(tw.RandK(0.3)), tw.dasha(tw.RandK(0.3)), tw.lag()],
    ids=repr,
)
@pytest.mark.parametrize("change", [(3, [0, 2], 2), (2, [0, 1], 3)], ids=str)
def test_it_trains_on_to_the_optimum_of_who_is_there(link: tw.Link, change: tuple[int, list[int], int]) -> None:
    """f_i = ‖x − c_i‖²/2: the optimum is the mean of the c_i, and each link's differences vanish there."""
    old, staying, new = change
    asked = reducers.settings(link)
    before, after = reducers.make(tw.LocalGroup(old), asked), reducers.make(tw.LocalGroup(new), asked)
    centres = {name: torch.randn(4, torch.Size(shape).numel()) for name, shape in reducers.SHAPES.items()}
    x = {name: torch.zeros(c.shape[1]) for name, c in centres.items()}

    def train(reducer: Any, steps: int) -> float:
        n = reducer.group.size
        for _ in range(steps):
            rounds = []
            for number, frame in enumerate(reducer.frames):
                for slot in frame.slots:
                    for row in range(n):
                        reducer.put(slot.name, x[slot.name] - centres[slot.name][row], row)
                rounds.append(reducer.reduce(number))
            for frame, estimate in zip(reducer.frames, finish_all(rounds), strict=True):
                for slot in frame.slots:
                    x[slot.name] -= 0.1 * estimate.reshape(-1)[slot.part]
        return max(float((x[name] - c[:n].mean(dim=0)).norm() / c[:n].norm()) for name, c in centres.items())

    train(before, 30)
    after.load_state_dict(reducers.chosen(before.state_dict(), staying, before.carriers[0].route))
    at_first = train(after, 1)
    # plain gradient descent leaves 0.9^150 = 1e-7 of it: what is left is what the link costs, and float32's rounding
    assert train(after, 150) < 1e-3 * at_first + 32 * EPS


def test_processes_of_which_the_first_one_joins() -> None:
    asked = reducers.settings(tw.diana(tw.Rotated(bits=2)), other=tw.ef14(tw.Sign()), route="sharded", momentum=0.9)

    def before(group: tw.ProcessGroup) -> dict[str, Any]:
        one = reducers.make(group, asked)
        reducers.run(one, range(3))
        return one.state_dict()

    saved = run_ranks(3, before)
    given = [None, saved[2], None, saved[0]]

    def after(group: tw.ProcessGroup) -> tuple[Any, Any, Any]:
        one = reducers.make(group, asked)
        one.load_state_dict(given[group.ranks.start])
        found, notes = reducers.remembered(one), one.stats().notes
        return found, reducers.run(one, range(3, 6)), notes

    with pytest.warns(UserWarning, match="what 1 of 3 workers still owed when they left is lost"):
        results = run_ranks(4, after)
    for _, estimates, notes in results:
        assert notes[0] == "step 3: 2 of 3 workers went on, 2 joined"
        assert reducers.bits(estimates) == reducers.bits(results[0][1]), "all ranks hold the same bits"
    for frame in reducers.together([found for found, _, _ in results]):
        if "up.shift" in frame:
            assert bool(((h_bar(frame) - mean_of(frame)).abs() <= EPS * frame["up.shift"].abs().max()).all())


@pytest.mark.parametrize("link", [tw.marina(tw.RandK(0.3)), tw.clag(tw.TopK(0.2)), tw.diana(tw.Ternary())], ids=repr)
def test_one_worker_is_replaced(link: tw.Link) -> None:
    """For two of three nothing has changed, and yet all three begin anew: coins fall alike."""
    asked = reducers.settings(link, momentum=0.9)

    def work(group: tw.ProcessGroup) -> Any:
        one = reducers.make(group, asked)
        reducers.run(one, range(3))
        saved = one.state_dict()
        one.load_state_dict(None if group.ranks.start == 1 else saved)
        return reducers.run(one, range(3, 6)), reducers.remembered(one), one.stats().notes

    results = run_ranks(3, work)
    for estimates, _, notes in results:
        assert notes == ("step 3: 2 of 3 workers went on, 1 joined",)
        assert reducers.bits(estimates) == reducers.bits(results[0][0])


def test_the_route_may_be_another() -> None:
    """Few workers gather, many shard: h̄ is there all the same, and owners begin with nothing said."""
    link = tw.diana(tw.Rotated(bits=2))
    for before, after in (("gather", "sharded"), ("sharded", "gather")):
        one = reducers.make(tw.LocalGroup(3), reducers.settings(link, route=before))
        other = reducers.make(tw.LocalGroup(3), reducers.settings(link, route=after))
        reducers.run(one, range(4))
        with pytest.warns(UserWarning, match=f"route is '{after}' here, and was '{before}'"):
            other.load_state_dict(one.state_dict())
        for frame in reducers.remembered(other):
            if "up.shift" in frame:
                assert bool(((h_bar(frame) - mean_of(frame)).abs() <= EPS * frame["up.shift"].abs().max()).all())


def test_debts_of_owners_are_said_to_be_lost_where_there_are_none() -> None:
    link = tw.ef14(tw.Sign())
    one = reducers.make(tw.LocalGroup(3), reducers.settings(link, route="sharded"))
    other = reducers.make(tw.LocalGroup(3), reducers.settings(link, route="gather"))
    reducers.run(one, range(4))
    with warnings.catch_warnings(record=True, action="always") as said:
        other.load_state_dict(one.state_dict())
    assert [str(w.message) for w in said] == [
        "thinwire: route is 'gather' here, and was 'sharded' when the state was saved.",
        "thinwire: what the owners of shares still owed is lost: by this route there are none.",
    ]


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_parameters_that_come_and_go_and_another_order(route: str) -> None:
    """Frames are cut anew; what is still there keeps what it had, what is new begins with nothing."""
    asked = reducers.settings(tw.diana(tw.Rotated(bits=2)), route=route, momentum=0.9)
    one = reducers.make(tw.LocalGroup(3), asked)
    reducers.run(one, range(4))
    saved = one.state_dict()
    turned = reducers.make(tw.LocalGroup(3), asked, dict(reversed(reducers.SHAPES.items())))
    turned.load_state_dict(saved)
    again = turned.state_dict()["parameters"]
    for name, parts in saved["parameters"].items():
        for part in {"up.shift", "average"} & set(parts):
            assert torch.equal(again[name][part], parts[part])
    shapes = {**reducers.SHAPES, "new.weight": (6, 6)}
    del shapes["head.weight"]
    other = reducers.make(tw.LocalGroup(3), asked, shapes)
    with pytest.raises(ValueError, match=r"not of the same parameters: gone head\.weight"):
        other.load_state_dict(saved)
    with warnings.catch_warnings(record=True, action="always") as said:
        other.load_state_dict(saved, strict=False)
    assert [str(w.message) for w in said] == [
        "thinwire: gone since the state was saved: head.weight.",
        "thinwire: new since the state was saved: new.weight.",
    ]
    found = other.state_dict()["parameters"]
    assert torch.equal(found["layer.weight"]["up.shift"], saved["parameters"]["layer.weight"]["up.shift"])
    assert not bool(found["new.weight"]["up.shift"].any())
    for frame in reducers.remembered(other):
        if "up.shift" in frame:
            assert bool(((h_bar(frame) - mean_of(frame)).abs() <= EPS * frame["up.shift"].abs().max()).all())
    reducers.run(other, range(4, 8))


def test_another_link_takes_what_it_can_use_if_it_is_allowed_to() -> None:
    one = reducers.make(tw.LocalGroup(2), reducers.settings(tw.diana(tw.Rotated(bits=1))))
    other = reducers.make(tw.LocalGroup(2), reducers.settings(tw.ef21(tw.TopK(0.2)), momentum=0.9, seed=4))
    reducers.run(one, range(4))
    with pytest.raises(ValueError, match=r"link is .*ef21.* here; got .*diana.* Go on with .*diana"):
        other.load_state_dict(one.state_dict())
    with warnings.catch_warnings(record=True, action="always") as said:
        other.load_state_dict(one.state_dict(), strict=False)
    assert [str(w.message).partition(" is ")[0] for w in said] == [
        f"thinwire: {x}" for x in ("link", "momentum", "seed")
    ]
    for was, now in zip(reducers.remembered(one), reducers.remembered(other), strict=True):
        if "up.shift" in was:
            assert torch.equal(was["up.shift"], now["up.shift"])
    reducers.run(other, range(4, 8))


def test_states_that_do_not_belong_together_are_refused_on_all_ranks() -> None:
    asked = reducers.settings(tw.diana(tw.Rotated(bits=1)))
    local = reducers.make(tw.LocalGroup(3), asked)
    reducers.run(local, range(2))
    early = local.state_dict()
    reducers.run(local, range(2, 3))
    late = local.state_dict()
    route = local.carriers[0].route

    def of(state: dict[str, Any], rank: int) -> dict[str, Any]:
        return reducers.chosen(state, [rank], route)

    cases = [
        ([of(late, 0)] * 3, "rank 0 and rank 1 were both given the state of the old rank 0"),
        ([None, of(late, 1), of(late, 1)], "rank 1 and rank 2 were both given the state of the old rank 1"),
        ([of(late, 0), of(late, 1), of(early, 2)], "rank 0 and rank 2 are not of one save, steps 3 and 2"),
        ([of(late, 0), of(late, 1), {**of(late, 2), "world": 4}], "not of one save, world 3 and 4"),
        ([None, None, None], "no worker was given a state. To start afresh, load nothing"),
        ([of(late, 0), {"plain": True, "steps": 3}, None], "rank 0 and rank 1 are not of one save"),
    ]

    def work(group: tw.ProcessGroup) -> list[str]:
        said = []
        for given, _ in cases:
            one = reducers.make(group, asked)
            before = reducers.bits(one.state_dict())
            try:
                one.load_state_dict(given[group.ranks.start])
            except ValueError as error:
                said.append(str(error))
            assert reducers.bits(one.state_dict()) == before
        return said

    for said in run_ranks(3, work):
        for text, (_, message) in zip(said, cases, strict=True):
            assert message in text


@pytest.mark.parametrize("link", [tw.diana(tw.RandK(0.3)), tw.ef14(tw.TopK(0.2))], ids=repr)
def test_one_tensors_memory(link: tw.Link) -> None:
    vectors = [torch.randn(4, 50) for _ in range(8)]
    memory = tw.LinkMemory()
    for v in vectors[:4]:
        tw.all_reduce(v[:3], link, memory, tw.LocalGroup(3))
    other = tw.LinkMemory()
    other.load_state_dict(reducers.packed(memory.state_dict()))
    for v in vectors[4:]:
        tw.all_reduce(v, link, other, tw.LocalGroup(4))
    assert other.step == 8
    assert other.exchange is not None
    state = other.exchange.state[0]
    if state.shift is not None and state.mean is not None:
        found, wanted = state.mean.reshape(-1)[:50], state.shift[:, :50].to(torch.float64).mean(dim=0)
        assert bool(((found - wanted).abs() <= 5 * 6 * EPS * state.shift.abs().max()).all())  # 4 steps, and the change


def test_lowrank_keeps_its_directions_and_its_debts() -> None:
    asked = reducers.settings(tw.LowRank(1), momentum=0.9)
    before = reducers.make(tw.LocalGroup(3), asked)
    reducers.run(before, range(3))
    saved = before.state_dict()
    one = reducers.make(tw.LocalGroup(3), asked)
    one.load_state_dict(reducers.packed(saved))
    assert reducers.bits(one.state_dict()) == reducers.bits(saved)
    after = reducers.make(tw.LocalGroup(4), asked)
    with pytest.warns(UserWarning, match="what 1 of 3 workers still owed when they left is lost"):
        after.load_state_dict(reducers.chosen(saved, [2, 0], "sharded"))
    found = after.state_dict()
    for was, now in zip(saved["frames"], found["frames"], strict=True):
        assert reducers.bits(was["parts"].get("basis")) == reducers.bits(now["parts"].get("basis"))
    for name in ("layer.weight", "tables.words"):
        debt = saved["parameters"][name]["up.error"][[2, 0]]
        assert torch.equal(found["parameters"][name]["up.error"][:2], debt * (4 / 3))
        assert not bool(found["parameters"][name]["up.error"][2:].any())
    reducers.run(after, range(3, 6))


def test_who_joins_learns_the_learning_rates() -> None:
    """What is owed stays what it was when the learning rate changes, whoever owes it."""
    asked = reducers.settings(tw.ef14(tw.Sign()), route="sharded")
    before = reducers.make(tw.LocalGroup(2), asked)
    before.rates.now = dict.fromkeys(reducers.SHAPES, 0.25)
    reducers.run(before, range(3))
    saved = before.state_dict()

    def work(group: tw.ProcessGroup) -> Any:
        one = reducers.make(group, asked)
        rank = group.ranks.start
        one.load_state_dict(None if rank == 0 else reducers.chosen(saved, [rank - 1], "sharded"))
        return one.rates.then

    assert run_ranks(3, work) == [dict.fromkeys(reducers.SHAPES, 0.25)] * 3
