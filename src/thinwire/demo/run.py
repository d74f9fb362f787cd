"""The demo's orchestration: every row of a plan in its turn, on the lab's hosts, into one record each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from thinwire.demo.plan import BASELINE, Plan, Run
from thinwire.lab.workers import Hosts, open_hosts, run_workers
from thinwire.report.metrics import Point, Record, Results, Transport

TIME_LIMIT = 900.0
"""Seconds after which a run is ended and counted as failed."""


class Listener(Protocol):
    """Who wants to know how the demo goes."""

    def opened(self, transport: Transport) -> None:
        """The hosts are there."""

    def started(self, run: Run, seed: int) -> None:
        """A run begins."""

    def stepped(self, step: int, seconds: float, sent: float, loss: float | None) -> None:
        """Rank 0 has done `step` steps in `seconds` measured seconds; bytes and loss as of the last validation."""

    def finished(self, record: Record) -> None:
        """A run has ended, well or not."""


def run_demo(plan: Plan, listener: Listener, about: Mapping[str, Any], loopback: bool = False) -> Results:
    """Run every row with every seed; a run that fails is recorded with its log and the others go on."""
    with open_hosts(plan.hosts, plan.rate, loopback) as (hosts, transport):
        listener.opened(transport)
        records = []
        for seed, run in plan.order():
            listener.started(run, seed)
            records.append(run_once(hosts, plan, run, seed, listener))
            listener.finished(records[-1])
    return Results(transport, BASELINE, tuple(records), {**about, "order": [(r.seed, r.name) for r in records]})


def run_once(hosts: Hosts, plan: Plan, run: Run, seed: int, listener: Listener) -> Record:
    """One row with one seed on all hosts."""
    ear = _Ear(plan.hosts, listener)
    ended = run_workers(hosts, command(plan, run, seed), ear.hear, TIME_LIMIT)
    failure = ended.failure
    if failure is None and not ear.complete:
        failure = "all ranks ended, but not all reported their results"
    return Record(
        name=run.name,
        label=run.label,
        seed=seed,
        ours=run.ours,
        points=ear.points(),
        step_seconds=tuple(ear.step_seconds),
        untimed=plan.training.untimed,
        failure=failure,
        log=ended.log if failure else (),
        stats=ear.stats,
    )


def command(plan: Plan, run: Run, seed: int) -> list[str]:
    """The command of one worker."""
    optional = {"--link": run.link, "--momentum": run.momentum, "--text": plan.text and plan.text.resolve()}
    return [
        *(sys.executable, "-m", "thinwire.demo.train", "--method", run.method),
        *("--steps", str(plan.training.steps), "--seed", str(seed)),
        *(word for flag, value in optional.items() if value is not None for word in (flag, str(value))),
    ]


@dataclass
class _Ear:
    """What the workers of one run have reported so far."""

    hosts: int
    listener: Listener
    marks: dict[int, dict[int, Mapping[str, Any]]] = field(default_factory=dict)
    step_seconds: list[float] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    seconds: float = 0.0

    def hear(self, rank: int, event: Mapping[str, Any]) -> None:
        """Take one event of one worker."""
        handlers = {"step": self._step, "mark": self._mark, "done": self._done, "stats": self._stats}
        handlers.get(event["event"], _ignore)(rank, event)

    @property
    def complete(self) -> bool:
        """Whether every rank has reported to the end."""
        return len(self.done) == self.hosts

    def points(self) -> tuple[Point, ...]:
        """The curve: rank 0's seconds and loss, and the mean over the workers of the bytes that each sent."""
        whole = [(step, marks) for step, marks in sorted(self.marks.items()) if len(marks) == self.hosts]
        return tuple(
            Point(step, marks[0]["seconds"], sum(m["sent"] for m in marks.values()) / self.hosts, marks[0]["loss"])
            for step, marks in whole
        )

    def _step(self, rank: int, event: Mapping[str, Any]) -> None:
        self.seconds += event["seconds"]
        last = self.points()[-1:]
        sent, loss = (last[0].sent, last[0].loss) if last else (0.0, None)
        self.listener.stepped(event["step"], self.seconds, sent, loss)

    def _mark(self, rank: int, event: Mapping[str, Any]) -> None:
        self.marks.setdefault(event["step"], {})[rank] = event

    def _done(self, rank: int, event: Mapping[str, Any]) -> None:
        self.done.add(rank)
        if rank == 0:
            self.step_seconds = event["step_seconds"]

    def _stats(self, rank: int, event: Mapping[str, Any]) -> None:
        if rank == 0:
            self.stats = event["stats"]


def _ignore(rank: int, event: Mapping[str, Any]) -> None:
    """Events that only a reader of the log wants, such as `start`."""


def write_json(results: Results, path: Path) -> None:
    """Write everything that was found, indented, as JSON."""
    path.write_text(json.dumps(results.as_dict(), indent=1, default=str) + "\n")
