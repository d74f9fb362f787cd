"""What a wire takes it gives back: threads, sockets, and the model itself."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw
from thinwire.comm.waiter import IDLE

from .fleet import Fleet
from .jobs import data

AGAIN = 4


def held() -> tuple[int, int]:
    """File descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def attach_again(rank: int, size: int) -> tuple[list[tuple[int, int]], int]:
    """Train, close, forget, several times: what is held after each time, and how many of the models still exist."""
    models, counts = [], []
    for _ in range(AGAIN):
        model = DistributedDataParallel(nn.Linear(64, 64))
        wire = tw.attach(model, "diana(rotated(1))")
        for step in range(2):
            model(data(rank, step)).square().mean().backward()
        wire.close()
        models.append(weakref.ref(model))
        del model, wire
        gc.collect()
        time.sleep(2 * IDLE)  # threads that wait for collectives end when there have been none for so long
        counts.append(held())
    return counts, sum(model() is not None for model in models)


def test_closed_wires_leave_nothing_behind(fleet: Fleet) -> None:
    for counts, alive in fleet.run(attach_again):
        assert not alive
        first, *rest = counts
        assert all(fds <= first[0] and threads <= first[1] for fds, threads in rest), counts


def forget(rank: int, size: int) -> list[str]:
    """A model, its optimiser and its wire are dropped without `close`: the threads that are left, soon after."""
    before = set(threading.enumerate())
    model = DistributedDataParallel(nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tw.attach(model, "diana(rotated(1))", optimizer=optimizer)
    model(data(rank, 0)).square().mean().backward()
    del model, optimizer
    gc.collect()
    deadline = time.monotonic() + 20
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [thread.name for thread in left]


def test_a_wire_that_is_forgotten_leaves_no_thread(fleet: Fleet) -> None:
    assert fleet.run(forget) == [[], [], []]


def test_groups_that_came_back_are_lent_again_to_whoever_has_the_same_processes(fleet: Fleet) -> None:
    fleet.run(lend_again)


def lend_again(rank: int, size: int) -> None:
    whole = torch.distributed.group.WORLD
    some = torch.distributed.new_group([0, 2])
    for pg in [whole] if rank == 1 else [whole, some]:
        first = tw.ProcessGroup.beside(pg, timeout=30.0, checksum=True)
        behind = first.pg
        first.close()
        first.close()
        again, other = (tw.ProcessGroup.beside(pg, timeout=30.0, checksum=True) for _ in range(2))
        assert again.pg is behind
        assert other.pg is not behind
        for group in (again, other):
            group.agree({"some": 1})
