"""docs/benchmarks.md: its tables are what benchmarks/tables.py makes of benchmarks/results, and all are measured."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_tables_are_those_of_the_results(script: ModuleType) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.filled(page) == page, "run: python benchmarks/tables.py"


@pytest.mark.parametrize("name", ["options", "trust"])
def test_the_pages_of_one_table_are_those_of_the_results(script: ModuleType, name: str) -> None:
    page = getattr(script, name.upper()).read_text(encoding="utf-8")
    assert script.filled(page) == page, "run: python benchmarks/tables.py"
    assert [table for _, table, _ in script.PLACE.findall(page)] == [{"options": "options", "trust": "soak"}[name]]


def test_the_reproductions_are_those_of_the_examples(script: ModuleType) -> None:
    page = script.REPRODUCTIONS.read_text(encoding="utf-8")
    assert script.filled(page, script.EXAMPLES) == page, "run: python benchmarks/tables.py"
    shown = {name for _, name, _ in script.PLACE.findall(page)}
    assert shown == {file.stem for file in script.EXAMPLES.glob("*.json")}
    assert all((ROOT / "docs" / link).is_file() for link in re.findall(r"\]\((images/[^)]+)\)", page))


def test_every_table_has_a_command_and_every_command_a_table(script: ModuleType) -> None:
    commands = (ROOT / "benchmarks" / "run").read_text(encoding="utf-8")
    measured = re.findall(r"^measure ([\w-]+) ", commands, re.MULTILINE)
    shown = [name for _, name, _ in script.PLACE.findall(script.PAGE.read_text(encoding="utf-8"))]
    assert sorted(measured) == sorted(shown)
    rates = re.findall(r"^grid (\w+)$", commands, re.MULTILINE)
    grid = {f"grid-{rate}" for rate in rates} | {f"probe-{hosts}-{rate}" for hosts in (2, 4, 8) for rate in rates}
    assert {file.stem for file in script.RESULTS.glob("*.json")} <= {*measured, *grid, "options", "soak"}


def test_a_table_is_made_from_its_file(script: ModuleType, tmp_path: Path) -> None:
    made = {
        "cpu": "a processor",
        "cores": 2,
        "torch": "2.9",
        "time": "2030-01-02T03:04:05",
        "git_commit": "0123456789ab",
    }
    told = {"GB/s": 12.34}
    run = {"size": 1000, "threads": 1, "device": "cpu", "clock": "CPU time", "limits": {"a copy": told}, "rows": []}
    results = {"benchmark": "codec", "command": "thinwire bench codec", "load_at_start": 0.1, "runs": [run]}
    (tmp_path / "codec.json").write_text(
        json.dumps({**results, "provenance": {**made, "git_commit": "0123456789ab", "git_dirty": False}})
    )
    (tmp_path / "bench-codec.svg").write_text("<svg/>")
    page = "before\n<!-- table: codec -->\nold\n<!-- end -->\nbetween\n<!-- table: other -->\n<!-- end -->\nafter\n"
    new = script.filled(page, tmp_path, tmp_path)
    for text in ("before", "between", "after", "| a copy | 12.3 |", "images/bench-codec.svg", "commit 0123456789;"):
        assert text in new
    assert "old" not in new
    assert "Not measured yet: `benchmarks/run other`." in new
    assert script.filled(new, tmp_path, tmp_path) == new
