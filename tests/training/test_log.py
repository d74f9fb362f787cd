"""A training's log: a line for each step, with the figures that the wire counted, and what the script added."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from thinwire.training import log as logs
from thinwire.training.log import begin
from thinwire.training.stats import Tally

from . import log_jobs
from .fleet import Fleet

COUNTED = ("bytes_up", "bytes_down", "bytes_in", "encode", "wire", "decode")


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_what_the_wire_counted(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "runs" / "run.jsonl"
    told = fleet.run(_job, str(file), {})[0]["told"]
    header, *lines = read(file)
    assert [line["step"] for line in lines] == list(range(1, 21))
    for line, seen in zip(lines, told, strict=True):
        assert line["steps"] == 1
        assert {name: line[name] for name in COUNTED} == pytest.approx({name: seen[name] for name in COUNTED}, abs=1e-6)
        assert line["ratio"] == pytest.approx(seen["ratio"], abs=1e-4)
        assert 0 <= line["exposed_work"] <= line["exposed"] + 2e-6  # both rounded
    assert sum(line["seconds"] for line in lines) == pytest.approx(lines[-1]["time"], abs=1e-4)
    assert [line["metrics"]["half"] for line in lines] == [step / 2 for step in range(20)]
    assert (header["kind"], header["workers"], header["link"]) == ("thinwire training log", 3, "diana(rotated(bits=1))")
    assert header["parameters"] == sum(
        _size(shape) for frame in header["frames"] for shape in frame["parameters"].values()
    )
    assert not list(tmp_path.glob("runs/*1*")), "rank 0 alone keeps it"


def test_errors_by_parameter_add_up_to_the_frames(fleet: Fleet, tmp_path: Path) -> None:
    """In steps 0 and 16, the first of which is of a link that knows nothing: its error is the compressor's."""
    told = fleet.run(_job, str(tmp_path / "run.jsonl"), {})[0]["told"]
    header, *lines = read(tmp_path / "run.jsonl")
    assert [line["step"] for line in lines if "errors" in line] == [1, 17]
    compressed = {name for frame in header["frames"] if frame["link"] for name in frame["parameters"]}
    for line in (lines[0], lines[16]):
        assert set(line["errors"]) == compressed
        assert min(line["errors"].values()) <= line["relative_error"] <= max(line["errors"].values())
        assert line["relative_error"] == pytest.approx(told[line["step"] - 1]["relative_error"], abs=1e-6)


class FullDisk:
    """A TensorBoard that cannot write."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        raise OSError("no space left")

    def flush(self) -> None: ...


def test_a_board_that_fails_does_not_end_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "INTERVAL", 0.001)
    log = begin(tmp_path / "run.jsonl", 0, {}, 1, FullDisk(), [])

    def train() -> None:
        for step in range(1, 4):
            log.heard(step, Tally(steps=1), {})
            time.sleep(0.02)  # in which it has most probably written; if not, it does so at the end
        log.close()

    with pytest.warns(UserWarning, match=r"no more figures \(no space left\)"):
        train()
    assert [line["step"] for line in read(tmp_path / "run.jsonl")[1:]] == [1, 2, 3]


def test_every_kth_line_sums_and_nothing_is_lost(fleet: Fleet, tmp_path: Path) -> None:
    told = fleet.run(_job, str(tmp_path / "run-{rank}.jsonl"), {"every": 8})
    for rank in range(3):
        _, *lines = read(tmp_path / f"run-{rank}.jsonl")
        assert [(line["step"], line["steps"]) for line in lines] == [(8, 8), (16, 8), (20, 4)]
        assert sum(line["bytes_up"] for line in lines) == sum(seen["bytes_up"] for seen in told[rank]["told"])
        assert [line["metrics"]["half"] for line in lines] == [3.5, 7.5, 9.5], "the last one of a line stays"


def test_a_step_that_was_not_finite_is_told_and_its_number_used_again(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run(_job, str(tmp_path / "run.jsonl"), {"poison": 2, "steps": 5})
    _, *lines = read(tmp_path / "run.jsonl")
    assert [(line["step"], line["skipped"]) for line in lines] == [(1, 0), (2, 0), (3, 1), (3, 0), (4, 0)]


def test_a_resumed_run_goes_on_in_the_same_file(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    states = {f"{rank}": told["state"] for rank, told in enumerate(fleet.run(_job, str(file), {"steps": 3}))}
    whole = file.read_text()
    file.write_text(whole + '{"step": 4, "ti')  # as a kill may leave it
    fleet.run(_job, str(file), {"steps": 2, "state": states})
    assert file.read_text().startswith(whole)
    assert [line.get("step", line.get("kind")) for line in read(file)] == [
        *("thinwire training log", 1, 2, 3),
        *("thinwire training log", 4, 5),
    ]


def test_tensorboard_is_given_the_same_numbers(fleet: Fleet, tmp_path: Path) -> None:
    told = fleet.run(_job, str(tmp_path / "run.jsonl"), {"steps": 3})[0]
    _, *lines = read(tmp_path / "run.jsonl")
    scalars = {(tag, step): value for tag, value, step in told["scalars"]}
    for line in lines:
        for name in ("bytes_up", "ratio", "seconds", "exposed"):
            assert scalars[f"thinwire/{name}", line["step"]] == line[name]
        assert scalars["loss", line["step"]] == line["metrics"]["loss"]
    assert {tag for tag, _ in scalars if tag.startswith("thinwire error/")} == {
        f"thinwire error/{name}" for name in lines[0]["errors"]
    }
    assert not any(tag == "word" for tag, _ in scalars)
    assert told["flushes"]


def test_a_plain_wire_logs_bytes_and_whole_steps(fleet: Fleet, tmp_path: Path) -> None:
    fleet.run(log_jobs.logged_plain, str(tmp_path / "run.jsonl"))
    header, *lines = read(tmp_path / "run.jsonl")
    assert (header["link"], header["notes"]) == ("all-reduce of float32", ["step 0: asked for"])
    assert [(line["step"], line["metrics"]) for line in lines] == [(step, {"loss": None}) for step in (1, 2, 3)]
    assert all(line["ratio"] == pytest.approx(1, abs=1e-3) and "exposed" not in line for line in lines)


def test_wrong_arguments_are_told(fleet: Fleet, tmp_path: Path) -> None:
    for said in fleet.run(log_jobs.refused, str(tmp_path)):
        assert len(said) == 6
        wanted = (
            "or begins a new one",
            "cannot be written",
            "every must be at least 1",
            r"pip install 'thinwire\[tensorboard\]'",
            "a tensor of one element, or a text; got 'list'",
            "got 'Tensor'",
        )
        for text, words in zip(said, wanted, strict=True):
            assert re.search(words, text), text


def test_a_file_that_can_no_longer_be_written_ends_the_log_and_not_the_training(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    log = begin(folder / "run.jsonl", 0, {"link": "none"}, 1, None, [])
    (folder / "run.jsonl").unlink()
    folder.rmdir()
    with pytest.warns(UserWarning, match="the log ends, its file cannot be written"):
        log._append([{"step": 1}])
    log.close()


def _job(rank: int, size: int, file: str, options: dict[str, Any]) -> dict[str, Any]:
    return log_jobs.logged(rank, size, file, **options)


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
