"""Writes the tables of docs/benchmarks.md from the JSON in benchmarks/results, so that no figure is typed by hand.

    python benchmarks/tables.py

What stands between `<!-- table: NAME -->` and `<!-- end -->` is made from results/NAME.json.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from thinwire.bench.tables import grids

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path = RESULTS, images: Path = IMAGES) -> str:
    """The page with every table as the results say."""
    return PLACE.sub(lambda place: place[1] + _section(place[2], results, images) + place[3], page)


def _section(name: str, results: Path, images: Path) -> str:
    file = results / f"{name}.json"
    if not file.is_file():
        return f"\nNot measured yet: `benchmarks/run {name}`.\n\n"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    parts = []
    for grid in grids(found):
        parts += [f"**{grid.title}**\n", f"{grid.markdown()}\n", *(f"{note}.\n" for note in grid.notes)]
    if (images / f"bench-{name}.svg").is_file():
        parts.append(f"![The figures of the tables above](images/bench-{name}.svg)\n")
    return "\n" + "\n".join([*parts, _origin(found)]) + "\n"


def _origin(found: dict[str, Any]) -> str:
    """Where and when, in one line."""
    made = found["provenance"]
    commit = (made["git_commit"] or "unknown")[:10] + (", changed" if made["git_dirty"] else "")
    machine = f"{made['cpu']}, {made['cores']} cores, torch {made['torch']}, load {found['load_at_start']} at the start"
    return f"`{found['command']}`, {made['time'][:10]}, commit {commit}; {machine}.\n"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
