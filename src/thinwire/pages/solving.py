"""What `thinwire solve --json` wrote, as a part of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thinwire.report.convergence import AXES, Curve, convergence
from thinwire.report.document import Figure, Section
from thinwire.report.grid import Grid
from thinwire.report.html import bytes_text, flatten
from thinwire.report.traces import pairs

NONE = "–"
LEFT_OUT = ("schema", "methods")


def solving(name: str, told: Mapping[str, Any]) -> Section:
    """The table, the gap against rounds, bytes and seconds, and rounds beside what theory promised."""
    methods = told["methods"]
    names = [method["method"] for method in methods]
    return Section(
        title=f"Solving {told['data']} ({name})",
        lead=f"{told['problem']}: {told['rows']:,} rows, {told['workers']} workers; relative gap {told['tol']:g}",
        legend=names,
        figures=[*_gaps(methods), *_promises(methods)],
        grids=[_table(methods)],
        facts=[(n[:1].upper() + n[1:], value) for n, value in flatten(_kept(told))],
        notes=[f"{m['method']}: {m['advice']}" for m in methods if m["status"] != "converged"],
    )


def _kept(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in told.items() if name not in LEFT_OUT}


def _gaps(methods: Sequence[Mapping[str, Any]]) -> list[Figure]:
    curves = {method["method"]: _curve(method) for method in methods}
    optimum = next((method["optimum"] for method in methods), None)
    ends = "; ".join(
        f"{told['method']}: {told['rounds']:,} rounds, {bytes_text(told['bytes_up'])} up, {told['seconds']:.2f} s"
        for told in methods
    )
    titles = ("Gap against rounds", "Gap against bytes sent", "Gap against seconds")
    return [
        Figure(title, convergence(curves, optimum, [axis], legend=False), f"{title}. {ends}")
        for title, axis in zip(titles, AXES, strict=True)
    ]


def _curve(method: Mapping[str, Any]) -> Curve:
    kept = [moment for moment in method["history"] if moment["value"] is not None]
    columns = {name: [moment[name] for moment in kept] for name in ("round", "up", "seconds", "value", "gap")}
    return Curve(columns["round"], columns["up"], columns["seconds"], columns["value"], columns["gap"])


def _promises(methods: Sequence[Mapping[str, Any]]) -> list[Figure]:
    known = {
        method["method"]: [(math.ceil(method["promised"]["rounds"]), method["rounds"])]
        if method["promised"]["rounds"] and method["status"] == "converged"
        else []
        for method in methods
    }
    if not any(known.values()):
        return []
    words = "; ".join(f"{name}: {p[0][0]:,} promised, {p[0][1]:,} needed" for name, p in known.items() if p)
    note = "On the dotted line a method needs what theory promises; below it, less. A promise is of the worst case."
    svg = pairs(known, "rounds that theory promises", "rounds that it took")
    return [Figure("Rounds, predicted and measured", svg, words, note)]


def _promised(method: Mapping[str, Any]) -> str:
    if method["plan"]["floor"]:
        return "a floor"
    rounds = method["promised"]["rounds"]
    return NONE if rounds is None else f"{math.ceil(rounds):,}"


def _table(methods: Sequence[Mapping[str, Any]]) -> Grid:
    heads = ("", "status", "rounds", "theory, rounds", "up, a worker", "down, a worker", "seconds", "gap")
    rows = [
        (
            method["method"],
            method["status"],
            f"{method['rounds']:,}",
            _promised(method),
            bytes_text(method["bytes_up"]),
            bytes_text(method["bytes_down"]),
            f"{method['seconds']:.2f}",
            NONE if method["accuracy"] is None else f"{method['accuracy']:.1e}",
        )
        for method in methods
    ]
    notes = ["gap: a certified bound of (P(x) − min P) ÷ (P(0) − min P), or how far the gradient mapping has shrunk"]
    return Grid("Methods", heads, rows, notes=notes)
