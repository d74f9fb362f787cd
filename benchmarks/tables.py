"""Writes the tables of seven pages of docs from the JSON of their runs, so that no figure is typed by hand.

    python benchmarks/tables.py

What stands between `<!-- table: NAME -->` and `<!-- end -->` is made from NAME.json: in docs/benchmarks.md,
docs/options.md and docs/trust.md of benchmarks/results, in docs/reproductions.md of examples/results, in
docs/scale.md, docs/advise.md and docs/convex-advice.md of benchmarks/predictions.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from thinwire.bench.tables import grids
from thinwire.report.grid import Grid

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
OPTIONS = ROOT / "docs" / "options.md"
TRUST = ROOT / "docs" / "trust.md"
REPRODUCTIONS = ROOT / "docs" / "reproductions.md"
EXAMPLES = ROOT / "examples" / "results"
SCALE = ROOT / "docs" / "scale.md"
ADVISE = ROOT / "docs" / "advise.md"
CONVEX = ROOT / "docs" / "convex-advice.md"
PREDICTIONS = ROOT / "benchmarks" / "predictions"
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path = RESULTS, images: Path = IMAGES) -> str:
    """The page with every table as the results say."""
    return PLACE.sub(lambda place: place[1] + _section(place[2], results, images) + place[3], page)


def _section(name: str, results: Path, images: Path) -> str:
    file = results / f"{name}.json"
    if not file.is_file():
        return f"\nNot measured yet: `benchmarks/run {name}`.\n\n"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    shown = [Grid(**grid) for grid in found["grids"]] if "grids" in found else grids(found)
    pictures = {picture["file"]: picture["title"] for picture in found.get("images", ())}
    if (images / f"bench-{name}.svg").is_file():
        pictures[f"bench-{name}.svg"] = "The figures of the tables above"
    parts = []
    for grid in shown:
        parts += [f"**{grid.title}**\n", f"{grid.markdown()}\n", *(f"{note}.\n" for note in grid.notes)]
    parts += [f"![{title}](images/{picture})\n" for picture, title in pictures.items()]
    return "\n" + "\n".join([*parts, _origin(found)]) + "\n"


def _origin(found: dict[str, Any]) -> str:
    """Where and when, in one line."""
    made = found["provenance"]
    commit = (made["git_commit"] or "unknown")[:10] + (", changed" if made["git_dirty"] else "")
    machine = f"{made['cpu']}, {made['cores']} cores, torch {made['torch']}"
    if "load_at_start" in found:  # where seconds are told
        machine += f", load {found['load_at_start']} at the start"
    return f"`{found['command']}`, {made['time'][:10]}, commit {commit}; {machine}.\n"


if __name__ == "__main__":
    for page, results in (
        (PAGE, RESULTS),
        (OPTIONS, RESULTS),
        (TRUST, RESULTS),
        (REPRODUCTIONS, EXAMPLES),
        (SCALE, PREDICTIONS),
        (ADVISE, PREDICTIONS),
        (CONVEX, PREDICTIONS),
    ):
        page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")
