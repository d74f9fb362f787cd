"""The command in one process: wrong input ends it with code 2, right input with a table, sentences and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thinwire.advisor import Candidate, Gradients, Probe, Workload, reference
from thinwire.counsel import cli

APP = typer.Typer()
APP.command()(cli.advise)
FEW = ("--choice", "fp16", "--choice", "dcgd(rotated(bits=3))", "--choice", "diana(rotated(1)), momentum 0.9")
KNOWN = reference()


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "250"})
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def probed(tmp_path: Path) -> Path:
    network = replace(KNOWN.network, bandwidth=12.5e6, latency=1e-4)
    seen = Gradients(8, 32, 1000, 1.0, 10.0, 0.1, (Candidate("dcgd(rotated(3))", None, 0.1, 0.1, {}),))
    workload = Workload.even(1e6, 0.1)
    probe = Probe(4, network, replace(KNOWN.machine, cores=8), workload, seen, notes=("links differ",))
    file = tmp_path / "probe.json"
    file.write_text(json.dumps(probe.as_dict()), encoding="utf-8")
    return file


def test_from_constants_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "advice.json"
    code, said = invoke(
        "--params", 2e6, "--workers", 8, "--bandwidth", "20mbit", "--backward", "50ms", *FEW, "--json", file
    )
    assert code == 0
    assert "8 workers on links of 20 Mb/s" in said
    assert "Recommended: diana(rotated(bits=1)), momentum 0.9." in said
    assert "What another bandwidth would change: up to" in said
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["kind"], told["compress"], told["workers"]) == ("advice", True, 8)
    assert told["grids"][0]["rows"][0][0] == told["recommended"]
    seconds = f"{told['options'][0]['step']['seconds']:.3g}"
    link = '"diana(rotated(bits=1))"'
    assert f"tw.attach(model, {link}, momentum=tw.take_momentum(optimizer), expected={seconds})" in said


def test_do_not_compress_is_an_advice() -> None:
    code, said = invoke("--params", 2e6, "--bandwidth", "none", "--latency", "1us", "--message", "1us", *FEW)
    assert code == 0
    assert "Do not compress." in said
    assert "nothing: DDP as it is" in said


def test_half_the_bytes_may_be_enough() -> None:
    code, said = invoke("--params", 50e6, "--bandwidth", "20gbit", "--message", "1us", "--backward", "20ms", *FEW)
    assert code == 0
    assert "Do not compress further than to 16 bits." in said
    assert "fp16_compress_hook" in said


def test_powersgd_may_be_the_answer(tmp_path: Path, probed: Path) -> None:
    told = json.loads(probed.read_text(encoding="utf-8"))
    told["gradients"]["candidates"][0]["link"] = "lowrank(rank=4)"
    file = tmp_path / "another.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    code, said = invoke(file, "--choice", "powersgd4", "--bandwidth", "5mbit")
    assert code == 0
    assert "Recommended: powersgd4." in said
    assert "matrix_approximation_rank=4" in said
    assert 'tw.attach(model, "lowrank(4)")' in said


def test_a_probe_is_read_and_parts_of_it_changed(probed: Path) -> None:
    code, said = invoke(probed, *FEW)
    assert code == 0
    assert "4 workers on links of 100 Mb/s, 100 µs" in said
    assert "The probe: links differ" in said
    assert "Recommended" in said
    _, changed = invoke(probed, "--bandwidth", "none", "--workers", 2, "--latency", "1us", "--cores", 64, *FEW)
    assert "2 workers on links of no limit, 1 µs" in changed
    assert "errors are those on 4 workers" in changed
    assert "errors are those" not in said


def test_what_computed_on_processors_still_does_at_another_pace(probed: Path) -> None:
    found = Probe.from_dict(json.loads(probed.read_text(encoding="utf-8")))
    assert found.workload is not None
    probed.write_text(json.dumps(replace(found, workload=replace(found.workload, on_host=True)).as_dict()))
    assert "on its processors" in invoke(probed, "--backward", "1s", *FEW)[1]


def test_another_model_than_the_probes_has_no_gradients_of_its_own(probed: Path) -> None:
    _, slower = invoke(probed, "--backward", "1s", *FEW)
    assert "0.9953 M parameters, 1.5 s of compute" in slower  # the probe's layers
    assert "8 steps' gradients were seen" in slower
    _, larger = invoke(probed, "--parameters", 3e6, *FEW)
    assert "3 M parameters, 100 ms of compute" in larger
    assert "no gradients were seen" in larger


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--goal", "fame"), "--goal"),
        (("--bandwidth", "fast"), "Write for example 1gbit."),
        (("--backward", "0s"), "a backward pass computes for some time"),
        (("--workers", "0"), "workers must be 1"),
        (("--parameters", "0"), "parameters must be 1"),
        (("--choice", "fp61"), "ddp, fp16"),
        (("nowhere.json",), "the probe cannot be read"),
        (("--calibration", "nowhere.json"), "it cannot be read"),
    ],
)
def test_wrong_input_ends_it(arguments: tuple[str, ...], message: str) -> None:
    code, said = invoke(*arguments)
    assert code == 2
    assert message in said


def test_a_file_of_something_else_is_no_probe(tmp_path: Path, probed: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("[]", encoding="utf-8")
    assert invoke(other)[0] == 2
    told = json.loads(probed.read_text(encoding="utf-8"))
    other.write_text(json.dumps({**told, "workload": None}), encoding="utf-8")
    code, said = invoke(other)
    assert code == 2
    assert "the probe has seen no model" in said
    code, said = invoke(other, "--params", "1e6", "--backward", "10ms", *FEW)
    assert code == 0
    code, said = invoke(probed, "--calibration", probed)
    assert code == 2
    assert "a probe has its own constants" in said
