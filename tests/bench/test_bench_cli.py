"""The command: wrong input ends with code 2 before anything runs; tables, JSON and pictures at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from thinwire.bench import cli
from thinwire.bench.collective_plan import COLLECTIVES
from thinwire.bench.pictures import picture
from thinwire.bench.step_plan import StepPlan
from thinwire.bench.tables import grids
from thinwire.lab import Loopback

QUARTILES = {"low": 0.01, "median": 0.02, "high": 0.03, "count": 9}


def invoke(*arguments: object) -> tuple[int, str]:
    """Exit code and everything printed, without frames and line breaks."""
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(cli.bench, words, env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("step", "--hosts", "1"), "a number must be 2 to 64"),
        (("step", "--hosts", "two"), "whole numbers, separated by commas; got 'two'"),
        (("step", "--hosts", "2.5"), "whole numbers, separated by commas"),
        (("step", "--rate", "100MB"), "100mbit"),
        (("step", "--steps", "4"), "steps must be 12 to"),
        (("step", "--against", "ddp,qsgd"), "a name must be one of 'ddp'"),
        (("step", "--link", "diana(rotate(1))"), "Did you mean 'rotated'"),
        (("step", "--momentum", "1"), "momentum must be 0 to 1"),
        (("step", "--model", "gpt", "--params", "5000"), "only the mlp comes in sizes"),
        (("step", "--json", "/proc/nowhere/x.json"), "cannot be written"),
        (("collective", "--hosts", "1"), "hosts must be 2 to 64"),
        (("collective", "--rate", "fast"), "a rate is a number followed by"),
        (("codec", "--only", "huffman"), "no row has this in its name"),
        (("codec", "--size", "0"), "a number must be 1 to"),
        (("codec", "--threads", "one"), "whole numbers"),
        (("codec", "--plot", "/proc/nowhere/x.svg"), "cannot be written"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(arguments: tuple[str, ...], message: str) -> None:
    code, output = invoke(*arguments)
    assert code == 2
    assert message in output
    assert output.startswith("Error:")


@pytest.mark.parametrize("command", ["codec", "collective", "step"])
def test_help_explains_and_shows_an_example(command: str) -> None:
    code, output = invoke(command, "--help")
    assert code == 0
    for text in ("--json", "--plot", f"Example: thinwire bench {command}"):
        assert text in output


def test_codec_from_end_to_end(tmp_path: Path) -> None:
    files = tmp_path / "codec.json", tmp_path / "codec.svg"
    code, output = invoke(
        *("codec", "--size", "2e3,3000", "--threads", "1,2", "--only", "sign", "--rounds", 1),
        *("--json", files[0], "--plot", files[1]),
    )
    assert code == 0, output
    assert "3,000 float32 values, 2 threads, wall time" in output
    results = json.loads(files[0].read_text())
    assert (results["schema"], results["benchmark"]) == (1, "codec")
    assert results["provenance"]["torch"]
    assert "load_at_start" in results
    assert "command" in results
    assert [(run["size"], run["threads"]) for run in results["runs"]] == [(2000, 1), (2000, 2), (3000, 1), (3000, 2)]
    assert files[1].read_text().startswith("<svg")


def contender(name: str, **more: Any) -> dict[str, Any]:
    method = None if name == "local" else "thinwire" if name == "auto" else name
    made = {"name": name, "method": method, "ours": name == "auto", "failure": None, "seconds": QUARTILES}
    made |= {"faster": QUARTILES, "exposed": QUARTILES, "sent": 1e6, "loss": 1.5, "stages": None, "notes": []}
    return made | {"routes": [], "rounds": []} | more


def step_run(plan: StepPlan, failing: bool) -> dict[str, Any]:
    stages = dict.fromkeys(("encode", "wire", "decode", "exposed"), 0.001)
    made = [
        contender("local", exposed=None),
        contender("ddp"),
        contender("auto", stages=stages, routes=["9 by gather"]),
    ]
    if failing:
        made[1] = contender("ddp", failure="rank 1: boom [bold]")
    run = {"hosts": plan.hosts, "rate": 10**9, "shaped": True, "why": "", "batch": 8, "loss_at_start": 3.0}
    return run | {"contenders": made, "failure": None, "log": ["[rank 1] boom [bold]"] if failing else []}


@pytest.mark.parametrize("failing", [False, True])
def test_steps_are_shown_written_and_drawn(failing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "race", lambda hosts, plan, transport, on_turn: step_run(plan, failing))
    monkeypatch.setattr("thinwire.lab.workers.Lab", lambda hosts, rate: Loopback(hosts))
    files = tmp_path / "step.json", tmp_path / "step.svg"
    code, output = invoke("step", "--hosts", "2,4", "--json", files[0], "--plot", files[1])
    assert code == (1 if failing else 0)
    for text in (
        "2 hosts, links of 1gbit",
        "Inside thinwire",
        "auto: 9 by gather",
        "samples a second",
        "(800/s)",
        "(1,600/s)",
    ):
        assert text in output
    assert ("ddp: rank 1: boom [bold] [rank 1] boom [bold]" in output) == failing
    assert len(json.loads(files[0].read_text())["runs"]) == 2
    assert files[1].read_text().startswith("<svg")


def test_what_is_not_known_is_a_dash() -> None:
    plan = StepPlan((), 2, "1gbit")
    table = grids({"benchmark": "step", "runs": [step_run(plan, failing=True)]})[0].markdown().splitlines()
    assert table[2] == "| local | 20 | 10–30 | 2% | – | – | – | – |".replace("2%", "0.02×")
    assert table[3] == "| ddp | failed | – | – | – | – | – | – |"
    assert table[4].startswith("| **auto** | 20 | 10–30 |")


def test_an_unfinished_run_has_tables_and_perhaps_no_picture() -> None:
    run = {"hosts": 2, "rate": 10**9, "shaped": True, "why": "", "collectives": COLLECTIVES, "sizes": []}
    results = {"benchmark": "collective", "runs": [run]}
    assert all(not grid.rows for grid in grids(results))
    assert picture(results) is None
    failed = [contender("local", failure="it did not get to the end"), contender("ddp")]
    steps = step_run(StepPlan((), 2, "1gbit"), failing=False) | {"contenders": failed}
    assert picture({"benchmark": "step", "runs": [steps]}) is None


def test_collectives_are_drawn_beside_what_the_line_allows() -> None:
    told = {"seconds": QUARTILES, "sent": 1e6, "line_seconds": 0.008, "of_line": 2.5, "faster": QUARTILES}
    sizes = [{"size": size, "calls": dict.fromkeys(COLLECTIVES, told)} for size in (4096, 16384)]
    run = {"hosts": 2, "rate": 10**9, "shaped": True, "why": "", "collectives": COLLECTIVES, "sizes": sizes}
    results = {"benchmark": "collective", "runs": [run]}
    drawn = picture(results)
    assert drawn is not None
    assert drawn.startswith("<svg")
    assert grids(results)[0].markdown().splitlines()[2] == f"| 4 KiB |{' 20 (2.5×) |' * len(COLLECTIVES)}"
