"""What `thinwire probe` found and what `thinwire advise` made of it, as parts of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thinwire.advisor import Gradients, Probe
from thinwire.pages.measured import facts, tables
from thinwire.probing import words
from thinwire.report.charts import bars
from thinwire.report.document import Figure, Section
from thinwire.report.traces import Trace, dots, traces

LAYERS = 24
"""Parameters of which the error is shown, those with the largest."""


def probe(name: str, told: Mapping[str, Any]) -> Section:
    """Collectives by size, what links do to the gradients, and the tables that the command prints."""
    found = Probe.from_dict(told)
    figures = [_collectives(found)]
    if found.gradients is not None and found.gradients.candidates:
        figures += _tried(found.gradients)
    return Section(
        title=f"Probe ({name})",
        lead=f"{found.workers} workers. {words.remarks(found)[0]}",
        figures=figures,
        grids=words.tables(found),
        notes=found.notes,
        facts=_origin(told),
    )


def _origin(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return facts({name: told[name] for name in ("command", "provenance") if name in told})


def _collectives(found: Probe) -> Figure:
    curves = {}
    for name in dict.fromkeys(one.name for one in found.collectives):
        mine = sorted((one for one in found.collectives if one.name == name), key=lambda one: one.size)
        curves[name] = Trace([one.size for one in mine], [1e3 * one.seconds.median for one in mine])
    ends = (f"{name} {curve.y[-1]:.3g} ms for {curve.x[-1]:,} bytes" for name, curve in curves.items())
    svg = traces(curves, "bytes of the vector", "milliseconds, the slowest worker's", log_x=True, log_y=True)
    return Figure("Collectives", svg, f"Milliseconds: {'; '.join(ends)}", "Medians.")


def _tried(gradients: Gradients) -> list[Figure]:
    """The errors of candidates, in all and by parameter."""
    names = [
        one.link if one.momentum is None else f"{one.link}, momentum {one.momentum:g}" for one in gradients.candidates
    ]
    errors = {"one step": [one.error**0.5 for one in gradients.candidates]}
    errors["all steps together"] = [one.drift**0.5 for one in gradients.candidates]
    told = "; ".join(f"{name}: {one.error**0.5:.3g}" for name, one in zip(names, gradients.candidates, strict=True))
    note = (
        f"Of {gradients.steps} steps. One step: against what is sent. All together: the sum of the errors, against the "
        "gradients' noise; what is paid back later is not in it."
    )
    figures = [Figure("What links do to these gradients", dots(names, errors, "relative error"), told, note, wide=True)]
    layers = list(dict.fromkeys(layer for one in gradients.candidates for layer in one.layers))
    if layers:
        worst = sorted(layers, key=lambda layer: -max(one.layers.get(layer, 0.0) for one in gradients.candidates))
        rows = [layer for layer in layers if layer in worst[:LAYERS]]
        series = {
            name: [_root(one.layers.get(layer)) for layer in rows]
            for name, one in zip(names, gradients.candidates, strict=True)
        }
        left = f"The {LAYERS} largest of {len(layers)}." if len(layers) > LAYERS else ""
        told = "; ".join(f"{name}: up to {max(v or 0.0 for v in seen):.3g}" for name, seen in series.items())
        figures.append(Figure("Error by parameter, one step", dots(rows, series, "relative error"), told, left))
    return figures


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5


def advice(name: str, told: Mapping[str, Any]) -> Section:
    """What each choice's step consists of, the table, and the sentences."""
    compute = {option["name"]: 1e3 * option["step"]["compute"] for option in told["options"]}
    whole = {option["name"]: 1e3 * option["step"]["seconds"] for option in told["options"]}
    rows = {each: [compute[each], max(0.0, whole[each] - compute[each])] for each in whole}
    words_ = "; ".join(f"{each}: {whole[each]:.3g} ms" for each in whole)
    svg = bars(
        rows, ("computing", "added by the network and the codes"), "milliseconds a step, predicted", stacked=True
    )
    first, *rest = told["said"]
    return Section(
        title=f"Advice ({name})",
        lead=first,
        figures=[Figure("A step", svg, words_, wide=True)],
        grids=tables(told),
        notes=rest,
        facts=_origin(told),
    )


def advice_convex(name: str, told: Mapping[str, Any]) -> Section:
    """The table, and the sentences."""
    first, *rest = told["words"]
    return Section(title=f"Advice ({name})", lead=first, grids=tables(told), notes=rest, facts=_origin(told))
