"""An α–β network from what was measured: the numbers by which the advisor's model of a collective gives those times.

With L the latency, n workers, c = min(1, cores) the part of a processor that a worker's thread has, the model says
(`Host.ring`, `Host.direct`) of a ring all-reduce, and of B bytes from each to each other worker:

    ring      2 (n − 1) (L + hop / c) + max(2 (n − 1)/n · size ÷ (bandwidth · ring), processors)
    direct    L + (call + (n − 1) message) / c + max((n − 1) B ÷ (bandwidth · direct), processors)

Fixed costs are told by the shortest calls, rates by those that take several times as long; medians all along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from thinwire._check import fault
from thinwire.advisor.facts import Machine, Network, Workload
from thinwire.advisor.host import Host, Site
from thinwire.advisor.schedule import Process

STAGES = {"all_reduce": 0, "all_gather": 1, "all_to_all": 1, "sharded": 2}
"""Messages from each to each other that a collective consists of, one after the other; a ring has none."""
SENT: Mapping[str, Callable[[int], float]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "all_gather": lambda n: n - 1.0,
    "sharded": lambda n: 2 * (n - 1) / n,
}
"""Bytes that a worker sends for one of the vector's."""
LONG = 4.0
"""Times that of the shortest: from there on, a call's time is that of its bytes."""
MOST = 3.0
"""But links fill better the longer messages are: calls that send less than the longest by this factor are left out."""
SATURATED = 0.7
"""Part of what a worker has of the processors from which on they, and not the wire, are taken to be the limit."""
SLOW = 0.5
"""Part of a pair's bandwidth that collectives fall short of only where something else than links is the limit."""
IDLE = Workload(shapes=((1,),), ready=(0.0,), compute=0.0)


@dataclass(frozen=True)
class Call:
    """One collective, in the median: seconds by the clock, and processor seconds of a worker."""

    name: str
    size: int
    seconds: float
    busy: float


@dataclass(frozen=True)
class Fitted:
    """The network, and how far to trust it.

    Args:
        network: without costs of a call, which one number of workers does not tell from those of its messages:
            messages are charged with all of it.
        busy: the part of their processors that workers use in long collectives.
        error: of predicted times, the median of |predicted ÷ measured − 1|; `worst` by collective.
        worst: the collective with the largest median error, and that error.
        bounded: whether processors are the limit, so that the wire's bandwidth is not known, but for its being at least
            that of a pair.
        slow: whether collectives stay far below what a pair alone reaches.
    """

    network: Network
    busy: float
    error: float
    worst: tuple[str, float]
    bounded: bool
    slow: bool = False


def predicted(network: Network, name: str, size: float, *, workers: int, cores: float) -> float:
    """Seconds of one collective by the advisor's model, with nothing else going on.

    >>> links = Network(bandwidth=1e6, latency=1e-3)
    >>> round(predicted(links, "all_gather", 1e5, workers=4, cores=1), 6)
    0.301
    """
    host = Host(Site(workers, network, Machine(cores=cores), IDLE))

    def run() -> Process:
        yield from _stages(host, name, size, workers)

    host.schedule.start(run())
    host.schedule.run()
    return host.schedule.now


def _stages(host: Host, name: str, size: float, workers: int) -> Process:
    match name:
        case "all_reduce":
            yield host.ring(size, workers, host.site.network)
        case "all_gather":
            yield host.direct(size, workers)
        case "all_to_all":
            yield host.direct(size / workers, workers)
        case "sharded":
            yield host.direct(size / workers, workers)
            yield host.direct(size / workers, workers)
        case _:
            raise ValueError(fault("predicted", f"one of {', '.join(SENT)}", name))


def fit(calls: Sequence[Call], *, latency: float, bandwidth: float, workers: int, cores: float) -> Fitted:
    """The network that explains these calls.

    Args:
        calls: every collective of `SENT`, at one size at least; others are left out.
        latency: of a short message from one to another, in the median of the pairs.
        bandwidth: of a pair alone, likewise.
        workers: how many took part.
        cores: processors of each.
    """
    known = [one for one in calls if one.name in SENT]
    share, first = min(1.0, cores), min(one.size for one in known)
    shortest = {one.name: one.seconds / _steps(one.name, workers) for one in known if one.size == first}
    lag = min(latency, *shortest.values())
    kinds = {ring: _long([one for one in known if ring != bool(STAGES[one.name])], workers) for ring in (True, False)}
    long = [one for calls in kinds.values() for one in calls]
    busy = median(one.busy / (one.seconds * share) for one in long)
    least = {one.name: one for one in known if one.size == first}
    rate = {
        ring: median(_rate(one, least[one.name], lag, bandwidth, workers) for one in calls)
        for ring, calls in kinds.items()
    }
    fixed = {
        ring: median(_fixed([one for one in known if ring != bool(STAGES[one.name])], lag, rate[ring], workers)) * share
        for ring in kinds
    }
    most = max(bandwidth, *rate.values())
    slow = max(rate.values()) < SLOW * most
    bounded = busy > SATURATED or (slow and cores <= 1)  # who shares a processor waits for it, however little it uses
    part = {ring: reached / most for ring, reached in rate.items()}
    if bounded:  # what bytes cost in the cheaper kind; the dearer kind is held back as if by the wire
        costs = {
            ring: median(_above(one.seconds, least[one.name].seconds, one, workers) * share for one in calls)
            for ring, calls in kinds.items()
        }
        per_byte = min(costs.values())
        part[costs[True] <= costs[False]] = 1.0
    else:
        per_byte = median(_above(one.busy, least[one.name].busy, one, workers) for one in long)
    network = Network(
        bandwidth=most,
        latency=lag,
        hop=fixed[True],
        message=fixed[False] / (workers - 1),
        per_byte=per_byte,
        ring=part[True],
        direct=part[False],
    )
    return Fitted(network, busy, *errors(network, known, workers=workers, cores=cores), bounded, slow)


def errors(network: Network, calls: Sequence[Call], *, workers: int, cores: float) -> tuple[float, tuple[str, float]]:
    """The median error of all calls, and the collective with the largest median."""
    found: dict[str, list[float]] = {}
    for one in calls:
        expected = predicted(network, one.name, one.size, workers=workers, cores=cores)
        found.setdefault(one.name, []).append(abs(expected / one.seconds - 1))
    worst = max(((name, median(each)) for name, each in found.items()), key=lambda pair: pair[1])
    return median(error for each in found.values() for error in each), worst


def _steps(name: str, workers: int) -> int:
    """Messages that must go one after another."""
    return STAGES[name] or 2 * (workers - 1)


def _long(calls: Sequence[Call], workers: int) -> list[Call]:
    """Those whose time is that of their bytes: of the calls that send most, and those that send a MOST-th of it.

    None that takes less than LONG times what its like takes for the shortest vector, unless there is no other; and none
    that takes longer than its like for a longer vector: what held it up was not its bytes.
    """
    least: dict[str, float] = {}
    for one in sorted(calls, key=lambda one: one.size):
        least.setdefault(one.name, one.seconds)
    growing = [one for one in calls if all(one.seconds <= other.seconds for other in calls if _longer(other, one))]
    long = [one for one in growing if one.seconds >= LONG * least[one.name]] or growing
    most = max(SENT[one.name](workers) * one.size for one in long)
    return [one for one in long if MOST * SENT[one.name](workers) * one.size >= most]


def _longer(one: Call, other: Call) -> bool:
    return one.name == other.name and one.size > other.size


def _above(seconds: float, least: float, one: Call, workers: int) -> float:
    """Seconds for a byte sent, those of the shortest call taken off."""
    return max(0.0, seconds - least) / (SENT[one.name](workers) * one.size)


def _rate(one: Call, least: Call, lag: float, bandwidth: float, workers: int) -> float:
    """Bytes a second, the shortest call's time taken off: of a short call, which is nothing else, a part stays.

    Where that is more than a pair alone reaches, fixed costs went on while bytes were on their way, as they do in rings
    of many: then only latencies are taken off, if that is not less than what a pair reaches.
    """
    sent = SENT[one.name](workers) * one.size
    most = max(bandwidth, sent / max(one.seconds - _steps(one.name, workers) * lag, one.seconds / LONG))
    return min(most, sent / max(one.seconds - least.seconds, one.seconds / LONG))


def _fixed(calls: Sequence[Call], lag: float, rate: float, workers: int) -> list[float]:
    """Seconds of one step, without latency and bytes, in calls of whose time the bytes take less than half.

    Where there is no such call, of the shortest ones.
    """
    found = []
    for one in calls:
        steps = _steps(one.name, workers)
        rest, wire = one.seconds / steps - lag, SENT[one.name](workers) * one.size / (steps * rate)
        found.append((wire < rest / 2, one.size, max(0.0, rest - wire)))
    shortest = min(size for _, size, _ in found)
    short = [rest for is_short, _, rest in found if is_short]
    return short or [rest for _, size, rest in found if size == shortest]
