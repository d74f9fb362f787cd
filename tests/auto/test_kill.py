"""kill -9 while all look, or turn: the others end by themselves, with an error that names who is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from thinwire.training.ddp import Wire

from ..training.jobs import build
from ..training.kills import Doomed, before
from .jobs import DECIDED, World, attach, step


def looking(wire: Wire) -> None:
    """While the others look, it does not come."""
    before(wire._pilot, "_look")


def turning(wire: Wire) -> None:
    """When all have agreed on what to turn to."""
    before(wire, "_turned")


def turned(wire: Wire) -> None:
    """When it has turned, before its first gradient goes the new way."""
    before(wire, "_replace", after=True)


def work(rank: int, victim: int, point: Callable[[Wire], None]) -> str:
    net, model = build()
    wire = attach(model, World(rank))
    if rank == victim:
        point(wire)
    for number in range(DECIDED + 3):
        step(rank, net, model, number)
    return "finished"


CASES = {looking: 2, turning: 0, turned: 1}
"""Who dies where."""


@pytest.fixture(scope="module")
def doomed() -> Iterator[dict[Callable[..., None], Doomed]]:
    """All at once: most of the time they wait."""
    made = {point: Doomed(victim, point, work) for point, victim in CASES.items()}
    yield made
    for processes in made.values():
        processes.close()


@pytest.mark.parametrize("point", CASES)
def test_the_others_end_and_name_the_dead(
    doomed: dict[Callable[..., None], Doomed], point: Callable[..., None]
) -> None:
    for message in doomed[point].endings().values():
        assert f"no answer from rank {CASES[point]}" in message, message
