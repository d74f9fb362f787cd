"""The simulation: what shares a resource takes as long as it must, and nothing is lost or counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire.advisor.schedule import Process, Resource, Schedule, Signal, Until, Work


def ends(resources: dict[str, Resource], *wanted: list[Work | Until]) -> list[float]:
    """When each of these processes is through."""
    schedule, found = Schedule(resources), [0.0] * len(wanted)

    def process(number: int) -> Process:
        yield from wanted[number]
        found[number] = schedule.now

    for number in range(len(wanted)):
        schedule.start(process(number))
    schedule.run()
    return found


AMOUNTS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(AMOUNTS)
def test_a_resource_that_is_always_used_ends_when_all_amounts_are_done(amounts: list[float]) -> None:
    found = ends({"wire": Resource(2.0)}, *([Work("wire", amount)] for amount in amounts))
    assert max(found) == pytest.approx(sum(amounts) / 2)
    shortest_first = sorted(range(len(amounts)), key=lambda number: amounts[number])
    assert [found[number] for number in shortest_first] == pytest.approx(sorted(found))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(AMOUNTS)
def test_nobody_is_faster_than_the_limit_and_none_waits_where_there_is_room(amounts: list[float]) -> None:
    found = ends({"cores": Resource(len(amounts), limit=1.0)}, *([Work("cores", amount)] for amount in amounts))
    assert found == pytest.approx(amounts)


def test_shares_are_equal_and_grow_when_others_are_through() -> None:
    cores = {"cores": Resource(1.0, limit=1.0)}
    assert ends(cores, [Work("cores", 1.0)], [Work("cores", 3.0)]) == pytest.approx([2.0, 4.0])
    late = ends(cores, [Work("cores", 2.0)], [Until(1.0), Work("cores", 1.0)])
    assert late == pytest.approx([3.0, 3.0])


def test_what_is_free_takes_no_time_and_what_is_past_is_past() -> None:
    free = {"wire": Resource(float("inf"))}
    assert ends(free, [Work("wire", 1e9), Until(2.0), Until(1.0), Work("wire", 0.0)]) == [2.0]
    assert ends({"cores": Resource(float("inf"), limit=1.0)}, *[[Work("cores", 2.0)]] * 5) == [2.0] * 5


def test_a_signal_reaches_who_waits_and_who_comes_later() -> None:
    schedule, signal, heard = Schedule({}), Signal(), list[tuple[str, float]]()

    def waits(name: str, begin: float) -> Process:
        yield Until(begin)
        yield signal
        heard.append((name, schedule.now))

    def tells() -> Process:
        yield Until(1.0)
        schedule.set(signal)

    for process in (waits("early", 0.0), waits("late", 2.0), tells()):
        schedule.start(process)
    schedule.run()
    assert heard == [("early", 1.0), ("late", 2.0)]


def test_a_resource_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity above 0"):
        ends({"wire": Resource(0.0)}, [Work("wire", 1.0)])
