""" "auto": all workers decide alike and turn in the same step, by predictions that are held against what happens."""

from __future__ import annotations

import pytest
import torch

from ..training.fleet import Fleet
from . import jobs
from .jobs import DECIDED, PACE


def same(found: list[dict[str, object]], *names: str) -> bool:
    return all(other[name] == found[0][name] for other in found for name in names)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_workers_who_measure_differently_decide_alike(fleet: Fleet, momentum: float | None) -> None:
    found = fleet.run(jobs.unlike, momentum)
    assert same(found, "ways", "notes", "steps")
    assert all(torch.equal(other["weights"], found[0]["weights"]) for other in found)
    first = "float32" if momentum is None else "dcgd(identity(bits=32))"
    assert found[0]["ways"][:DECIDED] == [first] * DECIDED
    assert found[0]["looks"] == 1


def test_where_the_network_is_slow_it_compresses_and_says_why(fleet: Fleet) -> None:
    found = fleet.run(jobs.changing, "slow", {}, DECIDED + 2)[0]
    assert found["ways"][-1] == "dcgd(rotated(bits=3))"
    (why,) = found["notes"]
    assert why.startswith(f"step {DECIDED}: auto: dcgd(rotated(bits=3)) is the fastest: float32 ")
    assert "bfloat16" in why
    assert "dcgd(dither(bits=4))" in why
    assert "compute alone" in why


def test_where_it_is_fast_nothing_changes(fleet: Fleet) -> None:
    found = fleet.run(jobs.changing, "fast", {}, DECIDED + 3 * PACE.window)[0]
    assert set(found["ways"]) == {"float32"}
    assert found["notes"][0].startswith(f"step {DECIDED}: auto: float32 stays")
    assert found["total"] == found["steps"] == DECIDED + 3 * PACE.window


def test_a_step_that_comes_to_take_longer_is_said_and_another_way_found(fleet: Fleet) -> None:
    """Whole in a fast network, until it is slow: after two windows that is said once, and then it compresses."""
    steps = 2 * DECIDED + 4 * PACE.window
    found = fleet.run(jobs.changing, "fast", {DECIDED + 1: ("slow", 1.0)}, steps)
    assert same(found, "ways", "notes")
    first, drift, second = found[0]["notes"]
    assert "float32 stays" in first
    at = int(drift.removeprefix("step ").partition(":")[0])
    # two windows, of which the second is whole: it begins when the first ends, and that one after the steps that skip
    assert at == DECIDED + PACE.skip + 2 * PACE.window
    assert "auto: a step takes 76.9 ms and not the 10 ms predicted: choosing anew" in drift
    turned = at + DECIDED
    assert second.startswith(f"step {turned}: auto: dcgd(rotated(bits=3)) is the fastest")
    assert found[0]["ways"] == ["float32"] * turned + ["dcgd(rotated(bits=3))"] * (steps - turned)
    assert found[0]["looks"] == 2


def test_one_slow_window_is_no_drift(fleet: Fleet) -> None:
    begin = DECIDED + PACE.skip
    pause = {begin: ("fast", 20.0), begin + PACE.window: ("fast", 1.0)}
    found = fleet.run(jobs.changing, "fast", pause, begin + 5 * PACE.window)[0]
    assert found["looks"] == len(found["notes"]) == 1


def test_it_does_not_turn_to_and_fro(fleet: Fleet) -> None:
    """All takes five times as long, as on a machine that others use too: that is said, and then expected."""
    steps = 2 * DECIDED + 10 * PACE.window
    found = fleet.run(jobs.changing, "fast", {DECIDED + 1: ("fast", 5.0)}, steps)[0]
    assert set(found["ways"]) == {"float32"}
    assert found["looks"] == 2
    assert ["choosing anew" in note for note in found["notes"]] == [False, True, False]


@pytest.mark.parametrize("ddp", [{}, {"find_unused_parameters": True}, {"static_graph": True}], ids=str)
def test_it_decides_whatever_a_script_does_between(fleet: Fleet, ddp: dict[str, bool]) -> None:
    found = fleet.run(jobs.odd, ddp)
    assert same(found, "ways", "notes", "steps")
    assert all(torch.equal(other["weights"], found[0]["weights"]) for other in found)
    assert {"float32", "dcgd(rotated(bits=3))"} <= set(found[0]["ways"])
    assert sum("choosing anew" in note for note in found[0]["notes"]) >= 1


@pytest.mark.parametrize("at", [2, DECIDED, DECIDED + 2])
def test_what_is_saved_goes_on_as_it_was(fleet: Fleet, at: int) -> None:
    """Before the decision, with it, and after it; the steps that are timed begin anew, so the same is decided later."""
    for same_bits, ways, went in fleet.run(jobs.resumed, at, DECIDED + 5):
        if at > DECIDED:
            assert same_bits
            assert ways == went == ["dcgd(rotated(bits=3))"] * len(ways)
        else:
            assert went == ["float32"] * min(DECIDED, len(went)) + ["dcgd(rotated(bits=3))"] * (len(went) - DECIDED)


def test_who_joins_goes_the_way_of_the_others(fleet: Fleet) -> None:
    found = fleet.run(jobs.joined)
    assert all(other == found[0] for other in found)
    way, steps, kept = found[0]
    assert (way, steps) == ("dcgd(rotated(bits=3))", DECIDED + 2)
    assert kept["chosen"]
    assert not kept["looking"]


@pytest.mark.parametrize("steps", [0, 2, DECIDED, DECIDED + 3])
def test_it_can_be_closed_at_any_time(fleet: Fleet, steps: int) -> None:
    for said in fleet.run(jobs.closed, steps):
        assert "the model's wire is open as long as it trains" in said


@pytest.mark.parametrize(
    "what",
    [{"momentum": 0.9}, {"seed": 1}, {"warmup_steps": 9}, {"route": "gather"}, {"down": "diana(rotated(3))"}],
    ids=str,
)
def test_workers_that_ask_for_different_things_are_named_at_the_start(fleet: Fleet, what: dict[str, object]) -> None:
    """Otherwise they would measure different ways, or decide in different steps, and wait for each other."""
    (name,) = what
    for message in fleet.run(jobs.unlike_asked, what):
        assert "thinwire: the workers differ: rank 0 has " in message
        assert all(f"{name} = " in part for part in message.split("rank 1 has "))


@pytest.mark.parametrize("link", ["ef14(topk(0.1))", "lowrank(2)"])
def test_a_loaded_link_that_hands_nothing_on_stays(fleet: Fleet, link: str) -> None:
    """It was turned to by a state, not by "auto", and no error comes of it amid a backward pass."""
    for same_bits, ways, notes in fleet.run(jobs.from_a_link, link):
        assert same_bits
        assert set(ways) == {ways[0]}
        assert f"step {3 + DECIDED}: auto: {ways[0]} stays: turn to dcgd(Rotated(bits=3))" in notes[-1]


def test_strict_keeps_to_what_can_be_done_as_asked(fleet: Fleet) -> None:
    for ways, notes in fleet.run(jobs.strict):
        assert set(ways) == {"float32"}
        assert "auto: float32 stays: thinwire, strict: float64 gradients travel as float32" in notes[-1]


def test_of_a_long_warm_up_only_the_last_steps_are_looked_at(fleet: Fleet) -> None:
    first = 20
    for held, ways in fleet.run(jobs.warmed_up, first):
        assert max(held) == DECIDED
        assert not any(held[: first - DECIDED])
        assert set(ways[: first + 1]) == {"float32"}


def test_a_warm_up_of_fewer_than_no_steps_is_refused(fleet: Fleet) -> None:
    for said in fleet.run(jobs.refused, {"warmup_steps": -1}):
        assert said == "warmup_steps=-1: warmup_steps must be at least 0."


def test_a_geometry_is_refused_at_once(fleet: Fleet) -> None:
    for said in fleet.run(jobs.refused, {"geometry": 0.95}):
        assert said.startswith("attach(link='auto', geometry=0.95): a geometry is that of a link")
