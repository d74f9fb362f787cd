"""Two workers at a time: how long a short message takes from one to the other, and how fast long ones are.

Of each pair one leads: before each measurement it tells the other what comes, so that it alone decides by its clock,
and none needs the other's. A short message goes there and back; half of that counts. Of long ones several go in a row,
and the receiver takes the time from the first's arrival to the last's: what a link holds back or lets through at the
begin is not in it, and neither is the latency.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thinwire.comm import ProcessGroup

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Work

ALL_PAIRS = 8
"""Workers up to whom every pair is measured."""
SAMPLED = 4
"""Rounds beyond that."""
TAG = 2
"""Of these messages; a group's own have others."""
PING, THERE, BACK, STOP = range(4)
"""What the leader asks for."""
SHORT, FIRST, LARGEST = 8, 1 << 12, 1 << 24
"""Bytes of a short message, of the first long one, and of the longest."""
FEWEST_PINGS, PINGS = 10, 50
ROW = 4
"""Messages after the first one."""
FEWEST_ROWS, ROWS = 3, 9
"""Each way."""
LONGEST = 0.03
"""Seconds that a long message takes at most: fifteen times what a link of the lab lets through at once."""


def tournament(workers: int, seed: int = 0) -> list[list[tuple[int, int]]]:
    """Rounds of pairs, the lower rank first: none is twice in a round, and two rounds together have everyone.

    Up to ALL_PAIRS workers each pair is in one round; of more, SAMPLED rounds are drawn.

    >>> tournament(4)
    [[(0, 3), (1, 2)], [(0, 2), (1, 3)], [(0, 1), (2, 3)]]
    >>> [len(pairs) for pairs in tournament(1000)]
    [500, 500, 500, 500]
    """
    seats: list[int | None] = [*range(workers), *([None] if workers % 2 else [])]
    drawn = random.Random(seed)
    if workers > ALL_PAIRS:
        drawn.shuffle(seats)
    rounds = []
    for _ in range(len(seats) - 1):
        facing = zip(seats[: len(seats) // 2], reversed(seats[len(seats) // 2 :]), strict=True)
        rounds.append([(min(a, b), max(a, b)) for a, b in facing if a is not None and b is not None])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds if workers <= ALL_PAIRS else drawn.sample(rounds, min(SAMPLED, len(rounds)))


@dataclass
class Heard:
    """What one worker measured: of messages to each other one, half the seconds there and back; and from each, rates.

    Args:
        latency: by receiver.
        bandwidth: bytes a second, by sender.
    """

    latency: dict[int, list[float]] = field(default_factory=dict)
    bandwidth: dict[int, list[float]] = field(default_factory=dict)


def measure_pair(group: ProcessGroup, pair: tuple[int, int], heard: Heard, *, seconds: float, limit: float) -> None:
    """What both of a pair do, for about so many seconds; what comes of it is added to what this worker has heard.

    Raises:
        PeerError: no answer within `limit` seconds.
    """
    me = group.ranks[0]
    leads = me == pair[0]
    talk = _Talk(group, pair[leads], heard, limit)
    with group.naming(f"measuring the link between {pair[0]} and {pair[1]}"):
        if leads:
            talk.lead(seconds)
        else:
            talk.follow()


class _Talk:
    """One side of a pair."""

    def __init__(self, group: ProcessGroup, other: int, heard: Heard, limit: float) -> None:
        self._pg, self._other, self._device = group.pg, other, group.device
        self._heard, self._limit = heard, timedelta(seconds=limit)

    def lead(self, seconds: float) -> None:
        """1. Pings. 2. Longer and longer ones, until one takes long enough. 3. Rows there and back, in turns."""
        began = time.perf_counter()
        once = median(self._led(PING, SHORT, FEWEST_PINGS))
        pings = self._led(PING, SHORT, max(FEWEST_PINGS, min(PINGS, int(seconds / 10 / (2 * once)))))
        self._heard.latency[self._other] = pings
        target = min(LONGEST, seconds / (4 * FEWEST_ROWS * (ROW + 1)))
        size, taken = FIRST, min(self._led(PING, FIRST, 2))
        while taken < target / 2 and size < LARGEST:
            size *= 4
            taken = min(self._led(PING, size, 2))
        size = max(FIRST, min(LARGEST, round(size * target / taken)))
        row = 0
        while row < FEWEST_ROWS or (row < ROWS and time.perf_counter() - began < seconds):
            self._led(THERE, size, ROW)
            self._led(BACK, size, ROW)
            row += 1
        self._led(STOP, 0, 0)

    def follow(self) -> None:
        """What is asked for, until there is nothing more."""
        while True:
            asked = torch.zeros(3, dtype=torch.int64, device=self._device)
            self._wait([self._receive(asked)])
            what, size, count = asked.tolist()
            if what == STOP:
                return
            halves = self._both(what, size, count, leads=False)
            if what == PING and size == SHORT:
                self._heard.latency[self._other] = halves

    def _led(self, what: int, size: int, count: int) -> list[float]:
        self._wait([self._send(torch.tensor([what, size, count], device=self._device))])
        return self._both(what, size, count, leads=True)

    def _both(self, what: int, size: int, count: int, *, leads: bool) -> list[float]:
        """One side's part in what was asked for; of pings, half the seconds of each."""
        data = torch.zeros(size, dtype=torch.uint8, device=self._device)
        if what == PING:
            return self._pings(data, count, leads=leads)
        if what != STOP and leads == (what == THERE):
            self._wait([self._send(data) for _ in range(count + 1)])
        elif what != STOP:
            self._arrivals(data, count)
        return []

    def _pings(self, data: Tensor, count: int, *, leads: bool) -> list[float]:
        """Who follows takes the time from its answer to the next message."""
        halves, back = [], torch.empty_like(data)
        if not leads:
            self._wait([self._receive(back)])
            count -= 1
        for _ in range(count):
            began = time.perf_counter()
            self._wait([self._send(data), self._receive(back)])  # in this order: on a GPU they share a stream
            halves.append((time.perf_counter() - began) / 2)
        if not leads:
            self._wait([self._send(data)])
        return halves

    def _arrivals(self, data: Tensor, count: int) -> None:
        first, *others = [self._receive(data) for _ in range(count + 1)]
        self._wait([first])
        began = time.perf_counter()
        self._wait(others)
        rate = count * data.numel() / (time.perf_counter() - began)
        self._heard.bandwidth.setdefault(self._other, []).append(rate)

    def _send(self, data: Tensor) -> Work:
        return self._pg.send([data], self._other, TAG)

    def _receive(self, data: Tensor) -> Work:
        return self._pg.recv([data], self._other, TAG)

    def _wait(self, works: Sequence[Work]) -> None:
        for work in works:
            work.wait(self._limit)
        if self._device.type != "cpu":  # there `wait` only orders streams
            torch.cuda.synchronize()
