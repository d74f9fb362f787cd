"""The orchestration of `thinwire bench step`: one race for each number of hosts, and what came of it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from thinwire.bench.contenders import BASELINE, LOCAL, Contender
from thinwire.bench.figures import Quartiles, paired
from thinwire.bench.step_plan import PATIENCE, TURN, WARM_UP, StepPlan
from thinwire.lab.workers import Ended, Hosts, run_workers
from thinwire.report.metrics import Transport
from thinwire.report.values import finite

STAGES = ("encode", "wire", "decode", "exposed")
OnTurn = Callable[[str, int], None]
"""Called with the contender whose turn it is, and how many turns rank 0 has ended."""


@dataclass
class Heard:
    """What the workers of one race have reported."""

    hosts: int
    on_turn: OnTurn
    turns: dict[str, dict[int, dict[int, Mapping[str, Any]]]] = field(default_factory=dict)
    """By contender, round and rank."""
    results: dict[str, dict[int, Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[str, dict[int, str]] = field(default_factory=dict)
    built: Mapping[str, Any] = field(default_factory=dict)
    now: dict[int, str] = field(default_factory=dict)
    """Whose turn it is on each rank; nothing of a rank that is done."""
    ended: int = 0

    def hear(self, rank: int, event: Mapping[str, Any]) -> None:
        """Take one event of one worker."""
        match event["event"]:
            case "begin":
                self.now[rank] = event["name"]
                if rank == 0:
                    self.on_turn(event["name"], self.ended)
            case "turn":
                self.turns.setdefault(event["name"], {}).setdefault(event["round"], {})[rank] = event
                self.ended += rank == 0
            case "failed":
                self.failures.setdefault(event["name"], {})[rank] = event["error"]
            case "result":
                self.results.setdefault(event["name"], {})[rank] = event
            case "built" if rank == 0:
                self.built = event
            case "done":
                self.now.pop(rank, None)

    def whole(self, name: str) -> list[list[Mapping[str, Any]]]:
        """A contender's timed turns that all ranks have reported, each as its events by rank."""
        rounds = sorted(self.turns.get(name, {}).items())
        return [[by[rank] for rank in range(self.hosts)] for r, by in rounds if r >= WARM_UP and len(by) == self.hosts]


def race(hosts: Hosts, plan: StepPlan, transport: Transport, on_turn: OnTurn) -> dict[str, Any]:
    """Run one race, and give what JSON keeps of it."""
    heard = Heard(plan.hosts, on_turn)
    parameters = sum(parameter.numel() for parameter in plan.workload(0).model().parameters())
    turns = len(plan.contenders) * (plan.rounds + 1)
    limit = 2 * PATIENCE + turns * plan.turn_limit(parameters)
    command = [sys.executable, "-m", "thinwire.bench.step_worker", plan.as_json()]
    ended = run_workers(hosts, command, heard.hear, limit)
    return {
        "hosts": plan.hosts,
        "arguments": {name: value for name, value in asdict(plan).items() if name != "contenders"},
        "rate": transport.rate,
        "shaped": not transport.why,
        "why": transport.why,
        "parameters": parameters,
        "batch": heard.built.get("batch"),
        "steps": plan.rounds * TURN,
        "timed_steps": (plan.rounds - WARM_UP) * (TURN - 1),
        "loss_at_start": finite(heard.built.get("loss")),
        "failure": None if ended.failure is None else _explained(ended, heard),
        "log": list(ended.log) if ended.failure is not None or heard.failures else [],
        "contenders": [_told(contender, heard) for contender in plan.contenders],
    }


def _explained(ended: Ended, heard: Heard) -> str:
    now = ", ".join(dict.fromkeys(heard.now.values()))
    return f"{ended.failure}; it was the turn of {now}" if now else str(ended.failure)


def _told(contender: Contender, heard: Heard) -> dict[str, Any]:
    """One contender: its steps by round, as means over the workers, and what follows from them."""
    turns = heard.whole(contender.name)
    results = heard.results.get(contender.name, {})
    told = asdict(contender) | {"ours": contender.ours, "failure": _failure(contender.name, heard)}
    if told["failure"] is not None:
        return told
    return told | {
        "rounds": [_step_seconds(turn) for turn in turns],
        "sent": statistics.fmean(event["sent"] / TURN for turn in turns for event in turn),
        "loss": finite(results[0]["loss"]),
        "stages": _stages(results),
        "routes": results[0]["stats"].get("routes", []),
        "notes": results[0]["stats"].get("notes", []),
        **_compared(contender.name, heard),
    }


def _failure(name: str, heard: Heard) -> str | None:
    said = heard.failures.get(name)
    if said:
        rank, error = min(said.items(), key=lambda item: ("peer" in item[1] or "Timed out" in item[1], item[0]))
        return f"rank {rank}: {error}"
    return None if len(heard.results.get(name, {})) == heard.hosts else "it did not get to the end"


def _step_seconds(turn: list[Mapping[str, Any]]) -> list[float]:
    """Seconds of each timed step of a turn: the mean over the workers, who do not begin it at the same moment."""
    return [statistics.fmean(seconds) for seconds in zip(*(event["seconds"][1:] for event in turn), strict=True)]


def _compared(name: str, heard: Heard) -> dict[str, Any]:
    """Quartiles of its steps; its rounds against the same rounds of the baseline and of local."""
    mine = _medians(name, heard)
    steps = [seconds for turn in heard.whole(name) for seconds in _step_seconds(turn)]
    compared: dict[str, Any] = {"seconds": asdict(Quartiles.of(steps)), "faster": None, "exposed": None}
    base, local = _medians(BASELINE, heard), _medians(LOCAL.name, heard)
    if len(base) == len(mine):
        compared["faster"] = asdict(paired(base, mine))
    if len(local) == len(mine) and name != LOCAL.name:
        compared["exposed"] = asdict(Quartiles.of([a - b for a, b in zip(mine, local, strict=True)]))
    return compared


def _medians(name: str, heard: Heard) -> list[float]:
    return [statistics.median(_step_seconds(turn)) for turn in heard.whole(name)]


def _stages(results: Mapping[int, Mapping[str, Any]]) -> dict[str, float] | None:
    """Seconds a step that thinwire counted after the warm-up, by stage: means over the workers."""
    if "total" not in results[0]["stats"]:
        return None
    pairs = [(result["stats"]["total"], result["warm"]["total"]) for result in results.values()]
    return {
        stage: statistics.fmean((end[stage] - warm[stage]) / (end["steps"] - warm["steps"]) for end, warm in pairs)
        for stage in STAGES
    }
