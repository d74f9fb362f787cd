"""A script under a probe: it runs as itself until enough was seen, and whatever is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import thinwire as tw
from thinwire.probing.script import run_script

from ..training.fleet import Fleet
from . import watching

SCRIPT = """
import argparse, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
import thinwire as tw
import beside

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--log")
parser.add_argument("--line", default="model = tw.probe(model, samples_per_step=8)")
asked = parser.parse_args()
assert __name__ == "__main__" and Path(sys.argv[0]) == Path(__file__)
inner = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, beside.OUTPUTS))
model = DistributedDataParallel(inner)
exec(asked.line)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
said = []
try:
    for step in range(asked.steps):
        optimizer.zero_grad()
        x = torch.randn(8, 32, generator=torch.Generator().manual_seed(2 * step + dist.get_rank()))
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        said.append("step")
except Exception:
    said.append("caught")
finally:
    said.append("finally")
    if asked.log and not dist.get_rank():
        Path(asked.log).write_text(" ".join(said))
"""
NEEDED = 1 + 1 + 1 + 3
"""Steps of warm-up, timed, of warm-up, sampled."""


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("OUTPUTS = 16\n")
    return path


def run(pair: Fleet, path: Path, *arguments: str) -> list[dict]:  # type: ignore[type-arg]
    return pair.run(watching.script, path, list(arguments), 3)


def test_a_script_runs_until_enough_was_seen(pair: Fleet, train: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    made = run(pair, train, "--steps", "100", "--log", str(log))
    assert made[0] == made[1]
    assert made[0]["runs"] == 1
    found = made[0]["found"]
    assert found["names"] == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert (found["gradients"]["steps"], found["gradients"]["samples"]) == (3, 8)
    # it ended in the midst of its training, past its `except`, and its `finally` was run
    assert log.read_text().split() == ["step"] * NEEDED + ["finally"]


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["--steps", "4"], f"it makes {NEEDED} steps, and begins another one; got 4. Let it train for longer"),
        (["--steps", "2", "--line", "pass"], "Add the line `model = tw.probe(model)` after the model is wrapped"),
        (
            ["--steps", "2", "--line", "tw.probe(inner)"],
            "while a probe runs; got 'Sequential'",
        ),
        (["--steps", "2", "--line", "tw.probe(model); tw.probe(model)"], "looks at one model, and this is the second"),
        (["--steps", "2", "--line", "raise SystemExit(3)"], "3"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(pair: Fleet, train: Path, arguments: list[str], said: str) -> None:
    for made in run(pair, train, *arguments):
        assert said in made["said"]


def test_attach_is_to_be_left_out(pair: Fleet, train: Path) -> None:
    line = "wire = tw.attach(model, 'dcgd(rotated(3))'); tw.probe(model)"
    assert (
        "leave attach, or another hook, out while it runs"
        in run(pair, train, "--steps", "2", "--line", line)[0]["said"]
    )


def test_without_a_probe_the_line_does_nothing() -> None:
    net = torch.nn.Linear(2, 2)
    assert tw.probe(net, samples_per_step=3) is net
    assert not net._forward_pre_hooks


def test_there_must_be_a_script(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the script is a file"):
        run_script(tmp_path / "no.py", [], lambda found, group: None)
