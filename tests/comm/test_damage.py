"""A byte that changes on its way, and a connection that breaks: an error that says so on all ranks, never a hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import thinwire as tw
from thinwire.comm.base import Lane, Pending
from thinwire.comm.process import DIRECT

from .ranks import run_ranks
from .tamper import Wire

PROCESSES = 3
SENDER, RECEIVER = 2, 0
SIZES = [1000, 2 * DIRECT]
"""Bytes of a block: with Gloo's own all-to-all, and by sends and receives."""
COLLECTIVES = ["all_gather", "all_to_all"]


def rows_of(rank: int, kind: str, rows: int, size: int) -> Tensor:
    """What the workers of this process have to say in `size` bytes for each process."""
    made = torch.arange(rows * size, dtype=torch.int64).add(rank).to(torch.uint8)
    if kind == "all_gather":
        return made.view(rows, size)
    return made.view(rows, 1, size).repeat(1, PROCESSES * rows, 1)


def start(group: tw.ProcessGroup, kind: str, data: Tensor, lane: Lane) -> Pending:
    return group.all_gather(data, lane) if kind == "all_gather" else group.all_to_all(data, lane)


def met_with(
    what: Callable[[Wire], None],
    kind: str,
    size: int,
    *,
    rows: int = 1,
    lane: Lane = Lane.WORKERS,
    checksum: bool = True,
) -> list[str | Tensor]:
    """A collective that goes well, and another in which something happens: what each rank got of it, or its error.

    With checksums, ranks to which nothing happened then start one more. The limit of a collective is longer than that
    of the whole test: nobody learns by waiting for it.
    """
    wires: list[Wire] = []

    def wire(store: dist.Store) -> Wire:
        wires.append(Wire(store))
        return wires[0]

    quiet = threading.Barrier(PROCESSES, lambda: what(wires[0]))

    def work(group: tw.ProcessGroup) -> str | Tensor:
        data = rows_of(group.ranks.start // rows, kind, rows, size)
        start(group, kind, data, lane).wait()
        quiet.wait()
        try:
            got = start(group, kind, data, lane).wait()
            return start(group, kind, data, lane).wait() if checksum else got
        except tw.PeerError as error:
            return str(error)

    results = run_ranks(PROCESSES, work, rows=rows, two_lanes=True, timeout=300.0, wire=wire, checksum=checksum)
    assert not wires[0].missed, "the byte has not come by"
    return results


def expected(receiver: int, kind: str, size: int) -> Tensor:
    everyone = [rows_of(rank, kind, 1, size) for rank in range(PROCESSES)]
    return torch.cat(everyone) if kind == "all_gather" else torch.cat([rows[:, receiver] for rows in everyone])[None]


@pytest.mark.parametrize("kind", COLLECTIVES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows, lane", [(1, Lane.WORKERS), (2, Lane.OWNERS)])
def test_a_flipped_bit_is_an_error_that_names_the_sender(kind: str, size: int, rows: int, lane: Lane) -> None:
    errors = met_with(lambda wire: wire.flip(SENDER, RECEIVER, size // 2), kind, size, rows=rows, lane=lane)
    cause = f"the bytes that rank {SENDER} sent to rank {RECEIVER} arrived damaged (wrong checksum)"
    for rank, error in enumerate(errors):
        assert f"damaged bytes: {kind} failed on rank {rank} of {PROCESSES}: {cause}. Nothing of" in str(error)
        assert "last checkpoint" in str(error)


@pytest.mark.parametrize("kind", COLLECTIVES)
@pytest.mark.parametrize("size", SIZES)
def test_without_checksums_it_gets_through(kind: str, size: int) -> None:
    """What the others are for: nothing else notices."""
    results = met_with(lambda wire: wire.flip(SENDER, RECEIVER, size // 2), kind, size, checksum=False)
    for rank, got in enumerate(results):
        assert isinstance(got, Tensor)
        assert int((got != expected(rank, kind, size)).sum()) == (rank == RECEIVER)


@pytest.mark.parametrize("kind", COLLECTIVES)
@pytest.mark.parametrize("size", SIZES)
def test_a_message_cut_short_is_an_error_on_all_ranks(kind: str, size: int) -> None:
    """Gloo tells nobody who is amid a message that there will be no more: of long ones, both ends are."""
    errors = met_with(lambda wire: wire.cut(SENDER, RECEIVER, size // 2, both=size >= DIRECT), kind, size)
    for rank, error in enumerate(errors):
        assert f"a collective failed: {kind} failed on rank {rank} of {PROCESSES}" in str(error)
        assert "every rank still answers" in str(error)
