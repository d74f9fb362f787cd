"""Writes the advisor's constants from the benchmarks of their parts, and how well they predict whole steps.

    python benchmarks/calibrate.py

Reads benchmarks/results; writes src/thinwire/advisor/reference.json and benchmarks/predictions/predicted.json. The
constants come from `collective` and `codec`; the steps that they are tested on have no part in them. What a byte costs
a processor, from `collective-none`, is added for those steps, which are the lab's: elsewhere network cards carry bytes.
The steps of `grid-…` are predicted by the probes that were taken right before them (probe-HOSTS-RATE.json):
benchmarks/predictions/grid.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.advisor.calibration import Calibration, calibrate
from thinwire.advisor.findings import Probe
from thinwire.advisor.validation import Compared, compare, compare_probed, predicted_grid, verdict_grid
from thinwire.report.provenance import provenance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
REFERENCE = ROOT / "src" / "thinwire" / "advisor" / "reference.json"
PREDICTED = ROOT / "benchmarks" / "predictions" / "predicted.json"
GRID = ROOT / "benchmarks" / "predictions" / "grid.json"
GRID_RATES, GRID_HOSTS = ("100mbit", "1gbit", "none"), (2, 4, 8)
STEPS = ("step-none", "step-1gbit", "step-100mbit", "step-sleep", "scaling")


def read(name: str) -> dict[str, Any] | None:
    """The JSON of a benchmark, None where it was not measured."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def calibrated(*, lab: bool) -> Calibration:
    """The constants, of what was measured: of the lab, whose processors carry the bytes, or of links with cards."""
    collective, codec, unshaped = (read(name) for name in ("collective", "codec", "collective-none"))
    assert collective is not None
    assert codec is not None
    return calibrate(collective, codec, unshaped if lab else None)


def compared(calibration: Calibration) -> list[Compared]:
    """Every step that was measured, beside its prediction."""
    return [one for name in STEPS if (told := read(name)) for one in compare(told, calibration)]


def probed() -> list[Compared]:
    """Every step of the grid that was measured, beside its prediction by a probe."""
    found = []
    for rate in GRID_RATES:
        if results := read(f"grid-{rate}"):
            told = {hosts: read(f"probe-{hosts}-{rate}") for hosts in GRID_HOSTS}
            found += compare_probed(results, {hosts: Probe.from_dict(probe) for hosts, probe in told.items() if probe})
    return found


def write(file: Path, found: list[Compared], sources: Sequence[str]) -> None:
    """The tables, and all figures."""
    told = {
        "schema": 1,
        "command": "python benchmarks/calibrate.py",
        "provenance": provenance(),
        "sources": sources,
        "grids": [asdict(grid) for grid in (verdict_grid(found), predicted_grid(found))],
        "steps": [one.as_dict() for one in found],
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    reference, calibration = calibrated(lab=False), calibrated(lab=True)
    REFERENCE.write_text(json.dumps(reference.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    steps = [told["command"] for name in STEPS if (told := read(name))]
    write(PREDICTED, compared(calibration), [*calibration.sources, *steps])
    if found := probed():
        names = [f"grid-{rate}" for rate in GRID_RATES] + [f"probe-{n}-{r}" for n in GRID_HOSTS for r in GRID_RATES]
        write(GRID, found, [told["command"] for name in names if (told := read(name))])


if __name__ == "__main__":
    main()
