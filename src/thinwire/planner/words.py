"""An advice in words: why the first is first, what would change it, what is known of it and by what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from thinwire.advisor.units import bandwidth_text, seconds_text
from thinwire.planner.price import Price
from thinwire.planner.row import Row

TURNS = 10 ** (1 / 8)
"""Turning points are looked for in steps of so much, up and down, by …"""
FAR = 1e4
"""… at most."""


def bytes_text(count: float) -> str:
    """Three digits and a unit.

    >>> bytes_text(21), bytes_text(104_500)
    ('21 B', '104 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g} B"


def cost_text(goal: str, cost: float) -> str:
    """In the goal's unit.

    >>> cost_text("bytes", 2800), cost_text("time", 0.25)
    ('2.8 kB', '250 ms')
    """
    if not math.isfinite(cost):
        return "–"
    return bytes_text(cost) if goal == "bytes" else seconds_text(cost)


def verdict(rows: Sequence[Row], price: Price, tol: float) -> Iterator[str]:
    """The first row, against the best that does otherwise."""
    first = rows[0]
    if not math.isfinite(first.cost):
        yield f"No way was seen to come to a relative gap of {tol:g}: a larger one, or more l2, may be asked for."
        return
    yield (
        f"{'Do not compress: ' if first.dense else ''}{first.way} is expected to need {first.rounds:,.0f} rounds of "
        f"{bytes_text(first.up / first.rounds)} from each worker, {cost_text(price.goal, first.cost)} in all."
    )
    other = next((row for row in rows if row.dense != first.dense and math.isfinite(row.cost)), None)
    if other is not None:
        which = "whole vectors" if other.dense else "compression"
        yield (
            f"The best with {which}, {other.way}: {_about(other, price.goal)}, {other.cost / first.cost:.3g} times as "
            f"much: {other.rounds:,.0f} rounds of {bytes_text(other.up / other.rounds)}, {other.passes:,.0f} gradients "
            f"of all rows instead of {first.passes:,.0f}."
        )
    if price.goal == "time":
        yield _shares(first, price)


def _about(row: Row, goal: str) -> str:
    how = "over " if row.floor else "about " if row.basis == "dropped" else ""
    return how + cost_text(goal, row.cost)


def _shares(row: Row, price: Price) -> str:
    """Where the time goes."""
    network, spent = price.network, row.spent
    wire = (price.workers - 1) * spent.up / network.bandwidth
    parts = {"latency": spent.messages * network.latency, "bytes": wire, "gradients": spent.passes * price.gradient}
    told = ", ".join(f"{part / row.seconds:.0%} {name}" for name, part in parts.items())
    return f"Of its time are {told}."


def knowledge(rows: Sequence[Row], tol: float) -> Iterator[str]:
    """What of it is theory, and what was seen."""
    first = rows[0]
    if first.reached is not None and math.isfinite(first.rounds):
        promised = "" if first.promised is None else f"; theory promises {first.promised:,.0f}, an upper bound"
        yield (
            f"Its rounds: tried on these rows to a gap of {first.reached:.0e}, extrapolated from there to {tol:g} "
            f"at the rate last seen{promised}."
        )
    if "theory*" in first.way:
        safe = next((row for row in rows if "theory*" not in row.way and row.basis == "trial"), None)
        beside = (
            f" With theory's step the best is {safe.way}, {safe.cost / first.cost:.3g} times as much." if safe else ""
        )
        yield f"Its step is longer than theory's: no theorem covers it, only the trial.{beside}"


def sensitivity(rows: Sequence[Row], price: Price) -> Iterator[str]:
    """What would change the verdict."""
    if price.goal == "bytes":
        least = min((row for row in rows if not row.floor), key=lambda row: row.passes)
        if least.passes < rows[0].passes / 2:
            yield (
                f"It is bytes that count here: {least.way} computes {rows[0].passes / least.passes:.3g} times less. "
                "Where gradients or latency decide, ask by time."
            )
        return
    network = price.network
    turned = []
    if math.isfinite(network.bandwidth):
        changes = {"at over": TURNS, "at under": 1 / TURNS}
        for word, factor in changes.items():
            found = _turn(
                rows, price, factor, lambda p, f: replace(p, network=replace(network, bandwidth=f * network.bandwidth))
            )
            turned += [f"{word} {bandwidth_text(at * network.bandwidth)}: {way}" for at, way in found]
    if network.latency:
        for word, factor in {"at a latency over": TURNS, "at a latency under": 1 / TURNS}.items():
            found = _turn(
                rows, price, factor, lambda p, f: replace(p, network=replace(network, latency=f * network.latency))
            )
            turned += [f"{word} {seconds_text(at * network.latency)}: {way}" for at, way in found]
    if price.gradient:
        for word, factor in {"where a gradient takes over": TURNS, "where it takes under": 1 / TURNS}.items():
            found = _turn(rows, price, factor, lambda p, f: replace(p, gradient=f * price.gradient))
            turned += [f"{word} {seconds_text(at * price.gradient)}: {way}" for at, way in found]
    if turned:
        yield f"What would change it, as far as the trials tell: {'; '.join(turned)}."


def _turn(
    rows: Sequence[Row], price: Price, factor: float, changed: Callable[[Price, float], Price]
) -> Iterator[tuple[float, str]]:
    """The first multiple at which another row is faster by a tenth, and which it is; nothing if there is none."""
    at, known = factor, [row for row in rows if row.reached is not None and not row.floor and math.isfinite(row.cost)]
    while 1 / FAR <= at <= FAR:
        there = changed(price, at)
        best = min(known, key=lambda row: there.seconds(row.spent))
        if there.seconds(best.spent) < there.seconds(rows[0].spent) / 1.1:
            yield at, best.way
            return
        at *= factor
