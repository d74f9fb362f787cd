"""What `thinwire probe` found and what `thinwire advise` made of it, as parts of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thinwire.advisor import Candidate, Gradients, Probe
from thinwire.pages.measured import facts, tables
from thinwire.probing import words
from thinwire.report.charts import Line, bars, lines
from thinwire.report.document import Figure, Section
from thinwire.report.grid import Grid
from thinwire.report.traces import dots

ERRORS = ("one step", "all steps together")
"""The two errors of a link that was tried."""
LAYERS = 24
"""Parameters of which the error is shown, those with the largest."""


def probe(name: str, told: Mapping[str, Any]) -> Section:
    """Collectives by size, what links do to the gradients, and the tables that the command prints."""
    found = Probe.from_dict(told)
    tried = found.gradients if found.gradients is not None and found.gradients.candidates else None
    return Section(
        title=f"Probe ({name})",
        lead=f"{found.workers} workers. {words.remarks(found)[0]}",
        legend=[] if tried is None else ERRORS,
        figures=[_collectives(found), *([] if tried is None else [_tried(tried)])],
        grids=words.tables(found),
        folded=[] if tried is None else _layers(tried),
        notes=found.notes,
        facts=_origin(told),
    )


def _origin(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return facts({name: told[name] for name in ("command", "provenance") if name in told})


def _collectives(found: Probe) -> Figure:
    curves = {}
    for name in dict.fromkeys(one.name for one in found.collectives):
        mine = sorted((one for one in found.collectives if one.name == name), key=lambda one: one.size)
        curves[name] = Line([one.size for one in mine], [1e3 * one.seconds.median for one in mine])
    ends = (f"{name} {curve.y[-1]:.3g} ms for {curve.x[-1]:,} bytes" for name, curve in curves.items())
    svg = lines(curves, "bytes of the vector", "milliseconds, the slowest worker's", log=True)
    return Figure("Collectives", svg, f"Milliseconds: {'; '.join(ends)}", "Medians.")


def _named(gradients: Gradients) -> dict[str, Candidate]:
    return {
        one.link if one.momentum is None else f"{one.link}, momentum {one.momentum:g}": one
        for one in gradients.candidates
    }


def _tried(gradients: Gradients) -> Figure:
    """The errors of candidates, in all."""
    named = _named(gradients)
    series = [[one.error**0.5 for one in named.values()], [one.drift**0.5 for one in named.values()]]
    told = "; ".join(f"{name}: {one.error**0.5:.3g}" for name, one in named.items())
    note = (
        f"Of {gradients.steps} steps. One step: against what is sent. All together: the sum of the errors, against the "
        "gradients' noise; what is paid back later is not in it."
    )
    svg = dots(list(named), dict(zip(ERRORS, series, strict=True)), "relative error")
    return Figure("What links do to these gradients", svg, told, note)


def _layers(gradients: Gradients) -> list[Grid]:
    """Their errors in one step, by parameter."""
    named = _named(gradients)
    layers = list(dict.fromkeys(layer for one in named.values() for layer in one.layers))
    if not layers:
        return []
    worst = sorted(layers, key=lambda layer: -max(one.layers.get(layer, 0.0) for one in named.values()))[:LAYERS]
    shown = [layer for layer in layers if layer in worst]
    rows = [(name, *(_cell(one.layers.get(layer)) for layer in shown)) for name, one in named.items()]
    left = [f"the {LAYERS} largest of {len(layers)}"] if len(layers) > LAYERS else []
    return [Grid("Relative error of one step, by parameter", ("", *shown), rows, notes=left)]


def _cell(squared: float | None) -> str:
    return "–" if squared is None else f"{squared**0.5:.2g}"


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
