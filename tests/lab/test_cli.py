"""The command `thinwire lab`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinwire.lab.cli import CONTEXT, lab
from thinwire.report.provenance import provenance

app = typer.Typer()
app.command("lab", context_settings=CONTEXT)(lab)
runner = CliRunner()


def test_prefixed_lines_exit_code_summary_and_record(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    script = "echo hello --rate; [ $RANK = 1 ] && exit 5; exit 0"
    done = runner.invoke(app, ["--loopback", "--hosts", "2", "--json", str(record), "sh", "-c", script])
    assert done.exit_code == 5
    assert sorted(done.stdout.splitlines()) == ["[rank 0] hello --rate", "[rank 1] hello --rate"]
    assert done.stderr.startswith("lab: 2 hosts at none, ")
    assert done.stderr.endswith("exit codes 0 5\n")
    written = json.loads(record.read_text())
    assert written["exit_codes"] == [0, 5]
    assert written["outcome"] == "done"
    assert written["command"] == ["sh", "-c", script]
    assert written["provenance"].keys() == provenance().keys()


@pytest.mark.lab
def test_bytes_are_reported(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    done = runner.invoke(
        app, ["--hosts", "2", "--rate", "10mbit", "--json", str(record), "--", "getent", "hosts", "host1"]
    )
    assert done.exit_code == 0
    assert "2 hosts at 10mbit" in done.stderr
    assert "MB sent per host" in done.stderr
    written = json.loads(record.read_text())
    assert written["rate_bits_per_second"] == 10_000_000
    assert len(written["bytes_sent"]) == 2


def test_the_first_failure_counts_and_signals_as_shells_count_them() -> None:
    script = "[ $RANK = 1 ] && kill -9 $$; sleep 0.5; exit 3"
    assert runner.invoke(app, ["--loopback", "--hosts", "2", "sh", "-c", script]).exit_code == 137


def test_timeout() -> None:
    done = runner.invoke(app, ["--loopback", "--hosts", "2", "--timeout", "0.3", "sleep", "60"])
    assert done.exit_code == 124
    assert "ranks 0, 1 still ran" in done.stderr
    assert "exit codes -15 -15" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "fast", "true"], "kbit"),
        (["--loopback", "--rate", "1mbit", "true"], "no links to shape"),
        (["--loopback", "--json", "/no/such/dir/x", "true"], "directory must exist"),
        (["--loopback", "no-such-program"], "program on PATH"),
    ],
)
def test_what_cannot_be_done_is_125_and_said(options: list[str], said: str) -> None:
    done = runner.invoke(app, options)
    assert done.exit_code == 125
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_provenance_is_json_and_knows_its_package() -> None:
    made = json.loads(json.dumps(provenance()))
    assert made["python"].count(".") == 2
    assert made["torch"]
    assert made["cores"] >= 1
