"""Training logs as a part of the page: what was learnt for how many seconds and bytes, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from thinwire.report.charts import bars
from thinwire.report.document import Figure, Section
from thinwire.report.grid import Grid
from thinwire.report.html import bytes_text, flatten
from thinwire.report.runlog import RunLog
from thinwire.report.traces import Trace, dots, traces

NONE = "–"
LAYERS = 40
"""Rows of dots, if there are more parameters; all are in the table."""
PARTS = ("computing, and the rest of the loop", "encode, decode, copy: not hidden", "waiting for the wire: not hidden")
WHOLE = "whole step, not taken apart"
LEFT_OUT = ("kind", "schema", "frames", "notes", "every", "rank")
SPREAD = 3.0
"""Seconds and bytes are on a logarithmic axis where runs differ by more."""
NOISE = 1.05
"""A factor below this is called none."""


def training(logs: Sequence[RunLog]) -> Section:
    """All logs side by side."""
    losses = _losses(logs)
    figures = [figure for name in losses for figure in _learnt(logs, name)]
    figures += [_time(logs), *_layers(logs), *_others(logs, losses)]
    return Section(
        title="Training",
        lead="\n".join(_verdict(logs)),
        legend=[log.name for log in logs],
        figures=figures,
        grids=[_runs(logs), _stages(logs)],
        folded=_by_layer(logs),
        facts=_facts(logs),
        notes=_caveats(logs),
    )


def _losses(logs: Sequence[RunLog]) -> list[str]:
    """The metrics that are drawn against seconds and bytes: losses, or the first one that there is."""
    metrics = list(dict.fromkeys(name for log in logs for name in log.metrics))
    return [name for name in metrics if "loss" in name.lower()] or metrics[:1]


def _learnt(logs: Sequence[RunLog], name: str) -> list[Figure]:
    values = {log.name: log.metric(name) for log in logs}
    seconds = {log.name: Trace(log.seconds, values[log.name]) for log in logs}
    sent = {log.name: Trace([b / 1e6 for b in log.sent], values[log.name]) for log in logs}
    slow, dear = _far([log.seconds for log in logs]), _far([log.sent for log in logs])
    ends = "; ".join(f"{log.name}: {_last(log, name)} after {_in_all(log)}" for log in logs)
    note = (
        "Of many steps neighbours are put together: the line is their mean, the band goes from the least to the most."
    )
    when, where = (
        "seconds of training" + " (logarithmic)" * slow,
        "megabytes sent by a worker" + " (logarithmic)" * dear,
    )
    return [
        Figure(f"{name} against seconds", traces(seconds, when, name, log_x=slow), f"{name}: {ends}", note),
        Figure(f"{name} against bytes sent", traces(sent, where, name, log_x=dear), f"{name}: {ends}"),
    ]


def _far(sums: Sequence[Sequence[float]]) -> bool:
    totals = [total[-1] for total in sums if total and total[-1]]
    return bool(totals) and max(totals) > SPREAD * min(totals)


def _time(logs: Sequence[RunLog]) -> Figure:
    parts = {log.name: _parts(log) for log in logs}
    shown = [*PARTS, WHOLE] if any(row[3] for row in parts.values()) else list(PARTS)
    ms = {name: [None if part is None else 1e3 * part for part in row[: len(shown)]] for name, row in parts.items()}
    told = "; ".join(
        f"{name}: {', '.join(f'{value:.3g} ms {part}' for part, value in zip(shown, row, strict=True) if value)}"
        for name, row in ms.items()
    )
    note = "What the backward pass hid is in the first part. Of PyTorch's own all-reduce only whole steps are known."
    svg = bars(ms, shown, "milliseconds a step, medians", stacked=True, narrow=True)
    return Figure("Where a step's time went", svg, told, note)


def _parts(log: RunLog) -> list[float | None]:
    """Seconds of a median step: computing, exposed work, exposed waiting, or the whole where nothing else is known."""
    step, exposed, work = (log.median(name) for name in ("seconds", "exposed", "exposed_work"))
    if step is None or exposed is None or work is None:
        return [None, None, None, step]
    return [max(0.0, step - exposed), work, max(0.0, exposed - work), None]


def _layers(logs: Sequence[RunLog]) -> list[Figure]:
    errors = {log.name: log.errors for log in logs}
    names = list(dict.fromkeys(name for told in errors.values() for name in told))
    if not names:
        return []
    worst = sorted(names, key=lambda name: -max(told.get(name, 0.0) for told in errors.values()))[:LAYERS]
    rows = [name for name in names if name in worst]
    series = {run: [told.get(name) for name in rows] for run, told in errors.items()}
    left = f" Shown are the {LAYERS} largest of {len(names)}." if len(names) > LAYERS else ""
    told = "; ".join(
        f"{run}: from {min(seen.values()):.3g} to {max(seen.values()):.3g}" for run, seen in errors.items() if seen
    )
    looks = {
        log.name: Trace(log.steps, [line.get("relative_error") for line in log.lines]) for log in logs
    }  # None between two looks
    return [
        Figure(
            "Compression error by layer",
            dots(rows, series, "‖v − what was said of v‖ ÷ ‖v‖"),
            f"Relative error by parameter. {told}",
            f"Medians over the steps that looked, every 16th; of this process' messages, on the way up.{left}",
        ),
        Figure("Compression error as training goes on", traces(looks, "step", "relative error"), told),
    ]


def _others(logs: Sequence[RunLog], losses: Sequence[str]) -> list[Figure]:
    """The other metrics, against steps."""
    names = [name for name in dict.fromkeys(name for log in logs for name in log.metrics) if name not in losses]
    return [
        Figure(
            name,
            traces({log.name: Trace(log.steps, log.metric(name)) for log in logs}, "step", name),
            "; ".join(f"{log.name} ends at {_last(log, name)}" for log in logs),
        )
        for name in names
    ]


def _runs(logs: Sequence[RunLog]) -> Grid:
    losses = _losses(logs)
    expects = ["expected"] * any("expected" in log.header for log in logs)
    heads = (
        "",
        "workers",
        "steps",
        "skipped",
        "ms a step",
        *expects,
        "sent a step",
        "fewer bytes",
        "seconds",
        "sent",
        *losses,
    )
    rows = [
        (
            log.name,
            str(log.header["workers"]),
            f"{sum(line['steps'] for line in log.lines):,}",
            str(sum(line["skipped"] for line in log.lines)),
            _ms(log.median("seconds")),
            *(_ms(log.header.get(name)) for name in expects),
            bytes_text(sum(_median(log, way) for way in ("bytes_up", "bytes_down"))),
            _times(_ratio(log)),
            f"{log.seconds[-1]:.4g}" if log.lines else NONE,
            bytes_text(log.sent[-1]) if log.lines else NONE,
            *(_last(log, name) for name in losses),
        )
        for log in logs
    ]
    notes = [f"{log.name}: {log.header['link']}" for log in logs]
    notes.append("ms a step, sent a step: medians; fewer bytes: than a float32 all-reduce; sent: by a worker")
    if expects:
        notes.append("expected: the milliseconds of a step that the script said were predicted")
    if losses:
        notes.append(f"{', '.join(losses)}: the mean over the last tenth of the lines")
    return Grid("The runs", heads, rows, notes=notes)


def _stages(logs: Sequence[RunLog]) -> Grid:
    heads = ("ms a step, medians", "whole step", "exposed", "of it work", "encode", "decode")
    rows = [
        (log.name, *(_ms(log.median(name)) for name in ("seconds", "exposed", "exposed_work", "encode", "decode")))
        for log in logs
    ]
    notes = [
        "exposed: from the last gradient to the last estimate, what the backward pass did not hide; of it work: "
        "encoding, decoding and copying, the rest waited for the wire; encode, decode: all of it, hidden or not"
    ]
    return Grid("Where a step's time went", heads, rows, notes=notes)


def _by_layer(logs: Sequence[RunLog]) -> list[Grid]:
    errors = {log.name: log.errors for log in logs if log.errors}
    names = dict.fromkeys(name for told in errors.values() for name in told)
    rows = [(name, *(f"{told[name]:.3g}" if name in told else NONE for told in errors.values())) for name in names]
    return [Grid("Compression error by layer", ("relative error", *errors), rows)] if rows else []


def _verdict(logs: Sequence[RunLog]) -> list[str]:
    """Each run against the one that sent most; a run alone against a float32 all-reduce."""
    told = [log for log in logs if log.lines]
    alike = len({(log.header["workers"], log.header["parameters"]) for log in told}) == 1
    if len(told) < 2 or not alike:
        return [_alone(log) for log in told]
    base = min(told, key=_ratio)
    return [_against(log, base) for log in told if log is not base]


def _alone(log: RunLog) -> str:
    exposed, step, expected = log.median("exposed"), log.median("seconds"), log.header.get("expected")
    said = f"{log.name}: {_in_all(log)}, {_times(_ratio(log))} fewer bytes than a float32 all-reduce"
    if exposed is not None and step:
        said += f"; {exposed / step:.0%} of a step is exposed communication"
    if expected is not None:
        said += f"; a step takes {_ms(step)} ms, and {_ms(expected)} ms were expected"
    return f"{said}."


def _against(log: RunLog, base: RunLog) -> str:
    fewer = _ratio(log) / _ratio(base)
    mine, other = log.median("seconds") or 0.0, base.median("seconds") or 0.0
    times = f"{1e3 * mine:.3g} against {1e3 * other:.3g} ms"
    faster = f"{other / mine:.1f} times faster" if mine and other / mine >= NOISE else "no faster"
    loss = next(iter(_losses([log, base])), None)
    ends = "" if loss is None else f", {loss} {_last(log, loss)} against {_last(base, loss)}"
    sent = f"{fewer:.1f} times fewer bytes than {base.name}" if fewer >= NOISE else f"no fewer bytes than {base.name}"
    return f"{log.name}: {sent}, a step {faster} ({times}){ends}."


def _caveats(logs: Sequence[RunLog]) -> list[str]:
    said = [
        "A step's time goes from one's end to the next one's, and holds whatever the loop does there: loading, "
        "validation, saving. Medians leave out what is rare."
    ]
    for fact in ("cpu", "cores", "torch", "thinwire"):
        found = {log.name: str(log.header.get("provenance", {}).get(fact)) for log in logs}
        if len(set(found.values())) > 1:
            said.append(f"The runs differ in {fact}: " + ", ".join(f"{name} {what}" for name, what in found.items()))
    said += [
        f"{log.name} was begun {log.sessions} times: steps that were done again count once, with their last figures."
        for log in logs
        if log.sessions > 1
    ]
    return said + [f"{log.name}: {note}" for log in logs for note in log.notes]


def _facts(logs: Sequence[RunLog]) -> list[tuple[str, str]]:
    facts = []
    for log in logs:
        kept: Mapping[str, object] = {name: what for name, what in log.header.items() if name not in LEFT_OUT}
        facts += [(f"{log.name}: {name}", value) for name, value in flatten(kept)]
    return facts


def _last(log: RunLog, name: str) -> str:
    """The mean of a metric over the last tenth of the lines that have it."""
    values = [value for value in log.metric(name) if value is not None]
    return f"{fmean(values[-max(1, len(values) // 10) :]):.4g}" if values else NONE


def _in_all(log: RunLog) -> str:
    if not log.lines:
        return "no step"
    steps = sum(line["steps"] for line in log.lines)
    return f"{steps:,} steps, {log.seconds[-1]:.4g} s and {bytes_text(log.sent[-1])}"


def _ratio(log: RunLog) -> float:
    sent = log.sent[-1] if log.sent else 0.0
    return sum(line["dense_bytes"] for line in log.lines) / sent if sent else 0.0


def _median(log: RunLog, name: str) -> float:
    return log.median(name) or 0.0


def _times(factor: float) -> str:
    return f"{factor:.1f}×" if factor else NONE


def _ms(seconds: float | None) -> str:
    return NONE if seconds is None else f"{1e3 * seconds:.3g}"
