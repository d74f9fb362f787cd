"""`thinwire advise --convex` in one process: a table, sentences, JSON; wrong input ends it with code 2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinwire.counsel import cli
from thinwire.planner import advice
from thinwire.planner.ways import PLAIN, Way

APP = typer.Typer()
APP.command()(cli.advise)
FEW = (Way("nesterov", PLAIN), Way("locodl", "dcgd(rotated(bits=3))"), Way("gradient", "diana(natural())"))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(d: int, n: int, m: int) -> Iterator[Way]:
        yield from FEW

    monkeypatch.setattr(advice, "ways", listed)


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "250"})
    return result.exit_code, " ".join(result.output.split())


def test_a_bundled_problem(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "advice.json"
    code, said = invoke(
        "--convex", "bundled", "--goal", "bytes", "--workers", 4, "--tol", 1e-3, "--seed", 7654321, "--json", file
    )
    assert code == 0, said
    assert "breast_cancer: 569 rows, 30 features; logistic loss" in said
    assert "The best with whole vectors, nesterov: dcgd(identity())" in said
    told = json.loads(file.read_text(encoding="utf-8"))
    first = told["rows"][0]["way"]
    assert (told["kind"], told["goal"], told["workers"], told["compress"]) == ("advice-convex", "bytes", 4, True)
    assert f'Try it: thinwire solve --workers 4 --tol 0.001 --seed 7654321 --compare "{first}"' in said
    assert told["grids"][0]["rows"][0][0] == first


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--goal", "safe"), "with --convex goal must be one of 'bytes', 'time'"),
        (("--workers", 0), "with --convex workers must be 2 to"),
        (("--workers", 1), "with --convex workers must be 2 to"),
        (("--bandwidth", "fast"), "--bandwidth"),
        (("--gradient", "-1ms"), "--gradient"),
        (("--loss", "hinge"), "--loss 'hinge'"),
        (("--l1", 100), "zero is not the solution already"),
        (("--bandwidth", "none", "--latency", "0s", "--gradient", "0s"), "something takes time"),
        (("--tol", 2), "tol must be above 0 and below 1"),
    ],
)
def test_wrong_input_is_refused(arguments: tuple[object, ...], expected: str) -> None:
    code, said = invoke("--convex", "bundled", *arguments)
    assert code == 2
    assert "Error:" in said
    assert expected in said


def test_a_file_that_is_not_there() -> None:
    code, said = invoke("--convex", "nowhere.svm")
    assert code == 2
    assert "there is no such file" in said
