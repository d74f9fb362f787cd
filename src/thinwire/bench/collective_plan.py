"""What `thinwire bench collective` does: which collectives, at which sizes, how often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from thinwire._check import call, in_range
from thinwire.lab.rate import parse_rate

ALLREDUCE = "allreduce"
COLLECTIVES = {
    "Gloo all_reduce": "Gloo's own, which adds as it goes",
    "all_gather": "everyone gets what everyone has: the route `gather`",
    "all_to_all": "everyone gets its share of what everyone has",
    "sharded": "an all_to_all, then an all_gather of what the owners have: the route `sharded`",
    "route allreduce": "thinwire.all_reduce of float32 by the route `allreduce`, sums in rank order included",
}
"""What is measured, by name; the first is what the others are compared with."""
BASELINE = next(iter(COLLECTIVES))
SIZES = tuple(4096 * 4**power for power in range(8))
"""4 KiB to 64 MiB."""
TURN_SECONDS = 0.02
"""A turn handles what a link carries in this time: ten times what a link may send at once after a pause (`Bucket`)."""
TURN_BYTES, TURN_CALLS = 1 << 18, 64
"""But at least so many bytes, or so many calls: one short call would be lost in the barriers around it."""
WARM_UP = 1
"""Rounds at the start of each size that do not count."""
LARGE = 4 << 20
"""Sizes above this are measured in fewer rounds."""


@dataclass(frozen=True)
class CollectivePlan:
    """Every collective on vectors of these sizes in bytes, in rounds.

    >>> plan = CollectivePlan(hosts=4, rate="1gbit")
    >>> plan.sizes[0], plan.sizes[-1], plan.repeats(4096), plan.repeats(1 << 20)
    (4096, 67108864, 64, 2)
    """

    hosts: int
    rate: str
    sizes: tuple[int, ...] = SIZES

    def __post_init__(self) -> None:
        in_range(call("bench collective", hosts=self.hosts), "hosts", self.hosts, 2, 64)
        parse_rate(self.rate)
        # every worker has a share of whole float32 values
        object.__setattr__(self, "sizes", tuple(size - size % (4 * self.hosts) for size in self.sizes))

    def repeats(self, size: int) -> int:
        """Calls in a turn."""
        bits = parse_rate(self.rate) or 0
        return max(1, min(TURN_CALLS, round(max(TURN_BYTES, TURN_SECONDS * bits / 8) / size)))

    def rounds(self, size: int) -> int:
        """Rounds, the warm-up among them."""
        return WARM_UP + (15 if size <= LARGE else 5)

    @property
    def turns(self) -> int:
        """Turns in all."""
        return sum(self.rounds(size) for size in self.sizes) * len(COLLECTIVES)

    def order(self, number: int) -> Iterator[str]:
        """The collectives as they take turns in a round: everyone is first now and then."""
        names = list(COLLECTIVES)
        first = number % len(names)
        yield from names[first:] + names[:first]

    def limit(self, size: int) -> float:
        """Seconds after which a turn is taken to hang."""
        bits = parse_rate(self.rate)
        return 60.0 + (0.0 if not (bits and size) else 10 * self.repeats(size) * self.hosts * 8 * size / bits)

    def as_json(self) -> str:
        """The plan as the argument of its workers."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CollectivePlan:
        """The plan that `as_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "sizes": tuple(values["sizes"])})
