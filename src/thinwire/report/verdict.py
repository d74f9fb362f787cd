"""What a comparison says in plain words, good or bad."""

from __future__ import annotations

from thinwire.report.metrics import Results, Summary

NOISE = 1.05
"""A speed-up below this is called none."""


def verdict(results: Results) -> str:
    """Lines that say what was saved against the baseline, what it cost in loss, and where nothing was gained."""
    summaries = results.summaries()
    base = next((summary for summary in summaries if summary.name == results.baseline), None)
    if base is None:
        return f"The baseline ({results.baseline}) has no finished run, so there is nothing to compare with."
    ours = [summary for summary in summaries if summary.ours]
    if not ours:
        return "No thinwire run finished, so there is nothing to say about it."
    said = [_one(summary, base, results.transport.modelled) for summary in ours]
    if base.loss.count == 1:
        said.append("This is one seed: small differences of loss are chance (--seeds 3 shows the spread).")
    return "\n".join(said)


def _one(summary: Summary, base: Summary, modelled: bool) -> str:
    if summary.speed_up is None or summary.fewer_bytes is None:
        return f"{summary.label}: no seed in common with {base.label}, so nothing to compare."
    fewer, speed_up = summary.fewer_bytes.mean, summary.speed_up.mean
    sent = f"{fewer:.1f} times fewer bytes than {base.label}" if fewer >= NOISE else f"no fewer bytes than {base.label}"
    times = f"{summary.seconds.mean:.3f} against {base.seconds.mean:.3f} s{', modelled' if modelled else ''}"
    if speed_up >= NOISE:
        time = f"a step {speed_up:.1f} times faster ({times})"
    else:
        time = f"but compression did not pay in time at this rate (a step took {times})"
    return f"{summary.label}: {sent}, {time}, {_loss(summary, base)}."


def _loss(summary: Summary, base: Summary) -> str:
    """How the losses compare, to the two decimals that are shown."""
    gap = round(summary.loss.mean, 2) - round(base.loss.mean, 2)
    relation = "the same" if abs(gap) < 0.005 else "a lower" if gap < 0 else "a higher"
    return f"{relation} final held-out loss ({summary.loss:.2f} against {base.loss:.2f})"
