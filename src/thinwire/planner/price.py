"""What rounds, bytes and gradients come to, in the unit of the goal."""

from __future__ import annotations

from dataclasses import dataclass, field

from thinwire._check import fault, one_of
from thinwire.advisor.facts import Network

GOALS = ("bytes", "time")


@dataclass(frozen=True)
class Spent:
    """What one worker spends.

    Args:
        rounds: of communication.
        messages: that it sends, one after the other; all others wait for each.
        up: bytes of these messages.
        passes: over its own rows; a gradient of all of them is one.

    >>> Spent(2, 2, 10, 2).times(0.5)
    Spent(rounds=1.0, messages=1.0, up=5.0, passes=1.0)
    """

    rounds: float
    messages: float
    up: float
    passes: float

    def times(self, factor: float) -> Spent:
        """So many times all of it."""
        return Spent(self.rounds * factor, self.messages * factor, self.up * factor, self.passes * factor)


@dataclass(frozen=True)
class Price:
    """Bytes, or seconds, of what is spent.

    bytes: those of a worker's messages, as they would go up to a server. time: messages · latency + (n − 1) · bytes ÷
    bandwidth + passes · `gradient`, since here every message goes to all others.

    Args:
        goal: bytes or time.
        workers: n.
        network: its bandwidth and latency.
        gradient: seconds of a worker for a gradient of all its rows.

    Raises:
        ValueError: another goal, a gradient of no time.

    >>> Price("time", 3, Network(bandwidth=1e3, latency=0.1), gradient=1.0).of(Spent(10, 10, 5000, 2))
    13.0
    """

    goal: str
    workers: int
    network: Network = field(default_factory=Network)
    gradient: float = 0.0

    def __post_init__(self) -> None:
        one_of("advise_solve(goal=…)", "goal", self.goal, GOALS)
        if not self.gradient >= 0:
            raise ValueError(fault("advise_solve(gradient=…)", "a gradient takes at least 0 seconds", self.gradient))

    def of(self, spent: Spent) -> float:
        """In the goal's unit."""
        return spent.up if self.goal == "bytes" else self.seconds(spent)

    def seconds(self, spent: Spent) -> float:
        """By the model above, whatever the goal."""
        links = self.network
        wire = spent.messages * links.latency + (self.workers - 1) * spent.up / links.bandwidth
        return wire + spent.passes * self.gradient
