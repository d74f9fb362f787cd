"""The command on several hosts: the bits of the simulation, one voice, and errors that name the rank."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from sklearn.datasets import dump_svmlight_file
from typer.testing import CliRunner

from thinwire.lab import Loopback
from thinwire.solver import cli

COMMAND = [sys.executable, "-m", "thinwire", "solve"]
METHODS = ("--compare", "dcgd(identity); lsvrg(batch=4): diana(ternary)", "--max-rounds", "60", "--l2", "L/20")
SECONDS = 120.0
APP = typer.Typer()
APP.command()(cli.solve)


def on_hosts(hosts: int, *arguments: object) -> tuple[list[int], list[tuple[int, str]]]:
    lines: list[tuple[int, str]] = []
    command = [*COMMAND, *map(str, arguments)]
    with Loopback(hosts) as made:
        codes = made.run(command, on_line=lambda rank, _, line: lines.append((rank, line)), timeout=SECONDS, grace=5.0)
    return codes, lines


def hashes(path: Path) -> list[str]:
    return [row["x_sha256"] for row in json.loads(path.read_text())["methods"]]


def test_two_hosts_end_with_the_bits_of_the_simulation(tmp_path: Path) -> None:
    shared = (*METHODS, "--split", "dirichlet:0.5", "--json")
    codes, lines = on_hosts(2, *shared, tmp_path / "hosts.json")
    assert codes == [1, 0], lines  # 60 rounds are too few, which rank 0 says
    assert {rank for rank, line in lines} == {0}, "only rank 0 speaks"
    done = CliRunner().invoke(APP, [*map(str, shared), str(tmp_path / "one.json"), "--workers", "2"])
    assert done.exit_code == 1, done.output
    assert hashes(tmp_path / "hosts.json") == hashes(tmp_path / "one.json")
    assert len(set(hashes(tmp_path / "one.json"))) == 3


def test_each_rank_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    """Two workers in each; the second file, whose last column would be zero, is a column narrower and is widened."""
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(40, 6)), np.arange(40) % 2
    A[20:, 5] = 0
    for part in range(2):
        rows = slice(20 * part, 20 * part + 20)
        dump_svmlight_file(A[rows, : 6 - part], b[rows], str(tmp_path / f"part-{part}.txt"), zero_based=False)
    dump_svmlight_file(A, b, str(tmp_path / "whole.txt"), zero_based=False)
    shared = ("--l2", "L/10", "--workers", "4", "--json")
    codes, lines = on_hosts(2, tmp_path / "part-{rank}.txt", *shared, tmp_path / "hosts.json")
    assert codes == [0, 0], lines
    done = CliRunner().invoke(APP, [str(tmp_path / "whole.txt"), *shared, str(tmp_path / "one.json")])
    assert done.exit_code == 0, done.output
    assert hashes(tmp_path / "hosts.json") == hashes(tmp_path / "one.json")
    assert json.loads((tmp_path / "hosts.json").read_text())["rows"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"), [(("part-{rank}.txt",), "part-1.txt"), (("--workers", "5"), "a multiple of 2")]
)
def test_a_rank_refuses_before_it_looks_for_the_others(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each speaks of a file of its own; what is wrong for all, rank 0 says."""
    said = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        done = CliRunner().invoke(APP, list(arguments))
        assert done.exit_code == 2
        said.append(done.output)
    assert message in said[1 if "{rank}" in arguments[0] else 0]
    assert "{rank}" in arguments[0] or not said[1]
