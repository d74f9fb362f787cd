"""The command in one process: wrong input ends it with code 2, right input with a table, JSON and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinwire.advisor import cli
from thinwire.advisor.calibration import reference
from thinwire.advisor.scaling import Study

APP = typer.Typer()
APP.command()(cli.scale)
SMALL = (
    "--parameters",
    "1e6",
    "--compute",
    "20ms",
    "--workers",
    "2,16",
    "--choice",
    "ddp",
    "--choice",
    "ef21(sign())",
)


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bandwidth", "1Gb/s"), "Write for example 1gbit."),
        (("--bandwidth", "0mbit"), "a bandwidth is above 0"),
        (("--latency", "1"), "a time is a number and us, ms or s"),
        (("--compute", "0ms"), "a step computes for some time"),
        (("--parameters", "0"), "parameters must be 1"),
        (("--workers", "2,many"), "whole numbers, separated by commas"),
        (("--workers", "0"), "a number must be 1"),
        (("--workers", "12", "--per-machine", "8"), "its multiples: 8, 16"),
        (("--choice", "fp61"), "ddp, fp16"),
        (("--choice", "dianna(ternary)"), "Did you mean 'diana'?"),
        (("--choice", "ddp", "--choice", "ddp"), "each once"),
        (("--cores", "0"), "cores must be above 0"),
        (("--message", "fast"), "a time is a number"),
        (("--jitter", "-1"), "sigma must be 0 to 10"),
        (("--slow", "2"), "slow must be 0 to 1"),
        (("--steps", "0"), "steps must be 1"),
        (("--calibration", "nowhere.json"), "it cannot be read"),
        (("--json", "/proc/nowhere/found.json"), "cannot be written"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_predicted(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "point", lambda *_: pytest.fail("something was predicted"))
    code, output = invoke(*arguments)
    assert code == 2, output
    assert message in output
    assert output.startswith("Error:")


def test_a_calibration_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "constants.json").write_text("[1]")
    code, output = invoke("--calibration", tmp_path / "constants.json")
    assert (code, "it has sources, a network and a machine" in output) == (2, True)


def test_a_table_a_file_and_a_picture(tmp_path: Path) -> None:
    code, output = invoke(*SMALL, "--json", tmp_path / "found.json", "--plot", tmp_path / "found.svg")
    assert code == 0, output
    for said in ("16 †", "† extrapolated", "Fastest with 2 workers:", "pays up to", "on links of 1 Gb/s, 1 ms"):
        assert said in output
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(p["choice"], p["workers"]) for p in found["points"]] == [
        (choice, n) for n in (2, 16) for choice in ("ddp", "ef21(sign())")
    ]
    assert [point["extrapolated"] for point in found["points"]] == [False, False, True, True]
    assert found["provenance"]["thinwire"]
    assert found["network"]["bandwidth"] == 125e6
    assert {row["workers"] for row in found["break_even"]} == {2, 16}
    svg = (tmp_path / "found.svg").read_text()
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")


def test_the_same_words_give_the_same_figures_and_another_seed_others(tmp_path: Path) -> None:
    def told(seed: int) -> object:
        file = tmp_path / "found.json"
        code, output = invoke(*SMALL, "--jitter", "0.2", "--seed", seed, "--json", file)
        assert code == 0, output
        return json.loads(file.read_text())["points"]

    first = told(0)
    assert told(0) == first
    assert told(1) != first


def test_groups_are_shown_beside_what_is_flat() -> None:
    code, output = invoke(*SMALL[:4], "--workers", "8,16", "--per-machine", "8", "--choice", "ddp")
    assert code == 0, output
    assert "ddp, grouped" in output
    assert "8 workers in each (100 Gb/s)" in output


def test_a_calibration_can_be_given_and_what_is_not_measured_is_named(tmp_path: Path) -> None:
    file = tmp_path / "constants.json"
    file.write_text(json.dumps(reference().as_dict()))
    code, output = invoke(*SMALL[:4], "--workers", "4", "--calibration", file, "--choice", "ef21(topk(0.1))")
    assert code == 0, output
    assert "topk(0.1) taken for topk(0.01)" in output
    assert "pays up to" not in output
