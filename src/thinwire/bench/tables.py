"""What the JSON of a benchmark says, as tables: the same for the terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thinwire.bench.step import STAGES
from thinwire.lab import format_rate
from thinwire.report.grid import Grid
from thinwire.report.html import bytes_text

NONE = "–"


def step_grid(run: Mapping[str, Any]) -> Grid:
    """One race: a row for each contender."""
    heads = ("", "step, ms", "quartiles", "faster", "exposed", "sent", "loss", "of start")
    rows = [_contender(made, run["loss_at_start"]) for made in run["contenders"]]
    return Grid(f"{run['hosts']} hosts, {network(run)}", heads, rows, _ours(run))


def stages_grid(run: Mapping[str, Any]) -> Grid | None:
    """Where the time of the communicating thread went, for each of thinwire's links; None where none got that far."""
    counted = [made for made in run["contenders"] if made.get("stages")]
    rows = [(made["name"], *(_ms(made["stages"][stage]) for stage in STAGES)) for made in counted]
    notes = [f"{made['name']}: {text}" for made in counted for text in ("; ".join(made["routes"]), *made["notes"])]
    return Grid("Inside thinwire, ms a step", ("", *STAGES), rows, _ours(run), notes) if rows else None


def network(run: Mapping[str, Any]) -> str:
    """The network of a run in words."""
    return f"links of {format_rate(run['rate'])}" if run["shaped"] else "loopback, no rate applied"


def _contender(made: Mapping[str, Any], start: float | None) -> Sequence[str]:
    if made["failure"] is not None:
        return (made["name"], "failed", *[NONE] * 6)
    seconds, faster, exposed, loss = made["seconds"], made["faster"], made["exposed"], made["loss"]
    talks, learns = made["method"] is not None, loss is not None and start is not None
    return (
        made["name"],
        _ms(seconds["median"]),
        f"{_ms(seconds['low'])}–{_ms(seconds['high'])}",
        NONE if faster is None else f"{faster['median']:.2f}×",
        NONE if exposed is None else _ms(exposed["median"]),
        bytes_text(made["sent"]) if talks else NONE,
        f"{loss:.3f}" if talks and learns else NONE,
        f"{loss / start:.2f}" if talks and learns else NONE,
    )


def _ms(seconds: float) -> str:
    """Milliseconds with three digits."""
    return f"{1e3 * seconds:.0f}" if abs(seconds) >= 0.1 else f"{1e3 * seconds:.3g}"


def _ours(run: Mapping[str, Any]) -> list[str]:
    return [made["name"] for made in run["contenders"] if made["ours"]]
