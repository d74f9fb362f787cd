"""Files of every kind that a page is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thinwire.advisor import (
    Candidate,
    CollectiveFound,
    Gradients,
    LinkFound,
    Machine,
    Measured,
    Network,
    Probe,
    Workload,
    reference,
)
from thinwire.report.metrics import Point, Record, Results, Transport
from thinwire.report.runlog import KIND

FIGURE = Measured(0.002, 0.001, 0.003, 5)
TRIED = (
    Candidate("diana(rotated(bits=1))", 0.9, 0.25, 0.04, {"0.weight": 0.3, "2.weight": 0.2}),
    Candidate("dcgd(rotated(bits=3))", None, 0.09, 0.09, {"0.weight": 0.1}),
)
PROBE = Probe(
    workers=2,
    network=Network(bandwidth=12.5e6, latency=1e-3, message=1e-4),
    machine=Machine(cores=2, codecs=reference().machine.codecs),
    workload=Workload.even(1e6, 0.1),
    gradients=Gradients(8, None, 8, 1.0, 3.0, 0.5, TRIED),
    links=(LinkFound(0, 1, FIGURE, Measured.of([1e7])), LinkFound(1, 0, FIGURE, Measured.of([1e7]), FIGURE)),
    collectives=tuple(CollectiveFound("all_gather", size, FIGURE) for size in (1024, 4096)),
    notes=("a note <of> doubt",),
)
ROOT = Path(__file__).parents[2]
BENCHES = ("codec", "collective", "step-100mbit", "scaling")
PREDICTIONS = (ROOT / "benchmarks/predictions/scale.json", ROOT / "benchmarks/predictions/predicted.json")
KEPT = (*(ROOT / f"benchmarks/results/{name}.json" for name in BENCHES), ROOT / "examples/results/mushrooms.json")


def header(link: str = "dcgd(rotated(bits=3))", **more: Any) -> dict[str, Any]:
    frames = [
        {"link": link, "route": "sharded", "parameters": {"2.weight": [64, 64], "0.weight": [64, 64]}},
        {"link": None, "route": "allreduce", "parameters": {"0.bias": [64]}},
    ]
    about: dict[str, Any] = {
        "kind": KIND,
        "schema": 1,
        "rank": 0,
        "every": 1,
        "link": link,
        "workers": 4,
        "parameters": 8256,
    }
    about |= {"frames": frames, "notes": [], "command": "train.py"}
    about["provenance"] = {"cpu": "A <fast> one"}
    return about | more


def line(step: int, seconds: float = 0.1, up: int = 1000, **more: Any) -> dict[str, Any]:
    told = {
        "step": step,
        "time": step * seconds,
        "seconds": seconds,
        "steps": 1,
        "bytes_up": up,
        "bytes_down": up // 2,
        "bytes_in": up,
        "dense_bytes": 15_000.0,
        "encode": 0.004,
        "wire": 0.001,
        "decode": 0.006,
        "exposed": 0.05,
        "exposed_work": 0.01,
        "ratio": 15_000 / (1.5 * up),
        "skipped": 0,
        "metrics": {"loss": 5 / step, "lr": 0.1, "stage": "warm"},
    }
    if step % 16 == 1:
        told |= {"relative_error": 0.2, "errors": {"0.weight": 0.1 * step, "2.weight": 0.3}}
    return told | more


def write(file: Path, *records: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def log(file: Path, steps: int = 20, plain: bool = False, **figures: Any) -> Path:
    """A training of so many steps; `plain` as of PyTorch's all-reduce."""
    lines = [line(step, **figures) for step in range(1, steps + 1)]
    if plain:
        gone = ("encode", "wire", "decode", "exposed", "exposed_work", "relative_error", "errors")
        lines = [{name: value for name, value in told.items() if name not in gone} for told in lines]
        top = header("all-reduce of float32", notes=["one worker alone"])
        del top["frames"]
        return write(file, top, *lines)
    return write(file, header(), *lines)


def demo(file: Path) -> Path:
    def record(name: str, label: str, seconds: float, sent: float, ours: bool) -> Record:
        points = tuple(Point(k, k * seconds, k * sent, 5.5 - k / 10) for k in range(0, 31, 10))
        return Record(name, label, 0, ours, points, (seconds,) * 30, untimed=10)

    runs = (record("mine", "thinwire <3 bits>", 0.1, 6e5, True), record("ddp", "PyTorch DDP", 0.5, 6e6, False))
    about = {"command": "thinwire demo", "arguments": {"runs": [{"name": "ddp"}, {"name": "mine"}], "hosts": 4}}
    results = Results(Transport(4, 100_000_000), "ddp", runs, about)
    file.write_text(json.dumps(results.as_dict()))
    return file


def frontier(file: Path) -> Path:
    def run(method: str, rate: float, seed: int, loss: float | None, ratio: float) -> dict[str, Any]:
        config = {"task": "cnn", "method": method, "workers": 4, "rate": rate, "seed": seed, "steps": 100}
        score = None if loss is None else {"loss": loss, "accuracy": 80.0 + seed}
        return {"config": config, "session_number": 0, "score": score, "ratio": ratio}

    return write(
        file,
        {"session": {"command": "python benchmarks/frontier.py", "provenance": {"torch": "2"}}},
        *(run("dense", rate, 0, loss, 1.0) for rate, loss in ((0.1, 0.5), (0.2, 0.4), (0.4, None))),
        run("dense", 0.2, 1, 0.6, 1.0),
        run("1-bit", 0.1, 0, 0.45, 30.0),
    )
