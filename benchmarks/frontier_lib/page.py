"""The page of docs: what stands between `<!-- frontier: NAME -->` and `<!-- end -->` is made from the records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from frontier_lib import show
from frontier_lib.picture import draw
from frontier_lib.records import Records
from frontier_lib.tasks import TASKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "which-compressor.md"
IMAGES = ROOT / "docs" / "images"
PLACE = re.compile(r"(<!-- frontier: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def sections(records: Records) -> Mapping[str, Callable[[], str]]:
    """What can stand in the page, by name."""
    runs = records.runs
    tables: dict[str, Callable[[], str]] = {
        f"summary-{n}": lambda n=n: _table(show.summary(runs, n))
        for n in (4, 16)  # type: ignore[misc]
    }
    tables |= {
        f"errors-{task}": lambda task=task: _table(show.errors(runs, task, 4))
        for task in TASKS  # type: ignore[misc]
    }
    tables["targets"] = lambda: "\n".join(_table(grid) for grid in show.targets(runs))
    tables["origin"] = lambda: origin(records)
    return tables


def _table(grid: show.Grid) -> str:
    return "\n".join([f"**{grid.title}**\n", f"{grid.markdown()}\n", *(f"{note}.\n" for note in grid.notes)])


def filled(page: str, records: Records) -> str:
    """The page with every table as the records say."""
    there = sections(records)
    return PLACE.sub(lambda place: f"{place[1]}\n{there[place[2]]()}\n{place[3]}", page)


def origin(records: Records) -> str:
    """How many runs, when and where; of sessions whose runs were all made anew later, nothing."""
    used = sorted({run["session_number"] for run in records.runs.values()})
    made = [records.sessions[number]["provenance"] for number in used]
    first, last = made[0], made[-1]
    commits = ", ".join(sorted({one["git_commit"][:10] for one in made}))
    machine = f"{last['cpu']}, {last['cores']} cores, torch {last['torch']}"
    runs = f"{len(records.runs)} runs, {first['time'][:10]}"
    return f"`python benchmarks/frontier.py`: {runs}, commits {commits}; {machine}.\n"


def write(records: Records) -> None:
    """The page's tables and the pictures."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), records), encoding="utf-8")
    for task in TASKS:
        (IMAGES / f"frontier-{task}.svg").write_text(draw(records.runs, task, 4), encoding="utf-8")
