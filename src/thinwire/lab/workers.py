"""Workers that report: what they say as events (JSON on stdout) and as log, what they sent, and how their run ended."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from thinwire._check import fault
from thinwire.lab.hosts import Lab, LabUnavailable, Loopback
from thinwire.lab.rate import parse_rate
from thinwire.report.metrics import Transport

Emit = Callable[..., None]
OnEvent = Callable[[int, Mapping[str, Any]], None]

GRACE = 5.0
"""Seconds that the others get to end by themselves when one worker fails."""
LOG_LINES = 40
LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting")
"""What a worker says that merely misses another one."""


class Hosts(Protocol):
    """What is needed here of `Lab` and `Loopback`."""

    def run(
        self,
        command: list[str],
        *,
        on_line: Callable[[int, str, str], None],
        timeout: float,
        grace: float,
    ) -> list[int]:
        """Run one process per host and give the exit codes by rank."""


@contextmanager
def open_hosts(hosts: int, rate: str, loopback: bool = False) -> Iterator[tuple[Hosts, Transport]]:
    """A lab of so many hosts at this rate, or, where none can be made or with `loopback`, the same over loopback."""
    bits = parse_rate(rate)
    why = "asked for"
    with ExitStack() as stack:
        made: Hosts | None = None
        if not loopback:
            try:
                made = stack.enter_context(Lab(hosts=hosts, rate=rate))
            except LabUnavailable as error:
                why = str(error)
        if made is not None:
            yield made, Transport(hosts, bits)
        else:
            yield stack.enter_context(Loopback(hosts=hosts)), Transport(hosts, bits, modelled=bits is not None, why=why)


def emitter(rank: int) -> Emit:
    """A function with which a worker reports: `emit("step", seconds=0.1)` writes one event as a line of JSON."""

    def emit(event: str, **values: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, "rank": rank, **values}, default=str) + "\n")
        sys.stdout.flush()

    return emit


def event_on(line: str) -> dict[str, Any] | None:
    """The event on a line, None if the line is something else.

    >>> event_on('{"event": "step", "rank": 0, "seconds": 0.1}')["seconds"], event_on("a warning")
    (0.1, None)
    """
    if not line.startswith('{"event"'):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def sent_bytes(interface: str, table: Path = Path("/proc/net/dev")) -> int:
    """Bytes that an interface of this process' own network namespace has sent since it was made.

    Raises ValueError if there is no such interface.

    >>> sent_bytes("lo") >= 0
    True
    """
    for line in table.read_text().splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == interface:
            return int(counters.split()[8])
    raise ValueError(fault("sent_bytes", f"{table} must list the interface", interface))


class Traffic:
    """What one worker of several has sent over its link; over loopback, whose one interface they share, its part."""

    def __init__(self, workers: int) -> None:
        self._interface = os.environ.get("GLOO_SOCKET_IFNAME", "lo").split(",")[0]
        self._sharers = workers if self._interface == "lo" else 1

    def sent(self) -> float:
        """Bytes since the interface was made, all headers included."""
        return sent_bytes(self._interface) / self._sharers


@dataclass
class Log:
    """The last lines of each rank that were no events."""

    lines: dict[int, deque[str]] = field(default_factory=dict)

    def add(self, rank: int, line: str) -> None:
        """Keep a line, and forget an old one."""
        self.lines.setdefault(rank, deque(maxlen=LOG_LINES)).append(line)

    def first_complaint(self, failed: Sequence[int]) -> int:
        """The failed rank whose own error it most likely was: one that does not merely miss the others."""
        for rank in failed:
            text = "\n".join(self.lines.get(rank, ()))
            if text and not any(sign in text for sign in LOST):
                return rank
        return failed[0]

    def tail(self, culprit: int) -> tuple[str, ...]:
        """Every rank's lines, each with its rank; the culprit's come last, where one looks."""
        ranks = sorted(self.lines, key=lambda rank: (rank == culprit, rank))
        return tuple(f"[rank {rank}] {line}" for rank in ranks for line in self.lines[rank])


@dataclass(frozen=True)
class Ended:
    """How a run of workers ended: why it failed, None where it did not, and the tail of its log."""

    failure: str | None
    log: tuple[str, ...]


def run_workers(hosts: Hosts, command: list[str], on_event: OnEvent, timeout: float) -> Ended:
    """Run a command on all hosts, hand on what its processes report, and say how it ended."""
    log = Log()

    def hear(rank: int, stream: str, line: str) -> None:
        event = event_on(line) if stream == "stdout" else None
        if event is None:
            log.add(rank, line)
        else:
            on_event(rank, event)

    try:
        codes = hosts.run(command, on_line=hear, timeout=timeout, grace=GRACE)
    except TimeoutError as error:
        return Ended(str(error), log.tail(0))
    failed = [rank for rank, code in enumerate(codes) if code]
    if not failed:
        return Ended(None, log.tail(0))
    culprit = log.first_complaint(failed)
    return Ended(f"rank {culprit} of {len(codes)} ended with code {codes[culprit]}", log.tail(culprit))
