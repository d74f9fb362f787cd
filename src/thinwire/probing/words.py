"""What `thinwire probe` found, as tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from thinwire.advisor.facts import VALUE
from thinwire.advisor.findings import Measured, Probe
from thinwire.advisor.units import bandwidth_text, seconds_text
from thinwire.probing.collectives import COLLECTIVES
from thinwire.probing.fit import SENT, Call, errors
from thinwire.probing.pairs import ALL_PAIRS
from thinwire.report.grid import Grid

BRACKETS = "in brackets: what lies between the quartiles, as a part of the median"


def tables(probe: Probe) -> list[Grid]:
    """Links, collectives, codecs."""
    return [_links(probe), _collectives(probe), _codecs(probe)]


def _cell(text: Callable[[float], str], figure: Measured) -> str:
    return f"{text(figure.median)} ({figure.spread:.0%})"


def _links(probe: Probe) -> Grid:
    by = {(link.sender, link.receiver): link for link in probe.links}
    if probe.workers <= ALL_PAIRS:
        pairs = [
            (
                f"{sender} – {receiver}",
                _cell(seconds_text, there.latency),
                _cell(bandwidth_text, there.bandwidth),
                _cell(bandwidth_text, by[receiver, sender].bandwidth),
            )
            for (sender, receiver), there in by.items()
            if sender < receiver
        ]
        return Grid("Links", ("pair", "latency", "there", "back"), pairs, notes=[BRACKETS, *_all_at_once(probe)])
    late = sorted((link.latency for link in probe.links), key=lambda one: -one.median)
    fast = sorted((link.bandwidth for link in probe.links), key=lambda one: one.median)
    rows = [
        (name, _cell(seconds_text, late[rank]), _cell(bandwidth_text, fast[rank]))
        for name, rank in (("slowest", 0), ("median", len(late) // 2), ("fastest", -1))
    ]
    notes = [f"{len(late)} of them, drawn; {BRACKETS}", *_all_at_once(probe)]
    return Grid("Links", ("", "latency", "bandwidth"), rows, notes=notes)


def _all_at_once(probe: Probe) -> list[str]:
    parts = {link.receiver: link.busy.median for link in probe.links if link.busy is not None}
    if not parts:
        return []
    slow = min(parts, key=parts.__getitem__)
    usual, least = (bandwidth_text(rate) for rate in (median(parts.values()), parts[slow]))
    return [
        f"all to all at once, as collectives do: {usual} from each other worker; {least} at worker {slow}, the slowest"
    ]


def _collectives(probe: Probe) -> Grid:
    found = {(one.name, one.size): one.seconds for one in probe.collectives if one.name in SENT}
    rows = [
        (f"{size:,}", *(_cell(seconds_text, found[name, size]) if (name, size) in found else "–" for name in SENT))
        for size in dict.fromkeys(size for _, size in found)
    ]
    notes = [f"the slowest worker's time; {BRACKETS}", *(f"{name}: {COLLECTIVES[name]}" for name in SENT)]
    return Grid("Collectives, by the vector's bytes", ("bytes", *SENT), rows, notes=notes)


def _codecs(probe: Probe) -> Grid:
    rows = [
        (name, *(f"{VALUE / cost / 1e9:.2f}" if cost else "–" for cost in (codec.encode, codec.decode)))
        for name, codec in probe.machine.codecs.items()
    ]
    return Grid(
        "Codecs, in GB of float32 a second, on one thread of a worker", ("compressor", "encode", "decode"), rows
    )


def remarks(probe: Probe) -> list[str]:
    """What the advisor makes of it."""
    network, machine = probe.network, probe.machine
    calls = [Call(one.name, one.size, one.seconds.median, 0.0) for one in probe.collectives if one.name in SENT]
    error, _ = errors(network, calls, workers=probe.workers, cores=machine.cores)
    links = f"links of {bandwidth_text(network.bandwidth)}, {seconds_text(network.latency)}"
    costs = [seconds_text(network.hop), seconds_text(network.message), f"{network.per_byte * 1e9:.2g} ns"]
    return [
        f"What the advisor makes of it: {links}; a ring reaches {network.ring:.0%} of that, messages to all at once "
        f"{network.direct:.0%}. A ring's step costs {costs[0]} of a processor, a message {costs[1]}, a byte "
        f"{costs[2]}. "
        f"With that it predicts the collectives above with a median error of {error:.0%}.",
        f"Each worker has {machine.cores:g} processors; an exchange takes {seconds_text(machine.round)} of one beside "
        f"its codec, a copy {2 * machine.memory * 1e9:.2g} ns a byte.",
    ]


def next_steps(file: Path | None) -> str:
    """What to do with it."""
    if file is None:
        return "Next: keep it with --json probe.json, then ask which link it speaks for: thinwire advise probe.json"
    return f"Next: which link does this speak for? thinwire advise {file}"


def introduction(workers: int, backend: str, seconds: float, candidates: Sequence[str]) -> str:
    """What is about to be measured."""
    return (
        f"{workers} workers, {backend}: links, collectives and the codecs of {len(candidates)} candidates, in about "
        f"{seconds_text(seconds)}."
    )
