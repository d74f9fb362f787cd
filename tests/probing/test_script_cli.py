"""`thinwire probe --script`: two processes train, are watched, and the file says what their gradients are like."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinwire.advisor.facts import Machine, Network, Workload
from thinwire.advisor.findings import Candidate, Gradients, Probe
from thinwire.lab.hosts import Loopback
from thinwire.probing import cli
from thinwire.probing.gradient_words import gradient_remarks, gradient_tables
from thinwire.probing.script import NotSeen

APP = typer.Typer()
APP.command()(cli.probe)
TWO = {"COLUMNS": "200", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
SCRIPT = """
import sys, torch, torch.distributed as dist, thinwire as tw
torch.set_num_threads(1)
dist.init_process_group("gloo")
net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))
model = tw.probe(torch.nn.parallel.DistributedDataParallel(net), samples_per_step=16)
for step in range(int(sys.argv[1])):
    model.zero_grad()
    (model(torch.randn(16, 32)) - 1).square().mean().backward()
dist.destroy_process_group()
"""


def test_a_script_is_watched_in_the_midst_of_a_probe(tmp_path: Path) -> None:
    file, script, lines = tmp_path / "probe.json", tmp_path / "train.py", list[tuple[int, str, str]]()
    script.write_text(SCRIPT)
    wanted = ["--seconds", "0.3", "--candidate", "diana(rotated(1))", "--json", str(file), "--steps", "6"]
    with Loopback(2) as hosts:
        codes = hosts.run(
            [sys.executable, "-m", "thinwire", "probe", *wanted, "--script", str(script), "--", "1000"],
            on_line=lambda rank, stream, line: lines.append((rank, stream, line)),
            timeout=100,
            env={"COLUMNS": "160"},
        )
    said = "\n".join(line for rank, stream, line in lines if (rank, stream) == (0, "stdout"))
    assert codes == [0, 0], lines
    for expected in (
        "Links on these gradients",
        "diana(rotated(bits=1)), momentum 0.9",
        "A step takes",
        "noise scale of",
    ):
        assert expected in said
    found = Probe.from_dict(json.loads(file.read_text()))
    assert found.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert found.workload is not None
    assert found.workload.shapes == ((64, 32), (64,), (32, 64), (32,))
    assert found.gradients is not None
    assert (found.gradients.steps, found.gradients.samples) == (6, 16)
    assert [one.momentum for one in found.gradients.candidates] == [None, 0.9]
    assert found.links


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--script", "nowhere.py"], "the script is a file; got 'nowhere.py'"),
        (
            ["--", "--epochs", "3"],
            "arguments are a script's; got ['--epochs', '3']. Give the script: --script train.py",
        ),
    ],
)
def test_wrong_input_is_refused_before_anything_is_measured(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "joined", lambda *_: pytest.fail("workers were joined"))
    result = CliRunner().invoke(APP, arguments, env=TWO)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())


def test_a_script_that_ends_too_early_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise NotSeen("it makes 47 steps")

    monkeypatch.setattr(cli, "run_script", ended)
    result = CliRunner().invoke(APP, ["--script", __file__], env=TWO)
    assert (result.exit_code, result.output) == (2, "Error: it makes 47 steps\n")


def test_words_of_what_was_found() -> None:
    workload = Workload(((10, 10),), (0.2,), 0.3, on_host=True)
    tried = (
        Candidate("dcgd(rotated(bits=1))", None, 0.5, 0.4, {"a": 0.2, "b": 0.7}),
        Candidate("dcgd(float16())", 0.9, float("inf"), float("inf"), {}),
    )
    probe = Probe(2, Network(), Machine(), workload, Gradients(9, 32, 100, 2.0, 8.0, 0.25, tried))
    (grid,) = gradient_tables(probe)
    assert grid.rows == [
        ("dcgd(rotated(bits=1))", "0.5", "0.4", "b", "0.7"),
        ("dcgd(float16()), momentum 0.9", "too large for it", "too large for it", "–", "–"),
    ]
    step, noise = gradient_remarks(probe)
    assert "A step takes 300 ms of a processor without communication, for 100 values in 1 parameters" in step
    assert "4 times the gradient, in squares, a noise scale of 128 samples" in noise
    assert gradient_tables(Probe(2, Network(), Machine())) == gradient_remarks(Probe(2, Network(), Machine())) == []
