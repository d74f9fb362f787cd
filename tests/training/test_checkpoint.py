"""States: interrupted and resumed is uninterrupted, bit for bit, whatever travels and whenever it was saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import thinwire as tw
from tests.comm.fleet import LINKS
from tests.comm.ranks import run_ranks
from thinwire.exchange import default_down, route_bytes

from . import jobs, reducers
from .fleet import Fleet

STEPS = 6
TURNING = tw.Stages({0: tw.dcgd(tw.Rotated(bits=3)), 2: tw.diana(tw.Rotated(bits=2)), 4: tw.ef14(tw.Sign())})


def legal(link: tw.Link, n: int) -> list[str]:
    """The routes that a link may take with vectors as short as these."""
    costs = [route_bytes(link.bind(n), default_down(link.bind(n), d).bind(n), d, n) for d in (45, 57)]
    return sorted(set(costs[0]) & set(costs[1]))


def resumed_at(group: tw.Group, asked: Any, interruption: int, bad: tuple[int, ...]) -> None:
    """Assert that a run interrupted before this step gives the bits of one that was not."""
    whole = reducers.make(group, asked)
    wanted = reducers.run(whole, range(STEPS), bad)
    first, second = reducers.make(group, asked), reducers.make(group, asked)
    reducers.run(first, range(interruption), bad)
    saved = reducers.packed(first.state_dict())
    second.load_state_dict(saved)
    assert reducers.bits(second.state_dict()) == reducers.bits(saved), interruption
    rest = reducers.run(second, range(interruption, STEPS), bad)
    assert reducers.bits(rest) == reducers.bits(wanted[interruption:]), interruption
    assert reducers.bits(second.state_dict()) == reducers.bits(whole.state_dict()), interruption


@pytest.mark.filterwarnings("ignore:thinwire. .* sent as they are")
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_every_preset_by_every_route(link: tw.Link) -> None:
    for number, route in enumerate(legal(link, 3)):
        momentum = (None, 0.9)[number % 2]
        asked = reducers.settings(link, route=route, momentum=momentum, warmup_steps=1)
        for interruption in (1, 3):
            resumed_at(tw.LocalGroup(3), asked, interruption, bad=(2,))


@pytest.mark.parametrize("interruption", range(STEPS + 1))
@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_any_step_of_stages_averages_and_steps_that_did_not_count(interruption: int, route: str) -> None:
    """A step that is skipped just before a save or a turn, and a policy of which the one half turns."""
    asked = reducers.settings(TURNING, other=tw.marina(tw.Ternary()), route=route, momentum=0.9, warmup_steps=1)
    resumed_at(tw.LocalGroup(3), asked, interruption, bad=(interruption - 1,))


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_each_rank_by_itself(route: str) -> None:
    """What ranks save is their rows of what one process with all of them saves; they resume from it alone."""
    asked = reducers.settings(tw.diana(tw.Rotated(bits=2)), other=tw.ef14(tw.Sign()), route=route, momentum=0.5)

    def work(group: tw.ProcessGroup) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
        resumed_at(group, asked, 3, bad=(2,))
        kept = reducers.make(group, asked)
        reducers.run(kept, range(3))
        saved = kept.state_dict()
        before = reducers.bits(saved)
        reducers.run(kept, range(3, STEPS))
        assert reducers.bits(saved) == before, "a state is a copy"
        return saved

    local = reducers.make(tw.LocalGroup(3), asked)
    reducers.run(local, range(3))
    for rank, saved in enumerate(run_ranks(3, work)):
        assert reducers.bits(saved) == reducers.bits(reducers.chosen(local.state_dict(), [rank], route))


def test_a_state_does_not_change_with_later_steps_nor_a_reducer_with_the_state_it_was_given() -> None:
    one = reducers.make(tw.LocalGroup(2), reducers.settings(tw.diana(tw.Rotated(bits=1)), momentum=0.9))
    reducers.run(one, range(2))
    saved = one.state_dict()
    before = reducers.bits(saved)
    reducers.run(one, range(2, 5))
    assert reducers.bits(saved) == before
    one.load_state_dict(saved)
    for parts in saved["parameters"].values():
        for part in parts.values():
            part.fill_(5.0)
    assert reducers.bits(one.state_dict()) == before


def test_a_state_is_refused_within_a_step(fleet: Fleet) -> None:
    for inside, outside in fleet.run(jobs.save_within_a_step):
        assert "Wire.state_dict(): a step is under way. Call it after the backward pass" in inside
        assert outside == 2


def test_after_a_failure_the_last_whole_step_can_be_saved(fleet: Fleet) -> None:
    for said, steps in fleet.run(jobs.save_after_a_failure):
        assert "no answer from rank 2" in said
        assert steps == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update(version=1), "states are of version 2; got 1"),
        (lambda s: s.clear(), "states are of version 2"),
        (lambda s: s.pop("frames"), "it is no whole state of thinwire"),
        (lambda s: s["parameters"].pop("head.weight"), "it is no whole state of thinwire"),
        (
            lambda s: s["parameters"]["head.weight"].update({"up.shift": torch.zeros(2, 3)}),
            "up.shift of head.weight has",
        ),
        (lambda s: s["frames"][0]["parts"].update({"up.mean": torch.zeros(7, 7)}), "up.mean has shape"),
    ],
)
def test_what_is_no_state_is_refused_and_nothing_changes(spoil: Any, message: str) -> None:
    one = reducers.make(tw.LocalGroup(2), reducers.settings(tw.diana(tw.Rotated(bits=1)), route="sharded"))
    reducers.run(one, range(2))
    before, spoilt = reducers.bits(one.state_dict()), one.state_dict()
    spoil(spoilt)
    with pytest.raises(ValueError, match=message):
        one.load_state_dict(spoilt)
    assert reducers.bits(one.state_dict()) == before


def test_a_refusal_on_one_rank_is_one_on_all() -> None:
    asked = reducers.settings(tw.diana(tw.Rotated(bits=1)))

    def work(group: tw.ProcessGroup) -> str:
        one = reducers.make(group, asked)
        given = one.state_dict()
        if group.ranks.start == 1:
            given["frames"].pop()
        try:
            one.load_state_dict(given)
        except (ValueError, tw.PeerError) as error:
            return str(error)
        return "nothing"

    said = run_ranks(3, work)
    assert "the state is not of the same parameters: new layer.bias" in said[1]
    for rank in (0, 2):
        assert "rank 1 could not go on" in said[rank]
        assert "new layer.bias" in said[rank]
