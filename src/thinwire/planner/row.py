"""One way in the ranking."""

from __future__ import annotations

from dataclasses import dataclass

from thinwire.planner.price import Spent


@dataclass(frozen=True)
class Row:
    """One way and what is known of it.

    Args:
        way: as `thinwire solve --compare` reads it.
        basis: "trial", it was tried to its end; "dropped", tried until it had fallen behind; "theory", not tried: what
            theory promises, times what it was off by for the trials of the family.
        reached: the relative gap at which the trial ended; None where there was none.
        promised: rounds by theory; None where it promises no rate, or the step is not its own.
        rounds, messages, up, passes, seconds: to `tol`, of a worker, as expected; `up` is in bytes, and `seconds` are
            those of the network that was given. Of who was dropped they are a guess from how far it came.
        floor: that guess is the least that it can be, the rate of such methods never rising.
        cost: bytes or seconds, by the goal.
        dense: whether vectors travel whole.
    """

    way: str
    basis: str
    reached: float | None
    promised: float | None
    rounds: float
    messages: float
    up: float
    passes: float
    seconds: float
    cost: float
    dense: bool
    floor: bool

    @property
    def spent(self) -> Spent:
        """What it costs a worker, whatever the network."""
        return Spent(self.rounds, self.messages, self.up, self.passes)
