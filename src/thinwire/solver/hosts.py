"""Who the workers are: simulated ones in this process, or the processes that torchrun or the lab started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

import thinwire as tw
from thinwire._check import fault

SIMULATED = 20
"""Workers in this process where nothing is said."""
TIME_LIMIT = 300.0
"""Seconds that a worker waits for the others."""


def rank() -> int | None:
    """This process' rank under torchrun or the lab, None in a process of its own."""
    return int(os.environ["RANK"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else None


def held_by_each(workers: int | None) -> int:
    """How many workers each process holds: all of them here; over several processes one, or an equal share.

    Raises:
        ValueError: they cannot be shared equally.
    """
    if rank() is None:
        return workers or SIMULATED
    processes = int(os.environ["WORLD_SIZE"])
    if workers is not None and workers % processes:
        rule = f"over {processes} processes the workers must be a multiple of {processes}"
        raise ValueError(fault("--workers", rule, workers, "Leave it out for one worker in each."))
    return (workers or processes) // processes


@contextmanager
def gathered(held: int) -> Iterator[tw.Group]:
    """All workers, `held` of them in each process."""
    if rank() is None:
        yield tw.LocalGroup(held)
        return
    dist.init_process_group("gloo", timeout=timedelta(seconds=TIME_LIMIT))
    try:
        yield tw.ProcessGroup(rows=held, timeout=TIME_LIMIT)
        dist.barrier()
    finally:
        dist.destroy_process_group()
