"""Work that shares resources, in time: a small discrete-event simulation, the same each time it is run.

A *resource* has a capacity, which whoever uses it shares in equal parts, and a limit to what one user can take:
two processors and three threads give each thread two thirds of a processor, one thread no more than one. A *process* is
a generator that yields what it needs next:

    Work("cores", 0.2)      so much of a resource
    Until(1.5)              a moment
    signal                  to be told: a `Signal` that another process sets

and is resumed when that is done. Whatever happens at the same moment happens in the order in which it was asked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from thinwire._check import fault


@dataclass(frozen=True)
class Resource:
    """What users share in equal parts: `capacity` a second in all, `limit` a second for any one of them."""

    capacity: float
    limit: float = math.inf

    def rate(self, users: int) -> float:
        """What each of so many users gets a second.

        >>> Resource(2.0, limit=1.0).rate(1), Resource(2.0, limit=1.0).rate(4)
        (1.0, 0.5)
        """
        return min(self.limit, self.capacity / users)


@dataclass(frozen=True)
class Work:
    """So much of a resource."""

    resource: str
    amount: float


@dataclass(frozen=True)
class Until:
    """A moment, in seconds since the start."""

    moment: float


@dataclass
class Signal:
    """Something that happens once, and then has happened."""

    done: bool = False
    heard_by: list[Process] = field(default_factory=list)


Process = Generator[Work | Until | Signal, None, None]


@dataclass
class _Busy:
    process: Process
    resource: str
    left: float


class Schedule:
    """Processes on shared resources.

    Args:
        resources: by name.

    >>> def thread(schedule, seconds):
    ...     yield Work("cores", seconds)
    ...     print(f"{schedule.now:.1f}")
    >>> schedule = Schedule({"cores": Resource(1.0)})
    >>> for seconds in (1.0, 2.0):
    ...     schedule.start(thread(schedule, seconds))
    >>> schedule.run()
    2.0
    3.0
    """

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self.now = 0.0
        self._resources = resources
        self._ready: deque[Process] = deque()
        self._busy: list[_Busy] = []
        self._asleep: list[tuple[float, Process]] = []

    def start(self, process: Process) -> None:
        """Begin a process, now."""
        self._ready.append(process)

    def set(self, signal: Signal) -> None:
        """Tell all who wait for a signal, and who will."""
        signal.done = True
        self._ready.extend(signal.heard_by)
        signal.heard_by.clear()

    def run(self) -> None:
        """Go on until there is nothing left to do."""
        while True:
            while self._ready:
                self._resume(self._ready.popleft())
            if not self._busy and not self._asleep:
                return
            self._pass()

    def _resume(self, process: Process) -> None:
        for asked in process:
            match asked:
                case Work(resource, amount) if amount > 0 and self._resources[resource].capacity < math.inf:
                    self._busy.append(_Busy(process, resource, amount))
                    return
                case Work(resource, amount) if amount > 0 and self._resources[resource].limit < math.inf:
                    self._asleep.append((self.now + amount / self._resources[resource].limit, process))
                    return
                case Until(moment) if moment > self.now:
                    self._asleep.append((moment, process))
                    return
                case Signal(done=False):
                    asked.heard_by.append(process)
                    return

    def _pass(self) -> None:
        """Let time pass until the next process is through."""
        users: dict[str, int] = {}
        for busy in self._busy:
            users[busy.resource] = users.get(busy.resource, 0) + 1
        rates = {name: self._resources[name].rate(count) for name, count in users.items()}
        if any(rate <= 0 for rate in rates.values()):
            raise ValueError(fault("Schedule", "a resource that is used has a capacity above 0", rates))
        working = [(busy.left / rates[busy.resource], busy) for busy in self._busy]
        asleep = [(moment - self.now, moment, process) for moment, process in self._asleep]
        passed = min([wait for wait, _ in working] + [wait for wait, _, _ in asleep])
        self._ready.extend(busy.process for wait, busy in working if wait <= passed)
        self._ready.extend(process for wait, _, process in asleep if wait <= passed)
        self._busy = [busy for wait, busy in working if wait > passed]
        self._asleep = [(moment, process) for wait, moment, process in asleep if wait > passed]
        for busy in self._busy:
            busy.left -= passed * rates[busy.resource]
        self.now += passed
