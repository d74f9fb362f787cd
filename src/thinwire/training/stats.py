"""What a step cost and what it was worth, in figures that were measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from thinwire.exchange import Outcome

STAGES = ("encode", "wire", "decode")


@dataclass
class Tally:
    """Sums over one step, or over all: of one worker, as the process' first row stands for.

    Args:
        steps: optimisation steps; `skipped` of them were not finite somewhere and changed no state.
        bytes_up: bytes a worker handed to the wire towards owners, or towards everyone.
        bytes_down: bytes a worker handed to the wire as an owner.
        bytes_in: bytes a worker took from the wire.
        dense_bytes: what a float32 all-reduce of the same gradients hands to the wire, 8 (n − 1)/n a parameter.
        encode, wire, decode: seconds of the communicating thread: at work before the wire, waiting, at work after it.
            Under `attach` it does not wait, but does other work until messages are there: see `exposed`.
        exposed: seconds between the last gradient's arrival and the last estimate: what the backward pass did not hide.
        exposed_work: of these, seconds in which the communicating thread encoded and decoded; in the others it waited
            for the wire.

    >>> import thinwire as tw
    >>> tw.Tally(steps=1, bytes_up=500, bytes_down=500, dense_bytes=8000.0).ratio
    8.0
    """

    steps: int = 0
    skipped: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    bytes_in: int = 0
    dense_bytes: float = 0.0
    encode: float = 0.0
    wire: float = 0.0
    decode: float = 0.0
    exposed: float = 0.0
    exposed_work: float = 0.0
    _wrong: float = field(default=0.0, repr=False)
    _told: float = field(default=0.0, repr=False)

    @property
    def ratio(self) -> float:
        """How many times fewer bytes than a float32 all-reduce."""
        sent = self.bytes_up + self.bytes_down
        return self.dense_bytes / sent if sent else float("inf")

    @property
    def relative_error(self) -> float:
        """√(Σ‖v_i − what the messages say of v_i‖² / Σ‖v_i‖²) of this process' own messages, on the way up.

        Measured in every 16th step; 0 where none of the steps was one. In a geometry, of v_i / s.
        """
        return float((self._wrong / self._told) ** 0.5) if self._told else 0.0

    def count(self, outcome: Outcome, *, compressed: bool) -> None:
        """Add one vector's round; the relative error is that of compressed vectors."""
        self.bytes_up += outcome.sent.get("up", 0)
        self.bytes_down += outcome.sent.get("down", 0)
        self.bytes_in += sum(outcome.sent.values())
        for stage in STAGES:
            setattr(self, stage, getattr(self, stage) + outcome.seconds[stage])
        if compressed and outcome.error is not None and outcome.finite:
            wrong, told = (sum(numbers) for numbers in outcome.error.reshape(2, -1).tolist())
            self._wrong += wrong
            self._told += told

    def add(self, other: Tally) -> None:
        """Add another tally's sums."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        public = {name: value for name, value in asdict(self).items() if not name.startswith("_")}
        return public | {"ratio": self.ratio, "relative_error": self.relative_error}


@dataclass(frozen=True)
class Stats:
    """What `wire.stats()` returns: the last step, the total so far, which route each frame takes, and remarks.

    >>> import thinwire as tw
    >>> stats = tw.Stats(last=tw.Tally(steps=1), total=tw.Tally(steps=7, skipped=1), routes=("sharded",), notes=())
    >>> stats.total.skipped, stats.as_dict()["total"]["steps"]
    (1, 7)
    """

    last: Tally
    total: Tally
    routes: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return {
            "last": self.last.as_dict(),
            "total": self.total.as_dict(),
            "routes": list(self.routes),
            "notes": list(self.notes),
        }
