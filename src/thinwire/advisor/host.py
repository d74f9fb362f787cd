"""One worker's step in time: its threads, its link, and the collectives that it takes part in.

All workers are taken to be alike, so that one stands for all: a collective that it begins at a moment is begun by all
at that moment. Its resources are the processors that it has (`cores`) and its link (`wire`), whose two directions carry
the same at the same time. `inside` is what joins the workers of one machine, where there are several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from thinwire._check import call, fault
from thinwire.advisor.facts import Machine, Network, Workload
from thinwire.advisor.plan import FramePlan
from thinwire.advisor.schedule import Process, Resource, Schedule, Signal, Until, Work

CORES, WIRE, INSIDE = "cores", "wire", "inside"


@dataclass(frozen=True)
class Site:
    """Where a step runs.

    Args:
        workers: how many take part.
        network: the links between machines: one for each, whoever is in it.
        machine: what each worker has to itself.
        workload: what each worker computes.
        local: workers in each machine, who first average among themselves, whole. Each then has its part of the vector
            to average with those of the other machines; they do so side by side, over one link.
        inside: the links within a machine.

    Raises:
        ValueError: workers that do not fill machines.
    """

    workers: int
    network: Network
    machine: Machine
    workload: Workload
    local: int = 1
    inside: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        if not (self.workers >= 1 and self.local >= 1 and self.workers % self.local == 0):
            where = call("Site", workers=self.workers, local=self.local)
            raise ValueError(fault(where, "workers fill machines of `local` workers each", self.workers))

    @property
    def machines(self) -> int:
        """How many there are."""
        return self.workers // self.local


class Host:
    """One worker of a site, while a step runs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.schedule = Schedule(
            {
                CORES: Resource(site.machine.cores, limit=1.0),
                WIRE: Resource(site.network.bandwidth / site.local),
                INSIDE: Resource(site.inside.bandwidth),
            }
        )
        self.sent = 0.0
        self.frames: list[FramePlan] | None = None
        self.spent = {"encode": 0.0, "decode": 0.0}

    def memory(self, size: float) -> Work:
        """To read or write so many bytes."""
        return Work(CORES, size * self.site.machine.memory)

    def compute(self, on_gradient: Callable[[int], Process], after: Callable[[], Process]) -> Process:
        """The thread that trains.

        `on_gradient` is what it does for each gradient, by the parameter's number, `after` what stands between the last
        gradient and the rest of the step, which takes the weights' new values from them.
        """
        work, now = self.site.workload, 0.0
        sizes = work.sizes
        for number in sorted(range(len(sizes)), key=lambda number: (work.ready[number], -number)):
            if work.on_host:
                yield Work(CORES, work.ready[number] - now)
            else:
                yield Until(work.ready[number])
                yield Work(CORES, work.handling * sizes[number])
            now = work.ready[number]
            yield from on_gradient(number)
        yield from after()
        rest = work.compute - now
        yield Work(CORES, rest) if work.on_host else Until(self.schedule.now + rest)

    def ring(self, size: float, workers: int, network: Network, wire: str = WIRE, halves: int = 2) -> Signal:
        """A ring all-reduce of a vector of `size` bytes; with one of its halves, to or from the parts of the sum."""
        steps = halves * (workers - 1)
        sent = size * steps / workers
        return self._collective(steps * network.hop, steps * network.latency, sent, network, network.ring, wire)

    def direct(self, size: float, workers: int) -> Signal:
        """A message of `size` bytes from each to each other worker, all at once."""
        network, others = self.site.network, workers - 1
        fixed = network.call + others * network.message if others else 0.0
        return self._collective(fixed, network.latency * (others > 0), others * size, network, network.direct, WIRE)

    def _collective(
        self, fixed: float, latency: float, sent: float, network: Network, reached: float, wire: str
    ) -> Signal:
        """1. Latency. 2. Fixed costs. 3. Side by side: bytes on the wire, and what bytes cost the processors."""
        if wire == WIRE:
            self.sent += sent
        done, through = Signal(), [Signal(), Signal()]

        def part(number: int, work: Work) -> Process:
            yield work
            self.schedule.set(through[number])

        def all_parts() -> Process:
            yield Until(self.schedule.now + latency)
            yield Work(CORES, fixed)
            for number, work in enumerate((Work(wire, sent / reached), Work(CORES, sent * network.per_byte))):
                self.schedule.start(part(number, work))
            yield from through
            self.schedule.set(done)

        self.schedule.start(all_parts())
        return done

    def halve(self, size: float) -> Signal:
        """Half of a ring all-reduce within the machine."""
        return self.ring(size, self.site.local, self.site.inside, INSIDE, halves=1)
