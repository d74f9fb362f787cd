"""A comparison as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from thinwire.report.document import Figure, document, facts, figures, listed, row
from thinwire.report.metrics import Results, Spread, Summary
from thinwire.report.plots import bytes_view, draw, seconds_view
from thinwire.report.verdict import verdict


@dataclass(frozen=True)
class Page:
    """The words around a comparison.

    `notes` says per row what it is; `facts` how it was measured, as (name, value); `caveats` what to keep in mind;
    `names` is the order of the rows.
    """

    title: str
    subtitle: str
    names: Sequence[str]
    notes: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[tuple[str, str]] = ()
    caveats: Sequence[str] = ()


def render(results: Results, page: Page) -> str:
    """The page as text; it needs no other file and no network."""
    compared = [(_label(results, name), page.notes.get(name, "")) for name in page.names]
    body = (
        f'<p class="lead">{escape(verdict(results))}</p>{comparison(results, page.names)}'
        f"<section><h2>What was compared</h2>{facts(compared)}</section>"
        f"<section><h2>How this was measured</h2>{facts(page.facts)}</section>"
        f"<section><h2>What to keep in mind</h2>{listed(page.caveats)}</section>"
    )
    return document(page.title, page.subtitle, body)


def comparison(results: Results, names: Sequence[str]) -> str:
    """The table, the curves and the failures of a comparison, as a part of a page."""
    return (
        f"{_modelled(results)}<section>{_table(results, names)}</section>"
        f"<section><h2>Curves</h2>{_plots(results, names)}</section>{_failures(results)}"
    )


def flatten(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (name, value) pairs of text, for `Page.facts`.

    >>> flatten({"torch": "2.13", "machine": {"cores": 2}})
    [('torch', '2.13'), ('machine cores', '2')]
    """
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        path = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            pairs += flatten(value, path)
        elif isinstance(value, (list, tuple)):
            pairs.append((path, ", ".join(map(str, value))))
        elif value is not None:
            pairs.append((path, str(value)))
    return pairs


def bytes_text(size: float) -> str:
    """A number of bytes as people read it, decimal units.

    >>> bytes_text(6_173_738), bytes_text(196_400), bytes_text(512)
    ('6.17 MB', '196 kB', '512 B')
    """
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


def factor_text(factor: Spread | None) -> str:
    """A factor against the baseline as text, a dash where there is none.

    >>> factor_text(Spread(10.43, 0.0, 1)), factor_text(None)
    ('10.4×', '–')
    """
    return "–" if factor is None else f"{factor:.1f}×"


def _label(results: Results, name: str) -> str:
    return next((record.label for record in results.records if record.name == name), name)


def _modelled(results: Results) -> str:
    transport = results.transport
    if not transport.modelled:
        return ""
    return (
        '<p class="notice"><strong>Times are modelled.</strong> No lab of slow links could be used here, so the runs '
        "went over loopback. Every time on this page is the measured one plus the bytes that a worker sent divided by "
        f"the rate asked for. Why: {escape(transport.why)}</p>"
    )


def _table(results: Results, names: Sequence[str]) -> str:
    unit = escape(results.transport.unit)
    heads = ("", "Held-out loss", f"Time a step ({unit})", "Sent a step, each worker", "Faster", "Fewer bytes")
    rows = [_row(summary) for summary in results.summaries(names)]
    failed = dict.fromkeys(record.name for record in results.failures if not results.of(record.name))
    rows += [
        f'<tr class="failed"><th scope="row">{escape(_label(results, name))}</th>'
        '<td colspan="5">failed, see below</td></tr>'
        for name in failed
    ]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _row(summary: Summary) -> str:
    cells = (
        f"{summary.loss:.3f}",
        f"{summary.seconds:.3f}",
        bytes_text(summary.sent.mean),
        factor_text(summary.speed_up),
        factor_text(summary.fewer_bytes),
    )
    return row(summary.label, cells, "ours" if summary.ours else "")


def _plots(results: Results, names: Sequence[str]) -> str:
    if not results.summaries():
        return "<p>No run finished, so there are no curves.</p>"
    kind = "modelled time" if results.transport.modelled else "time"
    views = (
        (f"Held-out loss against {kind}", seconds_view(results)),
        ("Held-out loss against bytes sent", bytes_view(results)),
    )
    ends = "; ".join(f"{summary.label} ends at {summary.loss:.3f}" for summary in results.summaries(names))
    return figures(
        [Figure(title, draw(results, view, names), f"{title}, a curve for each row: {ends}") for title, view in views]
    )


def _failures(results: Results) -> str:
    if not results.failures:
        return ""
    parts = [
        f"<h3>{escape(record.label)}, seed {record.seed}: {escape(record.failure or '')}</h3>"
        f"<pre>{escape(chr(10).join(record.log))}</pre>"
        for record in results.failures
    ]
    return f"<section><h2>What failed</h2>{''.join(parts)}</section>"
