"""The command: wrong input ends it with code 2; two processes print one report, and write what an advisor can read."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from thinwire.advisor.calibration import Calibration, reference
from thinwire.advisor.facts import Network
from thinwire.advisor.findings import CollectiveFound, LinkFound, Measured, Probe
from thinwire.lab.hosts import Loopback
from thinwire.probing import cli
from thinwire.probing.pairs import tournament

APP = typer.Typer()
APP.command()(cli.probe)
TWO = {"COLUMNS": "200", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


def invoke(*arguments: object, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={**TWO, **env})
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        ((), {"WORLD_SIZE": "1"}, "torchrun --nproc-per-node 2 --no-python thinwire probe"),
        ((), {"WORLD_SIZE": "1"}, "thinwire lab --hosts 4 --rate 100mbit -- thinwire probe"),
        (("--seconds", "0"), {}, "seconds must be 0.1 to 3600"),
        (("--candidate", "dianna(sign())"), {}, "Did you mean 'diana'?"),
        (("--device", "tpu"), {}, "device must be one of 'cpu', 'cuda'"),
        (("--device", "cuda"), {"LOCAL_WORLD_SIZE": "1000"}, "each worker of a machine needs a GPU"),
        (("--json", "/proc/nowhere/found.json"), {}, "cannot be written"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_measured(
    arguments: tuple[str, ...], env: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "joined", lambda *_: pytest.fail("workers were joined"))
    code, output = invoke(*arguments, **env)
    assert code == 2, output
    assert message in output
    assert output.startswith("Error:")
    if "written" not in message:  # the first alone writes
        assert invoke(*arguments, **{**env, "RANK": "1"}) == (2, ""), "what is wrong is said once"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_whoever_is_left_says_who_is_missing(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Connection refused\nframe #0")

    monkeypatch.setattr(cli.dist, "init_process_group", fail)
    code, output = invoke("--device", "cpu", RANK=rank)
    assert code == 1
    assert output == (
        "Error: thinwire probe: the workers did not find each other; got 'Connection refused'. "
        "See the log of the others, and the address of the first."
    )


def test_two_processes_print_one_report_that_can_be_read_again(tmp_path: Path) -> None:
    file, lines = tmp_path / "probe.json", []
    wanted = ["--seconds", "0.5", "--candidate", "diana(rotated(1))", "--json", str(file), "--device", "cpu"]
    with Loopback(2) as hosts:
        codes = hosts.run(
            [sys.executable, "-m", "thinwire", "probe", *wanted],
            on_line=lambda rank, stream, line: lines.append((rank, stream, line)),
            timeout=60,
            env={"COLUMNS": "120"},
        )
    said = "\n".join(line for rank, stream, line in lines if (rank, stream) == (0, "stdout"))
    assert codes == [0, 0], lines
    for expected in ("2 workers, gloo", "0 – 1", "all_reduce", "rotated(bits=1)", f"thinwire advise {file}"):
        assert expected in said
    assert not [line for rank, stream, line in lines if (rank, stream) == (1, "stdout")]
    told = json.loads(file.read_text())
    assert told["provenance"]["thinwire"]
    probe = Probe.from_dict(told)
    assert Probe.from_dict(json.loads(json.dumps(probe.as_dict(), allow_nan=False))) == probe
    assert probe.workers == 2
    assert "rotated(bits=1)" in probe.machine.codecs
    assert "probe" in probe.sources[0]
    assert Calibration.from_dict(told).machine == probe.machine


def figure(value: float) -> Measured:
    return Measured(value, 0.9 * value, 1.1 * value, 9)


@pytest.mark.parametrize("workers", [3, 12])
def test_a_report_names_pairs_or_of_many_workers_the_slowest_and_fastest(workers: int) -> None:
    met = [pair for drawn in tournament(workers) for pair in drawn]
    probe = Probe(
        workers=workers,
        network=Network(bandwidth=125e6, latency=1e-4, message=1e-4, hop=1e-4),
        machine=replace(reference().machine, cores=0.5),
        links=tuple(
            LinkFound(a, b, figure(1e-4 * (1 + a)), figure(1e6 * (1 + b)), figure(1e5))
            for pair in met
            for a, b in (pair, pair[::-1])
        ),
        collectives=tuple(CollectiveFound(name, 1024, figure(1e-3)) for name in ("all_reduce", "all_gather")),
        notes=("others use the [network]",),
    )
    page = StringIO()
    cli.show(Console(width=100, file=page), probe, None)
    said = page.getvalue()
    for expected in ("1 ms (20%)", "links of 1 Gb/s", "Note: others use the [network]", "--json probe.json"):
        assert expected in said
    if workers == 3:
        assert "0 – 2" in said
        assert "100 µs (20%)" in said
    else:
        assert f"{2 * len(met)} of them, drawn" in said
        assert "slowest" in said
