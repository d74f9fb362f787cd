"""What all workers of a group know of each other: what each has to say, and the processors that they share."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from thinwire.comm.base import Group

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""One word for one running machine, also where its hosts are namespaces of their own."""


def everyones(group: Group, said: Any) -> list[Any]:
    """What each worker says, as JSON can hold it, in rank order; all workers call this together.

    1. Lengths are gathered. 2. What is said is, filled up to the longest.

    Raises:
        PeerError: a worker does not come.

    >>> from thinwire.comm import LocalGroup
    >>> everyones(LocalGroup(1), {"cores": 2})
    [{'cores': 2}]
    """
    text = json.dumps(said).encode()
    length = torch.tensor([[len(text)]], device=group.device).view(torch.uint8)
    lengths = group.all_gather(length).wait().view(torch.int64)[:, 0].tolist()
    padded = torch.frombuffer(bytearray(text.ljust(max(lengths))), dtype=torch.uint8)[None].to(group.device)
    rows = group.all_gather(padded).wait().cpu().numpy()
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, lengths, strict=True)]


def slowest(group: Group, seconds: list[float]) -> list[float]:
    """Of each figure, the largest that a worker has: the same on all, who can decide by it."""
    return [max(column) for column in zip(*everyones(group, seconds), strict=True)]


def anyone(group: Group, true: bool) -> bool:
    """Whether it is true for any worker: the same on all, who can decide by it."""
    return bool(group.all_gather(torch.tensor([[true]], device=group.device).view(torch.uint8)).wait().any())


def cores_each(group: Group) -> float:
    """Processors a worker: those of its machine, shared by all workers on it; of several machines, the fewest."""
    machine = BOOT.read_text().strip() if BOOT.exists() else platform.node()
    usable: dict[str, set[int]] = {}
    workers: dict[str, int] = {}
    for name, processors in everyones(group, [machine, sorted(os.sched_getaffinity(0))]):
        usable.setdefault(name, set()).update(processors)
        workers[name] = workers.get(name, 0) + 1
    return min(len(usable[name]) / workers[name] for name in workers)
