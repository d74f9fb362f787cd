"""The command `thinwire`: help, version, and what it says to a mistyped word."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from thinwire import __version__
from thinwire.cli import app

WIDE = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}


def said(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed, without frames and line breaks."""
    done = CliRunner().invoke(app, list(arguments), env=WIDE, prog_name="thinwire")
    return done.exit_code, " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ()])
def test_help_names_the_commands_and_shows_examples(arguments: tuple[str, ...]) -> None:
    code, text = said(*arguments)
    assert code == (0 if arguments else 2)
    for expected in ("thinwire demo", "thinwire lab --hosts 4", "Run a training script on several hosts", "--version"):
        assert expected in text
    assert "--install-completion" not in text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("demo", ("--rate", "--out", "default: 100mbit")),
        ("lab", ("--hosts", "--timeout", "thinwire lab --hosts 4")),
        ("bench", ("codec", "collective", "step")),
        ("report", ("RUN", "--out", "wire.log", "thinwire report dense.jsonl")),
    ],
)
def test_every_command_explains_itself(command: str, expected: tuple[str, ...]) -> None:
    code, text = said(command, "--help")
    assert code == 0
    for word in expected:
        assert word in text


def test_version() -> None:
    assert said("--version") == (0, f"thinwire {__version__}")


def test_a_mistyped_command_gets_a_suggestion() -> None:
    code, text = said("dmeo")
    assert code == 2
    assert "Did you mean 'demo'?" in text


def test_what_follows_two_dashes_is_the_programs() -> None:
    code, text = said("lab", "--loopback", "--hosts", "1", "--", sys.executable, "-c", "print('--rate')")
    assert code == 0, text


def test_python_m_thinwire_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "thinwire", "--version"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"thinwire {__version__}\n"), done.stderr


def test_the_command_loads_no_plots() -> None:
    """Help must come at once: matplotlib is loaded when there is something to draw."""
    code = "import sys, thinwire.cli; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"
