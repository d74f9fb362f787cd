"""The orchestration of `thinwire bench collective`, and what came of it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from thinwire.bench.collective_plan import BASELINE, COLLECTIVES, WARM_UP, CollectivePlan
from thinwire.bench.figures import Quartiles, paired
from thinwire.lab.workers import Hosts, run_workers
from thinwire.report.metrics import Transport

OnTurn = Callable[[str, int], None]
"""Called with what is being measured, and how many turns rank 0 has ended."""


@dataclass
class _Heard:
    """The turns that the workers have reported, by size and name, round and rank."""

    hosts: int
    on_turn: OnTurn
    turns: dict[tuple[int, str], dict[int, dict[int, Mapping[str, Any]]]] = field(default_factory=dict)
    ended: int = 0

    def hear(self, rank: int, event: Mapping[str, Any]) -> None:
        if event["event"] == "turn":
            place = self.turns.setdefault((event["size"], event["name"]), {})
            place.setdefault(event["round"], {})[rank] = event
            if rank == 0:
                self.ended += 1
                self.on_turn(f"{event['size']:,} bytes, {event['name']}", self.ended)

    def seconds(self, size: int, name: str) -> list[float]:
        """Of each counted round: the slowest worker's."""
        return [max(event["seconds"] for event in turn) for turn in self._whole(size, name)]

    def sent(self, size: int, name: str) -> float:
        """Bytes that a worker sent in a call."""
        return statistics.fmean(event["sent"] for turn in self._whole(size, name) for event in turn)

    def _whole(self, size: int, name: str) -> list[list[Mapping[str, Any]]]:
        rounds = sorted(self.turns.get((size, name), {}).items())
        return [list(by.values()) for number, by in rounds if number >= WARM_UP and len(by) == self.hosts]


def measure(hosts: Hosts, plan: CollectivePlan, transport: Transport, on_turn: OnTurn) -> dict[str, Any]:
    """Run the plan, and give what JSON keeps of it; what was measured before a failure is kept too."""
    heard = _Heard(plan.hosts, on_turn)
    command = [sys.executable, "-m", "thinwire.bench.collective_worker", plan.as_json()]
    limit = plan.limit(0) + sum(plan.limit(size) for size in plan.sizes) * 16 * len(COLLECTIVES)
    ended = run_workers(hosts, command, heard.hear, limit)
    return {
        "hosts": plan.hosts,
        "rate": transport.rate,
        "shaped": not transport.why,
        "why": transport.why,
        "failure": ended.failure,
        "log": list(ended.log) if ended.failure else [],
        "collectives": COLLECTIVES,
        "sizes": [
            {"size": size, "calls": {name: _told(heard, transport, size, name) for name in COLLECTIVES}}
            for size in plan.sizes
            if all(heard.seconds(size, name) for name in COLLECTIVES)
        ],
    }


def _told(heard: _Heard, transport: Transport, size: int, name: str) -> dict[str, Any]:
    seconds, sent = heard.seconds(size, name), heard.sent(size, name)
    line = 8 * sent / transport.rate if transport.rate is not None and not transport.why else None
    base = heard.seconds(size, BASELINE)
    return {
        "seconds": asdict(Quartiles.of(seconds)),
        "sent": sent,
        "line_seconds": line,
        "of_line": None if line is None else statistics.median(seconds) / line,
        "faster": asdict(paired(base, seconds)) if len(base) == len(seconds) else None,
    }
