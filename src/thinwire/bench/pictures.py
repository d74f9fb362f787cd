"""What the JSON of a benchmark looks like: one picture each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinwire.bench.collective_plan import BASELINE
from thinwire.bench.contenders import LOCAL
from thinwire.bench.tables import network, samples
from thinwire.report.charts import Line, bars, lines

DRAWN = {
    "encode": "encode",
    "decode": "decode",
    "encode_difference": "sender's step",
    "decode_mean": "receiver's step, 4 workers",
}
"""The calls of a codec that a picture shows, and what it calls them."""


def picture(results: Mapping[str, Any]) -> str | None:
    """The SVG of a benchmark's JSON; None where nothing was measured to the end."""
    runs = results["runs"]
    match results["benchmark"]:
        case "codec":
            return _codec(runs[0])
        case "collective":
            return _collective(runs[0])
        case _:
            return _scaling(runs) if len(runs) > 1 else _steps(runs[0])


def _codec(run: Mapping[str, Any]) -> str | None:
    rows = {
        row["name"]: [row["calls"][name]["GB/s"] if name in row["calls"] else None for name in DRAWN]
        for row in run["rows"]
        if not row["failure"]
    }
    return bars(rows, tuple(DRAWN.values()), f"GB of float32 a second, {run['clock']}") if rows else None


def _collective(run: Mapping[str, Any]) -> str | None:
    if not run["sizes"]:
        return None
    sizes = [at["size"] / 1e6 for at in run["sizes"]]

    def each(name: str, seconds: Callable[[Mapping[str, Any]], float]) -> list[float]:
        """Milliseconds a megabyte of the vector, by size."""
        return [1e9 * seconds(at["calls"][name]) / at["size"] for at in run["sizes"]]

    where = f"megabytes of the vector; {run['hosts']} hosts, {network(run)}"
    named = {
        name: Line(sizes, each(name, lambda told: told["seconds"]["median"]), ours=name.startswith("route"))
        for name in run["collectives"]
    }
    if run["shaped"] and run["rate"]:
        line = each(BASELINE, lambda told: told["line_seconds"])
        named[""] = Line(sizes, line, guide=True)
        where += "\ndotted: all_reduce's bytes ÷ rate"
    return lines(named, where, "milliseconds a megabyte", log=True)


def _steps(run: Mapping[str, Any]) -> str | None:
    local = next((made for made in run["contenders"] if made["name"] == LOCAL.name), None)
    measured = [made for made in run["contenders"] if not made["failure"]]
    if local is None or local["failure"] or len(measured) < 2:
        return None
    alone = 1e3 * local["seconds"]["median"]
    rows = {
        made["name"]: [alone, max(0.0, 1e3 * made["seconds"]["median"] - alone)] for made in measured if made != local
    }
    where = f"milliseconds a step; {run['hosts']} hosts, {network(run)}"
    return bars(rows, ("training alone", "what communication adds"), where, stacked=True)


def _scaling(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Samples a second of each contender that got to the end with every number of hosts."""
    named = {}
    for made in runs[0]["contenders"]:
        found = [next(one for one in run["contenders"] if one["name"] == made["name"]) for run in runs]
        if not any(one["failure"] for one in found):
            y = [samples(run, one) for run, one in zip(runs, found, strict=True)]
            guide = made["name"] == LOCAL.name
            name = "no network" if guide else made["name"]
            named[name] = Line([run["hosts"] for run in runs], y, ours=made["ours"], guide=guide)
    if not named:
        return None
    hosts = [run["hosts"] for run in runs]
    return lines(named, f"hosts, {network(runs[0])}", "samples a second", ticks=hosts)
