"""The frontier's tables and its page: made from records alone, and the page in docs is what the records say."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frontier_lib import methods, order, page, picture, records, show, tasks


def made(task: str, loss: float, accuracy: float | None, ratio: float) -> dict[str, Any]:
    return {
        "score": {"loss": loss, "accuracy": accuracy},
        "ratio": ratio,
        "errors": [(10 * i, 0.5 / i, 2.0) for i in range(1, 11)],
        "memory": 3.5,
        "parameters": 200_000,
        "seconds": 1.0,
        "task": task,
    }


@pytest.fixture
def runs() -> dict[str, Any]:
    """Dense, rotated 3 bits and PowerSGD on all tasks; PowerSGD is better than 3 bits, and TernGrad diverges."""
    found: dict[str, Any] = {}
    offsets = {"dense": (0.0, 1.0), "rot3": (0.1, 10.0), "topk": (0.05, 30.0), "terngrad": (0.0, 19.0)}
    for cell in order.cells(list(tasks.TASKS), list(offsets), [4], seeds=3):
        worse, ratio = offsets[cell.method]
        for number, rate in enumerate(sorted(cell.grid)):
            for seed in range(3):
                loss = 1 + worse + 0.1 * abs(number - 1) + 0.01 * seed
                accuracy = None if cell.task == "gpt" else 90 - 10 * worse - seed
                record = made(cell.task, loss, accuracy, ratio)
                if cell.method == "terngrad" and seed == 2:
                    record["score"] = None
                found[cell.config(rate, seed).key] = record
    return found


def test_the_summary_has_means_spreads_and_what_diverged(runs: dict[str, Any]) -> None:
    grid = show.summary(runs, 4)
    rows = {row[0]: row[1:] for row in grid.rows}
    assert rows["dense"] == ("1×", "89.00 ± 1.00", "1.010 ± 0.010", "89.00 ± 1.00", "89.00 ± 1.00")
    assert rows["TernGrad"][1] == "diverged"
    assert list(grid.ours) == [methods.METHODS["rot3"].label]


def test_of_fewer_seeds_the_table_says_how_many(runs: dict[str, Any]) -> None:
    cell = next(c for c in order.cells(["gpt"], ["dense"], [4], seeds=3))
    del runs[cell.config(sorted(cell.grid)[1], 2).key]
    assert {row[0]: row[3] for row in show.summary(runs, 4).rows}["dense"] == "1.005 ± 0.007 (2)"


def test_a_rival_is_better_with_fewer_bytes(runs: dict[str, Any]) -> None:
    balanced = show.targets(runs)[0]
    assert balanced.rows[0][1:] == ("10×", "88.00 ± 1.00", "89.00 ± 1.00", "-1.00", "Top-1 %, error feedback")
    assert balanced.rows[1][4] == "+9.9%"


def test_the_promise_of_theory_is_the_codes_variance_on_both_ways(runs: dict[str, Any]) -> None:
    run = made("cnn", 1.0, 90.0, 10.0)
    omega = methods.METHODS["rot3"].settings(4, 0).link.compressor.omega(50_000)
    up = omega / 4 * 2.0**2
    assert show.promise(methods.METHODS["rot3"], run, 4) == f"{math.sqrt(up + omega * (1 + up)):.2f}"
    assert show.promise(methods.METHODS["topk"], run, 4) == show.NONE


def test_pictures_name_what_nothing_beats(runs: dict[str, Any]) -> None:
    drawn = picture.draw(runs, "gpt", 4)
    assert drawn.startswith("<svg")


def test_the_page_is_what_its_records_say() -> None:
    found = records.Records(page.ROOT / "benchmarks" / "results" / "frontier.jsonl")
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, found) == text, "run: python benchmarks/frontier.py --write"
    assert {name for _, name, _ in page.PLACE.findall(text)} <= set(page.sections(found))
