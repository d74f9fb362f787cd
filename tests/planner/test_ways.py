"""The ways that are weighed: each is one that `thinwire solve` can take."""

from __future__ import annotations

import pytest

from thinwire.planner.ways import EXACT, RULES, Way, ways
from thinwire.solver.names import read_method

ALL = list(ways(100, 20, 400))


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.text)
def test_a_way_is_what_solve_reads(way: Way) -> None:
    method = read_method(way.text, "gradient", "full", "theory", None)
    step = "theory" if way.times == 1 else f"theory*{way.times:g}"
    assert (method.link, method.rule, method.oracle) == (way.parsed(), RULES[way.rule], way.oracle)
    assert method.step == step


def test_each_way_is_there_once() -> None:
    assert len(set(ALL)) == len(ALL)
    assert {way.root for way in ALL} <= set(ALL)


def test_what_cannot_be_left_out_is_not() -> None:
    """Of one coordinate nothing can be left out, and 20 workers cannot share out 5 coordinates."""
    assert not [way for way in ways(1, 20, 400) if "k(" in way.link]
    assert not [way for way in ways(5, 20, 400) if "permk" in way.link]


def test_a_batch_is_less_than_all_rows() -> None:
    assert {way.oracle for way in ways(10, 4, 1)} == {EXACT}
    assert {way.oracle.batch for way in ways(10, 4, 40)} == {None, 2, 8}
