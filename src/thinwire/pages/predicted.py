"""What `thinwire scale --json` predicts, and predictions beside what was then measured, as parts of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thinwire.pages.measured import facts, tables
from thinwire.report.document import Figure, Section
from thinwire.report.traces import Trace, pairs, traces


def scale(name: str, told: Mapping[str, Any]) -> Section:
    """Speed-up, efficiency and a step's time against the number of workers, for each choice."""
    choices = list(dict.fromkeys(point["choice"] for point in told["points"]))
    workers = sorted({point["workers"] for point in told["points"]})
    first, *rest = told["fastest_from"]
    fastest = f"Fastest with {first['workers']:,} workers: {first['choice']}" + "".join(
        f"; from {turn['workers']:,} on: {turn['choice']}" for turn in rest
    )
    beyond = f"beyond {told['validated_workers']} workers extrapolated"
    where = f"workers; {beyond}" if workers[-1] > told["validated_workers"] else "workers"

    def each(quantity: Callable[[Mapping[str, Any]], float]) -> dict[str, Trace]:
        curves = {}
        for choice in choices:
            mine = sorted((p for p in told["points"] if p["choice"] == choice), key=lambda p: p["workers"])
            curves[choice] = Trace([point["workers"] for point in mine], [quantity(point) for point in mine])
        return curves

    speed, parts, ms = (
        each(lambda point: point["speed_up"]),
        each(lambda point: 100 * point["efficiency"]),
        each(lambda point: 1e3 * point["seconds"]),
    )
    ideal = [(float(n), float(n)) for n in workers]
    return Section(
        title=f"At scale ({name})",
        lead=f"{fastest}.\nPredicted, not measured; {beyond}.",
        legend=choices,
        figures=[
            Figure(
                "Speed-up",
                traces(speed, where, "times the samples a second of one", log_x=True, log_y=True, guide=ideal),
                _ends("Times the samples a second of one worker", speed, "{:,.3g}×"),
                "On the dotted line n workers are n times as fast as one.",
            ),
            Figure(
                "Efficiency",
                traces(parts, where, "% of n times one worker's speed", log_x=True),
                _ends("Part of the ideal speed", parts, "{:.3g} %"),
            ),
            Figure(
                "A step's time",
                traces(ms, where, "milliseconds a step", log_x=True, log_y=True),
                _ends("Milliseconds a step", ms, "{:,.3g} ms"),
            ),
        ],
        grids=tables(told),
        facts=facts(told),
    )


def _ends(what: str, curves: Mapping[str, Trace], form: str) -> str:
    """The last point of each curve, in words."""
    told = (f"{name} {form.format(curve.y[-1])} with {curve.x[-1]:,}" for name, curve in curves.items())
    return f"{what}: {'; '.join(told)}"


def predictions(name: str, told: Mapping[str, Any]) -> Section:
    """Every step's time, predicted and measured."""
    runs = list(dict.fromkeys(step["run"] for step in told["steps"]))
    points = {
        run: [(1e3 * s["measured"], 1e3 * s["predicted"]["seconds"]) for s in told["steps"] if s["run"] == run]
        for run in runs
    }
    words = "; ".join(
        f"{step['run']}, {step['name']}: {1e3 * step['predicted']['seconds']:.0f} ms predicted, "
        f"{1e3 * step['measured']:.0f} ms measured"
        for step in told["steps"]
    )
    svg = pairs(points, "milliseconds a step, measured", "predicted")
    note = "A dot for each contender; on the dotted line both are equal."
    return Section(
        title=f"Predicted and measured ({name})",
        legend=runs,
        figures=[Figure("Training steps, predicted and measured", svg, words, note)],
        grids=tables(told),
        facts=facts(told),
    )
