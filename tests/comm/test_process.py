"""Collectives of processes: short and long ones, several at once, on both lanes."""

from __future__ import annotations

import pytest
import torch

import thinwire as tw
from thinwire.comm.base import Lane, Pending
from thinwire.comm.process import DIRECT

from .ranks import run_ranks


def addressed(sender: int, receiver: int, turn: int, size: int) -> torch.Tensor:
    """Bytes that tell who sent them to whom, and when."""
    return torch.full((size,), 100 * turn + 10 * sender + receiver, dtype=torch.uint8)


@pytest.mark.parametrize("size", [0, 1, 1000, DIRECT // 3, DIRECT])
@pytest.mark.parametrize("n, checksum", [(1, True), (3, True), (3, False)])
def test_several_under_way_on_each_lane(size: int, n: int, checksum: bool) -> None:
    """Two all-to-alls and two all-gathers, all started before any is waited for, the lanes' in other orders."""

    def work(group: tw.ProcessGroup) -> None:
        me = group.ranks.start
        pending: list[tuple[str, int, Pending]] = []
        for turn in (0, 1):
            for lane in Lane if me % 2 else reversed(Lane):
                if lane is Lane.WORKERS:
                    rows = torch.stack([addressed(me, other, turn, size) for other in range(n)])[None]
                    pending.append(("to all", turn, group.all_to_all(rows, lane)))
                else:
                    pending.append(("gather", turn, group.all_gather(addressed(me, me, turn, size)[None], lane)))
        for kind, turn, collective in reversed(pending):
            got = collective.wait()
            for other in range(n):
                row = got[0, other] if kind == "to all" else got[other]
                assert torch.equal(row, addressed(other, me if kind == "to all" else other, turn, size))
            assert collective.done()

    run_ranks(n, work, two_lanes=True, checksum=checksum)


def test_who_asks_to_be_told_is_told() -> None:
    def work(group: tw.ProcessGroup) -> bool:
        told: list[bool] = []
        pending = group.all_gather(torch.zeros(1, 10, dtype=torch.uint8))
        pending.notify(lambda: told.append(pending.done()))
        pending.wait()
        return told == [True]

    assert all(run_ranks(2, work))
