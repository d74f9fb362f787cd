"""What the JSON of a benchmark says, as tables: the same for the terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thinwire.bench.step import STAGES
from thinwire.lab import format_rate
from thinwire.report.grid import Grid
from thinwire.report.html import bytes_text

NONE = "–"
CALLS = ("encode", "decode", "decode_kept", "encode_difference", "decode_mean")


def grids(results: Mapping[str, Any]) -> list[Grid]:
    """The tables of a benchmark's JSON, in the order in which they are printed."""
    runs = results["runs"]
    match results["benchmark"]:
        case "codec":
            return [grid for run in runs for grid in (limits_grid(run), codec_grid(run))]
        case "collective":
            return [grid for run in runs for grid in (collective_grid(run), sent_grid(run))]
        case _:
            found = [grid for run in runs for grid in (step_grid(run), stages_grid(run)) if grid is not None]
            return [*found, scaling_grid(runs)] if len(runs) > 1 else found


def limits_grid(run: Mapping[str, Any]) -> Grid:
    """What memory and torch's own casts allow."""
    rows = [(name, _speed(told["GB/s"])) for name, told in run["limits"].items()]
    return Grid(f"{_vector(run)}: what memory allows", ("", "GB/s"), rows)


def codec_grid(run: Mapping[str, Any]) -> Grid:
    """Speeds of all compressors; in brackets the part of its floor's speed that a call reaches."""
    rows = [
        (row["name"], "failed", *[NONE] * 5)
        if row["failure"]
        else (row["name"], f"{8 * row['nbytes'] / run['size']:.3g}", *(_call(row["calls"].get(name)) for name in CALLS))
        for row in run["rows"]
    ]
    heads = ("GB/s (of floor)", "bits", "encode", "decode", "kept", "sender", "receiver")
    return Grid(f"{_vector(run)}: compressors", heads, rows)


def _call(told: Mapping[str, Any] | None) -> str:
    return NONE if told is None else f"{_speed(told['GB/s'])} ({told['of_floor']['median']:.0%})"


def _speed(speed: float) -> str:
    return f"{speed:.1f}" if speed >= 1 else f"{speed:.2g}"


def _vector(run: Mapping[str, Any]) -> str:
    threads = "one thread" if run["threads"] == 1 else f"{run['threads']} threads"
    where = threads if run["device"] == "cpu" else run["device"]
    return f"{run['size']:,} float32 values, {where}, {run['clock']}"


def collective_grid(run: Mapping[str, Any]) -> Grid:
    """Milliseconds of each collective; in brackets how many times longer than its bytes alone take on the line."""
    rows = [(size_text(at["size"]), *(_lasts(told) for told in at["calls"].values())) for at in run["sizes"]]
    title = f"{run['hosts']} hosts, {network(run)}: ms (times its bytes' time on the line)"
    return Grid(title, ("", *run["collectives"]), rows)


def sent_grid(run: Mapping[str, Any]) -> Grid:
    """Bytes that a worker sends in one call, with all headers."""
    rows = [
        (size_text(at["size"]), *(bytes_text(told["sent"]) for told in at["calls"].values())) for at in run["sizes"]
    ]
    return Grid("Sent by each worker", ("", *run["collectives"]), rows)


def _lasts(told: Mapping[str, Any]) -> str:
    times = "" if told["of_line"] is None else f" ({told['of_line']:.2g}×)"
    return f"{_ms(told['seconds']['median'])}{times}"


def size_text(size: int) -> str:
    """A size in binary units.

    >>> size_text(4096), size_text(64 << 20), size_text(4092)
    ('4 KiB', '64 MiB', '4092 B')
    """
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


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


def scaling_grid(runs: Sequence[Mapping[str, Any]]) -> Grid:
    """Milliseconds a step and samples a second of every contender, by number of hosts."""
    names = [made["name"] for made in runs[0]["contenders"]]
    rows = []
    for name in names:
        made = [next(one for one in run["contenders"] if one["name"] == name) for run in runs]
        cells = (
            NONE if one["failure"] else f"{_ms(one['seconds']['median'])} ({samples(run, one):,.0f}/s)"
            for run, one in zip(runs, made, strict=True)
        )
        rows.append((name, *cells))
    return Grid("ms a step (samples a second)", ("", *(f"{run['hosts']} hosts" for run in runs)), rows, _ours(runs[0]))


def samples(run: Mapping[str, Any], made: Mapping[str, Any]) -> float:
    """Samples a second of all workers together."""
    return float(run["hosts"] * run["batch"] / made["seconds"]["median"])


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
