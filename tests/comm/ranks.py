"""Several ranks in one process: threads over one store, each with a Gloo backend of its own."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

import thinwire as tw

from .tamper import Wire

T = TypeVar("T")


def backend(store: dist.Store, rank: int, processes: int, timeout: float) -> Any:
    """A bare Gloo backend on the loopback interface."""
    options = dist.ProcessGroupGloo._Options()
    options._devices = [dist.ProcessGroupGloo.create_device(interface="lo")]
    options._timeout = timedelta(seconds=timeout)
    return dist.ProcessGroupGloo(dist.PrefixStore("gloo", store), rank, processes, options)


def run_ranks(
    processes: int,
    work: Callable[[tw.ProcessGroup], T],
    *,
    rows: int = 1,
    two_lanes: bool = False,
    timeout: float = 30.0,
    limit: float = 60.0,
    checksum: bool = True,
    wire: Callable[[dist.Store], Wire] | None = None,
) -> list[T]:
    """work(group) on every rank at once; its results in rank order, or the first exception.

    Args:
        processes: how many; each holds `rows` workers.
        work: what each does with its group.
        two_lanes: whether the group has a second backend for its owners' lane.
        timeout: of the group's collectives, in seconds.
        limit: seconds for everything; then AssertionError.
        checksum: of the group.
        wire: makes of the store what is between the ranks.
    """
    store = dist.HashStore()
    between = wire(store) if wire is not None else None
    results: list[Any] = [None] * processes
    errors: list[BaseException] = []

    def rank(number: int) -> None:
        try:
            seen = between.seen_by(number) if between is not None else store
            made = backend(seen, number, processes, timeout=2 * limit)
            answers = backend(dist.PrefixStore("answers", seen), number, processes, 2 * limit) if two_lanes else None
            group = tw.ProcessGroup(made, answers=answers, rows=rows, timeout=timeout, store=store, checksum=checksum)
            results[number] = work(group)
        except BaseException as error:  # raised again below, by the thread that runs the test
            errors.append(error)

    threads = [threading.Thread(target=rank, args=(i,), daemon=True, name=f"rank {i}") for i in range(processes)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    while any(thread.is_alive() for thread in threads) and not errors:
        assert time.monotonic() < deadline, where(threads)
        for thread in threads:
            thread.join(0.02)
    if errors:
        raise errors[0]
    return results


def where(threads: list[threading.Thread]) -> str:
    """What those that are still alive are doing."""
    frames = sys._current_frames()
    alive = [thread for thread in threads if thread.ident in frames]
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident])[-4:])}" for thread in alive
    )
