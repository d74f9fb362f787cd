"""What collectives cost, by size: all workers take each in turns, and the slowest worker's time counts.

A turn is as many calls as take TURN seconds, behind a barrier. Sizes grow as long as there is time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median

import torch
from torch import Tensor

from thinwire.advisor.facts import VALUE
from thinwire.comm import ProcessGroup
from thinwire.compressors import Identity
from thinwire.exchange import Exchange
from thinwire.presets import dcgd
from thinwire.probing.together import anyone, everyones, slowest
from thinwire.rounds import finish

EXCHANGE = "exchange"
COLLECTIVES = {
    "all_reduce": "the backend's own, which adds as it goes",
    "all_to_all": "everyone gets its share of what everyone has",
    "all_gather": "everyone gets what everyone has: the route `gather`",
    "sharded": "an all_to_all, then an all_gather of what the owners have: the route `sharded`",
    EXCHANGE: "a thinwire round of float32 by the route `allreduce`; of the shortest vector only",
}
"""What is measured, by name; those come first that are measured longest where time is short."""
KEPT = 2
"""So many are measured at every size: the first, which all is compared with, and messages from each to each other."""
SHORTEST, SECOND, LONGEST, GROWTH = 1 << 10, 1 << 16, 1 << 24, 4
"""Bytes of the first vector, of the second and of the last, and by what they grow from the second on."""
IN_ALL = 1 << 28
"""Bytes that an all-gather may have in memory."""
EACH = 1 / 12
"""A size takes this part of the time, or what FEWEST turns need: most is left for long vectors, which take longest."""
TURN, CALLS = 0.01, 64
"""Seconds of a turn, and its most calls."""
FEWEST, MOST = 3, 15
"""Turns that count."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Taken:
    """One collective on a vector of so many bytes, turn by turn.

    Args:
        name, size: as in `CollectiveFound`.
        seconds: of a call, the slowest worker's.
        busy: processor seconds of a call that a worker spent, the mean of all.
        each: seconds of a call by worker.
    """

    name: str
    size: int
    seconds: list[float]
    busy: list[float]
    each: list[list[float]]


@dataclass
class _Own:
    """What this worker measured: seconds and processor seconds of a call, by name and size."""

    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    busy: dict[tuple[str, int], list[float]] = field(default_factory=dict)


def sizes(workers: int) -> list[int]:
    """Bytes of the vectors: every worker has a share of whole float32 values.

    >>> sizes(3)[:3], sizes(3)[-1]
    ([1020, 65532, 262140], 16777212)
    """
    unit, size = VALUE * workers, SECOND
    made = [max(unit, SHORTEST - SHORTEST % unit)]
    while size <= LONGEST and size * workers <= IN_ALL:
        made.append(max(unit, size - size % unit))
        size *= GROWTH
    return list(dict.fromkeys(made))


def measure_collectives(group: ProcessGroup, *, seconds: float, told: Told) -> list[Taken]:
    """Every collective at every size for which there is time, at least one; the same on all workers.

    Raises:
        PeerError: a worker does not come.
    """
    began, own = time.perf_counter(), _Own()
    names: list[str] = []
    least: dict[str, float] = {}
    for size in sizes(group.size):
        made = calls(group, size)
        if not names:
            for run in made.values():  # connections, and memory that stays
                run()
            names = list(made)
        once = dict(zip(names, slowest(group, [_turn(group, made[name], 1)[0] for name in names]), strict=True))
        repeats = {name: max(1, min(CALLS, round(TURN / one))) for name, one in once.items()}
        started = time.perf_counter()
        for turn in range(MOST):
            if turn >= FEWEST and anyone(group, time.perf_counter() - started > seconds * EACH):
                break
            told(f"collectives of {size:,} bytes")
            for name in rotated(names, turn):
                taken, busy = _turn(group, made[name], repeats[name])
                own.seconds.setdefault((name, size), []).append(taken)
                own.busy.setdefault((name, size), []).append(busy)
        spent, *each = slowest(
            group, [time.perf_counter() - began, *(median(own.seconds[name, size]) for name in names)]
        )
        least = dict(zip(names, each, strict=True)) | least
        costs = {
            name: (1 + FEWEST) * max(one, least[name] + GROWTH * (one - least[name]))
            for name, one in zip(names, each, strict=True)
            if name != EXCHANGE
        }
        names = affordable(costs, seconds - spent)
        if not names:
            break
    return merged(everyones(group, [[*place, own.seconds[place], own.busy[place]] for place in own.seconds]))


def affordable(costs: Mapping[str, float], seconds: float) -> list[str]:
    """As many names as there is time for, from the first on; none if that is fewer than KEPT.

    >>> costs = {"all_reduce": 2.0, "all_to_all": 1.0, "all_gather": 4.0, "sharded": 0.1}
    >>> affordable(costs, 7.0), affordable(costs, 3.0), affordable(costs, 2.0)
    (['all_reduce', 'all_to_all', 'all_gather'], ['all_reduce', 'all_to_all'], [])
    """
    fit = [name for name, so_far in zip(costs, accumulate(costs.values()), strict=True) if so_far <= seconds]
    return fit if len(fit) >= KEPT else []


def merged(everyone: list[list[tuple[str, int, list[float], list[float]]]]) -> list[Taken]:
    """Of all workers' turns, (name, size, seconds, processor seconds) each, the slowest ones."""
    found = []
    for ours in zip(*everyone, strict=True):
        name, size = ours[0][:2]
        each = [seconds for _, _, seconds, _ in ours]
        busy = [sum(turn) / len(turn) for turn in zip(*(spent for _, _, _, spent in ours), strict=True)]
        found.append(Taken(name, size, [max(turn) for turn in zip(*each, strict=True)], busy, each))
    return found


def calls(group: ProcessGroup, size: int) -> dict[str, Callable[[], object]]:
    """The collectives on a vector of `size` bytes, by the names of `COLLECTIVES`."""
    vector = torch.zeros(size // VALUE, device=group.device)
    data = vector.view(torch.uint8)[None]
    parts = data.view(1, group.size, -1)

    def all_reduce() -> None:
        with group.naming("all_reduce"):
            group.pg.allreduce([vector]).wait()

    def sharded() -> Tensor:
        return group.all_gather(group.all_to_all(parts).wait()[:, 0]).wait()

    exchange = Exchange(dcgd(Identity()), size // VALUE, group, route="allreduce", errors=False)
    return {
        "all_reduce": all_reduce,
        "all_gather": lambda: group.all_gather(data).wait(),
        "all_to_all": lambda: group.all_to_all(parts).wait(),
        "sharded": sharded,
        EXCHANGE: lambda: finish(exchange.round(vector[None], 0)),
    }


def rotated(names: list[str], turn: int) -> list[str]:
    """Everyone is first now and then.

    >>> rotated(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    first = turn % len(names)
    return names[first:] + names[:first]


def _turn(group: ProcessGroup, run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds of one call of so many, behind a barrier; and processor seconds, of all threads of this process."""
    group.all_gather(torch.zeros(1, 1, dtype=torch.uint8, device=group.device)).wait()
    _settled(group)
    busy, began = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
        _settled(group)
    return (time.perf_counter() - began) / repeats, (time.process_time() - busy) / repeats


def _settled(group: ProcessGroup) -> None:
    if group.device.type != "cpu":  # there `wait` only orders streams
        torch.cuda.synchronize()
