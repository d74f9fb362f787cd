"""What `thinwire bench --json` and `thinwire demo` wrote, and the tables of the examples, as parts of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thinwire.bench.pictures import picture
from thinwire.bench.tables import grids
from thinwire.report.document import Figure, Section
from thinwire.report.grid import Grid
from thinwire.report.html import comparison, flatten
from thinwire.report.metrics import Results
from thinwire.report.verdict import verdict

TITLES = {"codec": "How fast codes are", "collective": "What collectives cost", "step": "What a training step costs"}
KEPT = (
    *("command", "sources", "arguments", "text", "parameters", "network", "inside", "per_machine", "cores", "workload"),
    *("jitter", "load_at_start", "provenance"),
)


def bench(name: str, told: Mapping[str, Any]) -> Section:
    """The tables that the terminal showed, and the benchmark's picture."""
    shown, svg = grids(told), picture(told)
    title = TITLES[told["benchmark"]]
    alt = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in shown[-1].rows)
    failed = [f"Failed: {run['failure']}" for run in told["runs"] if run.get("failure")]
    failed += [
        f"{made['name']} failed: {made['failure']}"
        for run in told["runs"]
        for made in (*run.get("contenders", ()), *run.get("rows", ()))
        if made["failure"]
    ]
    return Section(
        title=f"{title} ({name})",
        figures=[Figure(title, svg, f"{', '.join(shown[-1].heads[1:])}. {alt}", wide=True)] if svg else [],
        grids=shown,
        facts=facts(told),
        notes=failed,
    )


def demo(name: str, told: Mapping[str, Any]) -> Section:
    """The demo's table and curves."""
    results = Results.from_dict(told)
    planned = told.get("arguments", {}).get("runs", ())
    names = list(dict.fromkeys([*(run["name"] for run in planned), *(record.name for record in results.records)]))
    return Section(
        title=f"Dense and compressed training ({name})",
        lead=verdict(results),
        raw=comparison(results, names),
        facts=facts(told),
    )


def example(name: str, told: Mapping[str, Any]) -> Section:
    """The tables of a script in examples/."""
    return Section(title=f"Tables of {name}", grids=tables(told), facts=facts(told))


def tables(told: Mapping[str, Any]) -> list[Grid]:
    """The tables that were written down as such."""
    parts = ("title", "heads", "rows", "ours", "notes")
    return [Grid(**{part: grid[part] for part in parts}) for grid in told["grids"]]


def facts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Command, arguments and provenance, as a list of facts."""
    kept = {name: told[name] for name in KEPT if name in told}
    if "arguments" in kept:
        kept["arguments"] = {name: what for name, what in kept["arguments"].items() if name != "runs"}
    return [(name[:1].upper() + name[1:], value) for name, value in flatten(kept)]
