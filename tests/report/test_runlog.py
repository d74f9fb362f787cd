"""What is read of a training's log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinwire.report.drawing import COLOURS, DARK, OTHERS
from thinwire.report.runlog import KIND, RunLog, parse_log
from thinwire.report.traces import POINTS, Trace


def header() -> dict[str, Any]:
    return {"kind": KIND, "workers": 2, "frames": [{"parameters": {"b": [2], "a": [2]}}], "notes": ["first"]}


def line(step: int, **more: Any) -> dict[str, Any]:
    told = {"step": step, "seconds": 1.0, "steps": 1, "bytes_up": 10, "bytes_down": 5, "dense_bytes": 30.0}
    return {**told, "skipped": 0, "metrics": {"loss": 1.0 / step}, **more}


def read(*records: dict[str, Any], end: str = "\n") -> RunLog:
    return parse_log("run", "\n".join(json.dumps(record) for record in records) + end)


def test_sums_go_up_to_each_line() -> None:
    log = read(header(), line(1), line(2, seconds=3.0, bytes_up=100))
    assert (log.steps, log.seconds, log.sent) == ([1, 2], [1.0, 4.0], [15.0, 120.0])


def test_steps_that_were_done_again_count_once() -> None:
    """Stopped after step 4, resumed from a checkpoint of step 2."""
    again = line(3, seconds=2.0)
    log = read(header(), line(1), line(2), line(3), line(4), {**header(), "workers": 4}, again, line(4), line(5))
    assert log.steps == [1, 2, 3, 4, 5]
    assert log.seconds == [1, 2, 4, 5, 6]
    assert (log.sessions, log.header["workers"]) == (2, 4)


def test_a_skipped_step_uses_its_number_again() -> None:
    log = read(header(), line(1), line(2, skipped=1), line(2))
    assert log.steps == [1, 2, 2]


def test_a_line_that_is_being_written_is_left_out() -> None:
    assert read(header(), line(1), line(2), end="").steps == [1]


def test_a_broken_line_is_named() -> None:
    with pytest.raises(ValueError, match="run, line 2: it is no JSON"):
        parse_log("run", json.dumps(header()) + "\n{]\n" + json.dumps(line(1)) + "\n")


def test_a_log_without_a_step_is_a_log() -> None:
    log = read(header())
    assert (log.steps, log.metrics, log.errors, log.median("seconds")) == ([], [], {}, None)


def test_metrics_that_are_numbers_are_found() -> None:
    log = read(header(), line(1, metrics={"note": "x", "ok": True}), line(2, metrics={"loss": None}), line(3))
    assert log.metrics == ["loss"]
    assert log.metric("loss") == [None, None, 1 / 3]


def test_figures_are_per_step_and_medians_leave_the_beginning_out() -> None:
    lines = [line(k, steps=2, seconds=100.0 if k == 1 else 4.0) for k in range(1, 11)]
    log = read(header(), *lines)
    assert log.per_step("seconds")[0] == 50
    assert log.median("seconds") == 2
    assert log.median("exposed") is None


def test_errors_are_medians_in_the_models_order() -> None:
    looks = [line(k, errors={"a": a, "b": 0.5}) for k, a in enumerate((0.1, 0.9, 0.2), 1)]
    log = read(header(), *looks, line(4, notes=["second", "first"]))
    assert list(log.errors.items()) == [("a", 0.2), ("b", 0.5)]
    assert log.notes == ["first", "second"]


def test_long_curves_are_thinned_and_keep_their_extremes() -> None:
    y: list[float | None] = [float(k % 7) for k in range(1000)]
    y[3], y[5] = None, float("nan")
    thin = Trace(range(1000), y).thinned()
    assert len(thin) <= POINTS
    assert thin[-1][0] == 999
    assert (min(point[2] for point in thin), max(point[3] for point in thin)) == (0, 6)
    assert Trace([1, 2], [3.0, 4.0]).thinned() == [(1, 3, 3, 3), (2, 4, 4, 4)]


def test_every_colour_has_one_for_dark_pages() -> None:
    assert {*COLOURS, *OTHERS} <= DARK.keys()
