"""Writes the advisor's constants from the benchmarks of their parts, and how well they predict whole steps.

    python benchmarks/calibrate.py

Reads benchmarks/results; writes src/thinwire/advisor/reference.json and benchmarks/predictions/predicted.json. The
constants come from `collective`, `codec` and, where it was measured, `collective-none`; the steps that they are tested
on have no part in them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.advisor.calibration import Calibration, calibrate
from thinwire.advisor.validation import Compared, compare, predicted_grid, verdict_grid
from thinwire.report.provenance import provenance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
REFERENCE = ROOT / "src" / "thinwire" / "advisor" / "reference.json"
PREDICTED = ROOT / "benchmarks" / "predictions" / "predicted.json"
STEPS = ("step-none", "step-1gbit", "step-100mbit", "step-sleep", "scaling")


def read(name: str) -> dict[str, Any] | None:
    """The JSON of a benchmark, None where it was not measured."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def calibrated() -> Calibration:
    """The constants, of what was measured."""
    collective, codec = read("collective"), read("codec")
    assert collective is not None
    assert codec is not None
    return calibrate(collective, codec, read("collective-none"))


def compared(calibration: Calibration) -> list[Compared]:
    """Every step that was measured, beside its prediction."""
    return [one for name in STEPS if (told := read(name)) for one in compare(told, calibration)]


def main() -> None:
    calibration = calibrated()
    REFERENCE.write_text(json.dumps(calibration.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    found = compared(calibration)
    grids = [verdict_grid(found), predicted_grid(found)]
    told = {
        "schema": 1,
        "command": "python benchmarks/calibrate.py",
        "provenance": provenance(),
        "sources": [*calibration.sources, *(told["command"] for name in STEPS if (told := read(name)))],
        "grids": [asdict(grid) for grid in grids],
        "steps": [one.as_dict() for one in found],
    }
    PREDICTED.parent.mkdir(exist_ok=True)
    PREDICTED.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
