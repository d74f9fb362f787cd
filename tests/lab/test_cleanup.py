"""Nothing stays behind: after Ctrl-C, SIGTERM, kill -9, an exception."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = """
import typer
from thinwire.lab.cli import CONTEXT, lab
app = typer.Typer()
app.command("lab", context_settings=CONTEXT)(lab)
app()
"""
WAIT = 20.0


def carrying(mark: str) -> list[int]:
    """The processes whose command line carries the mark, other than those that merely started them."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sleep") and mark.encode() in words:
            found.append(int(entry))
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(params=[pytest.param([], id="lab", marks=pytest.mark.lab), pytest.param(["--loopback"], id="loopback")])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A lab in a process of its own, with two programs that sleep under a mark of ours."""
    mark, record = f"{600 + time.monotonic_ns() % 10**6 / 10**6:.6f}", tmp_path / "record.json"
    options = ["--hosts", "2", "--json", str(record), *request.param]
    command = [sys.executable, "-c", PROGRAM, *options, "--", "sleep", mark]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert eventually(lambda: len(carrying(mark)) == 2)
            yield process, mark, record
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_in_order(running: tuple[subprocess.Popen[str], str, Path], number: int, code: int) -> None:
    process, mark, record = running
    process.send_signal(number)
    _, errors = process.communicate(timeout=WAIT)
    assert process.returncode == code, errors
    assert carrying(mark) == []
    if number == signal.SIGINT:
        assert "interrupted" in errors
        assert json.loads(record.read_text())["outcome"] == "interrupted"


def test_kill_9_leaves_nothing(running: tuple[subprocess.Popen[str], str, Path]) -> None:
    process, mark, _ = running
    process.kill()
    process.wait()
    assert eventually(lambda: carrying(mark) == [])
