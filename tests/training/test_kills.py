"""kill -9 at any point of a step: the others end, soon and by themselves, with an error that names rank and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .kills import IN_A_STEP, IN_ATTACH, STEP, Doomed, in_load

POINTS = [*IN_A_STEP, *IN_ATTACH, in_load]
CASES = [(point, 2 * (number % 2)) for number, point in enumerate(POINTS)] + [(IN_A_STEP[0], 2)]
"""Points, and who dies there: rank 0 takes the store with it, in which survivors leave word."""


def name(case: object) -> str:
    return str(getattr(case, "__name__", case))


@pytest.fixture(scope="module")
def doomed() -> Iterator[dict[tuple[Callable[..., None], int], Doomed]]:
    """All at once: most of the time they wait."""
    made = {case: Doomed(case[1], case[0]) for case in CASES}
    yield made
    for processes in made.values():
        processes.close()


@pytest.mark.parametrize("point, victim", CASES, ids=name)
def test_the_others_end_and_name_the_dead(
    doomed: dict[tuple[Callable[..., None], int], Doomed], point: Callable[..., None], victim: int
) -> None:
    for message in doomed[point, victim].endings().values():
        assert "a collective failed" in message
        assert f"no answer from rank {victim}" in message
        if point in IN_A_STEP:
            assert f"This was in step {STEP}." in message
