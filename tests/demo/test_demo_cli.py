"""The command: wrong input ends with code 2 and a message before anything runs; a failing run with code 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from thinwire.demo import cli
from thinwire.demo.plan import Plan
from thinwire.demo.run import Listener
from thinwire.report.metrics import Point, Record, Results, Transport

APP = typer.Typer()
APP.command()(cli.demo)


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runs", "ddp,qsgd"), "runs must be one of 'ddp', 'fp16'"),
        (("--rate", "100MB"), "100mbit"),
        (("--hosts", "1"), "hosts must be 2 to 64"),
        (("--steps", "1"), "steps must be 3 to"),
        (("--text", "/nowhere/book.txt"), "the file cannot be read"),
        (("--out", "/proc/nowhere"), "cannot be written"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = invoke(*arguments)
    assert code == 2
    assert message in output
    assert output.startswith("Error:")


def _fake(failing: str | None) -> Any:
    def run(plan: Plan, listener: Listener, about: Mapping[str, Any], loopback: bool) -> Results:
        transport = Transport(plan.hosts, 100_000_000, modelled=loopback, why="asked for" if loopback else "")
        listener.opened(transport)
        records = []
        for seed, row in plan.order():
            listener.started(row, seed)
            listener.stepped(1, 0.1, 1e6, 5.0)
            points = (Point(0, 0.0, 0.0, 5.5), Point(1, 0.1, 1e6, 5.0), Point(3, 0.3, 3e6, 4.0))
            failure = "rank 1 of 4 ended with code 1" if row.name == failing else None
            log = ("[rank 1] boom [bold]",) if failure else ()
            record = Record(row.name, row.label, seed, row.ours, points, (0.1,) * 3, 1, failure, log)
            records.append(record)
            listener.finished(record)
        return Results(transport, "ddp", tuple(records), {**about, "order": [(r.seed, r.name) for r in records]})

    return run


def test_a_whole_demo_writes_table_report_and_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "run_demo", _fake(failing=None))
    code, output = invoke("--out", tmp_path, "--seeds", 2, "--runs", "ddp,thinwire")
    assert code == 0, output
    for text in ("PyTorch DDP", "thinwire", "sent a step", "held-out loss", "4.000 ± 0.000", "did not pay"):
        assert text in output
    assert "modelled" not in output
    assert "<svg" in (tmp_path / "report.html").read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["runs"]) == 4
    assert results["arguments"]["seeds"] == [0, 1]
    assert results["provenance"]


def test_a_failing_run_shows_its_log_and_ends_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "run_demo", _fake(failing="fp16"))
    code, output = invoke("--out", tmp_path, "--loopback")
    assert code == 1
    assert "rank 1 of 4 ended with code 1" in output
    assert "[rank 1] boom [bold]" in output
    assert "1 of 5 runs failed" in output
    assert "modelled" in output
    assert "boom" in (tmp_path / "report.html").read_text()
