"""A given link's steps beside what they were expected to take: what is off is said, once, and nothing else happens."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from thinwire.auto.expectation import Expectation
from thinwire.auto.windows import Pace, Windows
from thinwire.training.ddp import Wire
from thinwire.training.stats import Stats, Tally

from ..training.fleet import Fleet
from . import jobs

PACE = Pace(skip=2, window=4)


@dataclass
class Workers:
    ranks: range = range(1)


@dataclass
class Road:
    """What an expectation asks of a wire; its steps take what the clock says."""

    exposed: float = 0.0
    way: str = "dcgd(rotated(bits=3))"
    steps: int = 0
    clock: float = 0.0
    notes: list[str] = field(default_factory=list)
    group: Workers = field(default_factory=Workers)

    def stats(self) -> Stats:
        tally = Tally(steps=self.steps, exposed=self.exposed * self.steps, exposed_work=0.01 * self.steps)
        return Stats(tally, tally, (), tuple(self.notes))

    def note(self, what: str) -> None:
        self.notes.append(what)

    def go(self, expectation: Expectation, *taken: float) -> None:
        for seconds in taken:
            expectation.begin(cast(Wire, self))
            self.clock += seconds
            self.steps += 1


def on(road: Road, seconds: float, **more: Any) -> Expectation:
    return Expectation(seconds, pace=PACE, now=lambda: road.clock, **more)


def begun(road: Road, expectation: Expectation) -> None:
    """The steps that do not count: of them the first has no one before it."""
    road.go(expectation, *[99.0] * (PACE.skip - 1))


def test_steps_as_expected_are_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    road = Road()
    expectation = on(road, 0.1)
    begun(road, expectation)
    road.go(expectation, *[0.125] * 20, *[0.08] * 20)
    assert road.notes == []
    assert not caplog.records


@pytest.mark.parametrize("taken, told", [(0.2, "200 ms"), (0.05, "50 ms")])
def test_what_lasts_for_two_windows_is_said_once(caplog: pytest.LogCaptureFixture, taken: float, told: str) -> None:
    road = Road(exposed=0.04)
    expectation = on(road, 0.1)
    begun(road, expectation)
    with caplog.at_level(logging.WARNING, "thinwire"):
        road.go(expectation, *[taken] * 2 * PACE.window)
        assert road.notes == []  # the last one's seconds are known when the next begins
        road.go(expectation, *[taken] * 50)
    (note,) = road.notes
    at = PACE.skip - 1 + 2 * PACE.window
    assert note == (
        f"step {at}: a step takes {told}, in 30 ms of which it waits for the wire, and not the 100 ms expected: probe "
        "again, and ask thinwire advise"
    )
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("thinwire", note)]


def test_one_slow_window_is_no_drift() -> None:
    road = Road()
    expectation = on(road, 0.1)
    begun(road, expectation)
    for _ in range(3):
        road.go(expectation, *[1.0] * PACE.window, *[0.1] * PACE.window)
    assert road.notes == []


def test_a_further_change_is_held_against_what_was_said() -> None:
    road = Road()
    expectation = on(road, 0.1)
    begun(road, expectation)
    road.go(expectation, *[0.2] * 16, *[0.1] * 16)
    assert ["and not the 100 ms" in note for note in road.notes] == [True, False]
    assert "a step takes 100 ms, and not the 200 ms expected" in road.notes[1]


def test_steps_at_the_start_do_not_count() -> None:
    road = Road()
    expectation = on(road, 0.1, first=20)
    road.go(expectation, *[5.0] * (20 + PACE.skip - 1), *[0.1] * 20)
    assert road.notes == []


def test_a_training_that_goes_on_has_no_second_start() -> None:
    road = Road(steps=500)
    expectation = on(road, 0.1, first=20)
    begun(road, expectation)
    road.go(expectation, *[0.2] * (2 * PACE.window + 1))
    assert len(road.notes) == 1


def test_another_way_was_not_predicted() -> None:
    road = Road()
    expectation = on(road, 0.1)
    begun(road, expectation)
    road.go(expectation, *[0.1] * 5)
    road.way = "float32"
    road.go(expectation, *[5.0] * 50)
    assert road.notes == []


def test_only_rank_0_warns(caplog: pytest.LogCaptureFixture) -> None:
    road = Road(group=Workers(range(1, 2)))
    expectation = on(road, 0.1)
    road.go(expectation, *[1.0] * 30)
    assert len(road.notes) == 1
    assert not caplog.records


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), "170ms"])
def test_it_expects_a_time(seconds: Any) -> None:
    with pytest.raises(ValueError, match="the seconds that a step is expected to take are a number above 0"):
        Expectation(seconds)


def test_windows_follow_each_other_without_a_gap() -> None:
    """Of steps that take 1, 2, 3, … s: the first does not count, and no other is lost."""
    moments = iter(sum(range(n + 1)) for n in range(12))
    windows = Windows(Pace(skip=2, window=3), lambda: float(next(moments)))
    assert [median for _ in range(12) if (median := windows.step()) is not None] == [3.0, 6.0, 9.0]


def test_attach_watches_and_the_log_has_it(fleet: Fleet, tmp_path: Any) -> None:
    """Steps that cannot take an hour: every worker notes so, in the same step, and its state is that of any wire."""
    found = fleet.run(jobs.expecting, str(tmp_path / "run.jsonl"))
    at = Pace().skip - 1 + 2 * Pace().window
    for notes, loaded in found:
        (note,) = notes
        assert note.startswith(f"step {at}: a step takes ")
        assert "and not the 3.6e+03 s expected" in note
        assert loaded
    text = (tmp_path / "run.jsonl").read_text()
    assert '"expected": 3600' in text.splitlines()[0]
    assert "a step takes" in text


def test_auto_expects_what_it_predicts(fleet: Fleet) -> None:
    for said in fleet.run(jobs.refused, {"expected": 0.1}):
        assert said == (
            "attach(link='auto', expected=0.1): \"auto\" expects what it predicts itself. Leave `expected` out."
        )
