"""Orchestration: what workers say becomes records, failures are kept, and one run end to end over loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from thinwire.demo.plan import RUNS, Plan, Run, Training
from thinwire.demo.run import command, run_once, write_json
from thinwire.lab.workers import open_hosts, sent_bytes
from thinwire.report.metrics import Record, Results, Transport


class Silent:
    """A listener that only remembers."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def opened(self, transport: Transport) -> None: ...

    def started(self, run: Run, seed: int) -> None: ...

    def stepped(self, step: int, seconds: float, sent: float, loss: float | None) -> None:
        self.steps.append(step)

    def finished(self, record: Record) -> None: ...


class Scripted:
    """Hosts whose workers say given lines and end with given codes."""

    def __init__(self, lines: list[tuple[int, str, str]], codes: list[int]) -> None:
        self.lines, self.codes = lines, codes

    def run(
        self,
        command: list[str],
        *,
        on_line: Callable[[int, str, str], None],
        timeout: float,
        grace: float,
    ) -> list[int]:
        for rank, stream, line in self.lines:
            on_line(rank, stream, line)
        return self.codes


def said(rank: int, event: str, **values: object) -> tuple[int, str, str]:
    return rank, "stdout", json.dumps({"event": event, "rank": rank, **values})


PLAN = Plan(runs=(RUNS["ddp"],), hosts=2, training=Training(steps=3))


def test_marks_of_all_ranks_become_points() -> None:
    lines = [
        *(said(rank, "mark", step=0, seconds=0.0, sent=0.0, loss=None if rank else 5.5) for rank in (1, 0)),
        said(0, "step", step=1, seconds=0.5),
        *(
            said(rank, "mark", step=1, seconds=0.5, sent=100.0 * (rank + 1), loss=None if rank else 5.0)
            for rank in (0, 1)
        ),
        *(said(rank, "mark", step=3, seconds=1.1, sent=400.0, loss=None if rank else 4.0) for rank in (0, 1)),
        *(said(rank, "done", step_seconds=[0.5, 0.2, 0.4]) for rank in (0, 1)),
    ]
    record = run_once(Scripted(lines, [0, 0]), PLAN, RUNS["ddp"], 0, Silent())
    assert record.failure is None
    assert [(point.step, point.sent, point.loss) for point in record.points] == [
        (0, 0, 5.5),
        (1, 150, 5.0),
        (3, 400, 4.0),
    ]
    assert record.step_bytes == 125
    assert record.median_seconds == pytest.approx(0.3)


def test_a_failure_names_the_rank_that_failed_itself() -> None:
    lines = [
        (0, "stderr", "RuntimeError: Connection closed by peer [10.0.0.2]:123"),
        (1, "stderr", "ValueError: the true reason"),
    ]
    record = run_once(Scripted(lines, [1, 1]), PLAN, RUNS["ddp"], 0, Silent())
    assert record.failure == "rank 1 of 2 ended with code 1"
    assert "[rank 1] ValueError: the true reason" in record.log


def test_silence_is_a_failure() -> None:
    record = run_once(Scripted([], [0, 0]), PLAN, RUNS["ddp"], 0, Silent())
    assert record.failure == "all ranks ended, but not all reported their results"


def test_lines_that_are_no_events_are_kept_as_log() -> None:
    lines = [(0, "stdout", "a warning"), (0, "stdout", '{"event": broken'), (0, "stdout", '{"event": "new kind"}')]
    record = run_once(Scripted(lines, [0, 0]), PLAN, RUNS["ddp"], 0, Silent())
    assert record.log == ("[rank 0] a warning", '[rank 0] {"event": broken')


def test_the_command_holds_what_the_row_says() -> None:
    words = command(PLAN, RUNS["thinwire-max"], 7)
    assert words[words.index("--link") + 1] == RUNS["thinwire-max"].link
    assert words[words.index("--momentum") + 1] == str(RUNS["thinwire-max"].momentum)
    assert words[words.index("--seed") + 1] == "7"
    assert "--link" not in command(PLAN, RUNS["ddp"], 7)


def test_bytes_are_read_from_the_sending_column(tmp_path: Path) -> None:
    table = tmp_path / "dev"
    table.write_text("header\n  eth0: 11 1 0 0 0 0 0 0 22 2 0 0 0 0 0 0\n    lo:33 1 0 0 0 0 0 0 44 2 0 0 0 0 0 0\n")
    assert (sent_bytes("eth0", table), sent_bytes("lo", table)) == (22, 44)
    with pytest.raises(ValueError, match=r"must list the interface; got 'eth9'"):
        sent_bytes("eth9", table)


@pytest.mark.parametrize("name", ["ddp", "thinwire-max"])
def test_end_to_end_over_loopback(name: str, tmp_path: Path) -> None:
    listener = Silent()
    with open_hosts(PLAN.hosts, PLAN.rate, loopback=True) as (hosts, transport):
        record = run_once(hosts, PLAN, RUNS[name], 0, listener)
    assert record.failure is None, "\n".join(record.log)
    assert transport.modelled
    assert listener.steps == [1, 2, 3]
    assert [point.step for point in record.points] == [0, 1, 3]
    assert record.points[-1].loss < record.points[0].loss
    assert record.step_bytes > 0
    write_json(Results(transport, "ddp", (record,)), tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["name"] == name
