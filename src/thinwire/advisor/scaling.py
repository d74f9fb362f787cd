"""What happens with more workers: speed-up, efficiency, stragglers, and where the best choice changes.

A step is synchronous: it is over when the slowest worker's gradients have gone round. So of n workers, each of which
takes its compute time by chance, the slowest one's time is drawn, and the step is that of `predict_step` with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from thinwire._check import call, fault
from thinwire.advisor.facts import Machine, Network, Workload
from thinwire.advisor.host import Site
from thinwire.advisor.predict import Choice, simulated
from thinwire.advisor.steps import Alone

VALIDATED = 8
"""Workers up to which predictions were compared with measurements."""
MOST = 1_000_000
"""Workers up to which predictions are made."""
NODES = 9
"""Compute times at which a step is simulated; between them it is interpolated."""
CLEAR = 1.05
"""What is faster by less than this factor is not called better than what is simpler."""
LOWEST, HIGHEST = 1e5, 1e11
"""Bandwidths in bytes a second between which the break-even is looked for."""


@dataclass(frozen=True)
class Jitter:
    """How compute times differ from worker to worker and from step to step.

    A worker's time is multiplied by exp(σ z − σ²/2), z ~ N(0, 1), whose mean is 1; and with probability `slow` by
    `factor` as well.

    Args:
        sigma: σ.
        slow, factor: of stragglers.
        steps: how many are drawn.
        seed: of all draws.

    Raises:
        ValueError: a number out of its range.

    >>> Jitter().slowest(4), Jitter(slow=1.0, factor=3.0, steps=2).slowest(4)
    (array([1.]), array([3., 3.]))
    """

    sigma: float = 0.0
    slow: float = 0.0
    factor: float = 3.0
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("sigma", 0.0, 10.0), ("slow", 0.0, 1.0), ("factor", 1.0, 1e6), ("steps", 1, 10**6)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(fault(call("Jitter", **{name: value}), f"{name} must be {low:g} to {high:g}", value))

    @property
    def none(self) -> bool:
        """Whether all workers take the same time, always."""
        return not (self.sigma or (self.slow and self.factor > 1))

    def slowest(self, workers: int) -> NDArray[np.float64]:
        """(steps,): in each step the largest factor of so many workers. More workers are these and some others."""
        if self.none:
            return np.ones(1)
        most = np.zeros(self.steps)
        chance, normal = (np.random.default_rng((self.seed, stream)) for stream in range(2))
        for begin in range(0, workers, 1024):  # in pieces of few megabytes; the draws are the same
            count = min(1024, workers - begin)
            spread = np.exp(self.sigma * normal.standard_normal((count, self.steps)) - self.sigma**2 / 2)
            slow = np.where(chance.random((count, self.steps)) < self.slow, self.factor, 1.0)
            np.maximum(most, (spread * slow).max(axis=0), out=most)
        return most


@dataclass(frozen=True)
class Layout:
    """Workers in machines of `local` each, and how they are joined.

    Args:
        network: the links between machines, one for each machine.
        inside: the links within a machine.
        local: workers in a machine.
        grouped: whether the workers of a machine average among themselves first, whole; otherwise all are alike, and
            those of one machine share its link.
    """

    network: Network
    inside: Network
    local: int = 1
    grouped: bool = False

    def site(self, workers: int, machine: Machine, workload: Workload) -> Site:
        """So many workers; up to `local` they are in one machine.

        Raises:
            ValueError: they do not fill machines.
        """
        here = min(self.local, workers)
        if workers % here:
            rule = f"workers are fewer than a machine's {here}, or fill machines"
            raise ValueError(fault("workers", rule, workers))
        if self.grouped or here == workers:
            return Site(workers, self.network, machine, workload, here, self.inside)
        others = (workers - here) / (workers - 1)  # of the messages to all others, those that leave the machine
        network = replace(self.network, direct=self.network.direct / (here * others))
        return Site(workers, network, machine, workload)


@dataclass(frozen=True)
class Point:
    """A choice with so many workers.

    Args:
        seconds: of a step, in the mean over steps.
        late: of the slowest of twenty steps.
        speed_up: samples a second, against one worker without jitter.
        sent: bytes that a worker sends across machines in a step.
    """

    choice: str
    workers: int
    seconds: float
    late: float
    speed_up: float
    sent: float

    @property
    def efficiency(self) -> float:
        """Of n times one worker's samples a second, the part that is reached."""
        return self.speed_up / self.workers


@dataclass(frozen=True)
class Study:
    """A workload, where it runs, and the choices that are compared; the first of them is the simplest.

    Raises:
        ValueError: no choice, or two of one name.
    """

    choices: tuple[tuple[Choice, Layout], ...]
    machine: Machine
    workload: Workload
    jitter: Jitter = Jitter()

    def __post_init__(self) -> None:
        names = [name for name, _, _ in self.named()]
        if not names or len(set(names)) < len(names):
            raise ValueError(fault("choices", "at least one, each once", names))

    @property
    def alone(self) -> float:
        """Seconds of a step without communication."""
        return simulated(Alone(), Site(1, Network(), self.machine, self.workload)).schedule.now

    def named(self) -> Iterator[tuple[str, Choice, Layout]]:
        """The choices, by what they are called here."""
        for choice, layout in self.choices:
            yield (f"{choice.name}, grouped" if layout.grouped else choice.name), choice, layout

    def point(self, name: str, workers: int, bandwidth: float | None = None) -> Point:
        """One choice with so many workers, on links of another bandwidth if one is given.

        Raises:
            ValueError: an unknown choice, or workers that do not fill machines.
        """
        found = {called: (choice, layout) for called, choice, layout in self.named()}
        if name not in found:
            raise ValueError(fault("choice", f"one of {', '.join(found)}", name))
        choice, layout = found[name]
        if bandwidth is not None:
            layout = replace(layout, network=replace(layout.network, bandwidth=bandwidth))

        def step(factor: float) -> tuple[float, float]:
            host = simulated(choice.way, layout.site(workers, self.machine, self.workload.slowed(factor)))
            return host.schedule.now, host.sent

        seconds, sent = interpolated(step, self.jitter.slowest(workers))
        return Point(
            name,
            workers,
            float(seconds.mean()),
            float(np.quantile(seconds, 0.95)),
            workers * self.alone / float(seconds.mean()),
            sent,
        )

    def best(self, workers: int, bandwidth: float | None = None) -> str:
        """The fastest choice, jitter left out; the first of those that are as fast to within `CLEAR`."""
        calm = replace(self, jitter=Jitter())
        found = [calm.point(name, workers, bandwidth) for name, _, _ in self.named()]
        fastest = min(point.seconds for point in found)
        return next(point.choice for point in found if point.seconds <= CLEAR * fastest)

    def turns(self, workers: Sequence[int]) -> list[tuple[int, str]]:
        """From how many workers on which choice is best, jitter left out; between the smallest and the largest given.

        Between two of the numbers for which it is the same it is taken to be so all the way.
        """
        unit = max(layout.local for _, layout in self.choices)
        asked = sorted(set(workers))
        found = [(asked[0], self.best(asked[0]))]
        for low, high in pairwise(asked):
            while found[-1][1] != self.best(high):
                low = self._left(low, high, unit)
                found.append((low, self.best(low)))
        return found

    def _left(self, low: int, high: int, unit: int) -> int:
        """The first number of workers above `low` that fills machines and has another best choice than `low`."""
        before = self.best(low)
        while True:
            middle = (low + high) // 2
            middle -= middle % unit if middle > unit else 0
            if not low < middle < high:
                return high
            low, high = (middle, high) if self.best(middle) == before else (low, middle)

    def break_even(self, workers: int) -> float:
        """The bandwidth up to which something is clearly faster than the first choice, jitter left out, to 2 %.

        0 or infinite where that lies beyond `LOWEST` or `HIGHEST`.
        """
        first = next(self.named())[0]

        def pays(rate: float) -> bool:
            return self.best(workers, rate) != first

        rate = LOWEST
        if not pays(rate):
            return 0.0
        while pays(10 * rate):
            rate *= 10
            if rate >= HIGHEST:
                return math.inf
        low, high = rate, 10 * rate
        while high > 1.02 * low:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if pays(middle) else (low, middle)
        return low


def interpolated(
    step: Callable[[float], tuple[float, float]], factors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Seconds of a step for each factor, simulated at `NODES` of them, their extremes included; and the bytes sent."""
    if len(np.unique(factors)) <= NODES:
        made = {factor: step(float(factor)) for factor in np.unique(factors)}
        return np.array([made[factor][0] for factor in factors]), next(iter(made.values()))[1]
    nodes = np.quantile(factors, np.linspace(0, 1, NODES))
    found = [step(float(node)) for node in nodes]
    return np.interp(factors, nodes, [seconds for seconds, _ in found]), found[0][1]
