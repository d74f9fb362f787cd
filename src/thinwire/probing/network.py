"""The links between workers, and what collectives cost on them: measured by all workers together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from thinwire._check import call, fault
from thinwire.advisor.facts import Network
from thinwire.advisor.findings import CollectiveFound, LinkFound, Measured
from thinwire.advisor.units import bandwidth_text
from thinwire.comm import ProcessGroup
from thinwire.probing.collectives import EXCHANGE, Taken, measure_collectives
from thinwire.probing.fit import Call, Fitted, fit
from thinwire.probing.pairs import Heard, measure_pair, tournament
from thinwire.probing.together import cores_each, everyones

LINKS = 0.4
"""The part of the time that pairs have; collectives have the rest."""
PATIENCE = 30.0
"""Seconds beyond its time that a worker waits for another's message."""
NOISY = 0.3
"""Spread between quartiles, as a part of the median, that is worth a note."""
WRONG = 0.15
"""Median error of predicted collectives that is."""
SLOWER = 1.5
"""Times the median that is, of a link."""

IN_ROUND = EXCHANGE, "sharded"
"""An exchange, and the collectives in it."""

Told = Callable[[str, float], None]
"""Called with what is being measured, and the part of the time that is over."""


@dataclass(frozen=True)
class NetworkFound:
    """The network, the same on all workers.

    Args:
        network: as the advisor takes it.
        links: each direction of each pair that was measured.
        collectives: by name and size.
        notes: what the measurements leave in doubt.
        cores: processors of each worker, by which clock times were turned into processor seconds.
        round: processor seconds of an exchange of a short vector, less those of the two collectives in it.
    """

    network: Network
    links: tuple[LinkFound, ...]
    collectives: tuple[CollectiveFound, ...]
    notes: tuple[str, ...]
    cores: float
    round: float


def find_network(group: ProcessGroup, *, seconds: float, told: Told | None = None, seed: int = 0) -> NetworkFound:
    """Measure links and collectives, and fit a network to them. All workers call this together.

    1. Pairs, in the rounds of a tournament: latency and bandwidth, each way. 2. Collectives by size; the longest
    all-to-all says what of its bandwidth a link has while all send to all. 3. The fit, which is checked against them.

    Args:
        group: processes of one worker each, at least two.
        seconds: about as long as this takes.
        told: hears what is being measured.
        seed: of the pairs, where not all are measured.

    Raises:
        ValueError: too few workers, or no time.
        PeerError: a worker that does not answer, with its name.
    """
    where = call("find_network", seconds=seconds)
    if group.size < 2 or len(group.ranks) != 1:
        rule = "links are between at least two processes, each of which is one worker"
        raise ValueError(fault(where, rule, group, "Start several: torchrun --nproc-per-node 2 …"))
    if not seconds > 0:
        raise ValueError(fault(where, "it takes some time", seconds))
    began = time.perf_counter()

    def tell(what: str) -> None:
        if told is not None:
            told(what, min(1.0, (time.perf_counter() - began) / seconds))

    cores = cores_each(group)
    heard, rounds = Heard(), tournament(group.size, seed)
    for pairs in rounds:
        tell(f"links, {len(pairs)} pairs at once" if len(pairs) > 1 else "links")
        mine = next((pair for pair in pairs if group.ranks[0] in pair), None)
        if mine is not None:
            part = seconds * LINKS / len(rounds)
            measure_pair(group, mine, heard, seconds=part, limit=seconds + PATIENCE)
    everyone = everyones(group, [list(heard.latency.items()), list(heard.bandwidth.items())])
    left = max(seconds * (1 - LINKS) / 2, seconds - (time.perf_counter() - began))
    taken = measure_collectives(group, seconds=min(everyones(group, left)), told=tell)
    links = links_from(everyone, taken)
    collectives = tuple(CollectiveFound(one.name, one.size, Measured.of(one.seconds)) for one in taken)
    fitted = fit(
        [Call(one.name, one.size, median(one.seconds), median(one.busy)) for one in taken],
        latency=median(link.latency.median for link in links),
        bandwidth=median(link.bandwidth.median for link in links),
        workers=group.size,
        cores=cores,
    )
    said = tuple(notes(links, collectives, fitted))
    return NetworkFound(fitted.network, links, collectives, said, cores, round_from(taken))


def links_from(
    everyone: Sequence[Sequence[Sequence[tuple[int, list[float]]]]], taken: Sequence[Taken]
) -> tuple[LinkFound, ...]:
    """The links, from what each worker heard: latencies by receiver, and bandwidths by sender.

    A link's part while all send to all is told by the receiver's time of the longest all-to-all.
    """
    longest = max((one for one in taken if one.name == "all_to_all"), key=lambda one: one.size)
    rates = [dict(said[1]) for said in everyone]
    found = []
    for sender, (latencies, _) in enumerate(everyone):
        for receiver, halves in sorted(latencies):
            part = [longest.size / len(everyone) / seconds for seconds in longest.each[receiver]]
            rate = Measured.of(rates[receiver][sender])
            found.append(LinkFound(sender, receiver, Measured.of(halves), rate, Measured.of(part)))
    return tuple(found)


def round_from(taken: Sequence[Taken]) -> float:
    """What a round costs a processor where it waits for others, its collectives aside; turns are compared one by one.

    Processor seconds, since the clock's differ more from turn to turn than an exchange and its collectives do.
    """
    whole, wire = (min((one for one in taken if one.name == name), key=lambda one: one.size) for name in IN_ROUND)
    return max(0.0, median(ours - theirs for ours, theirs in zip(whole.busy, wire.busy, strict=True)))


def notes(links: Sequence[LinkFound], collectives: Sequence[CollectiveFound], fitted: Fitted) -> list[str]:
    """What is in doubt: figures that spread, links that differ, a hidden wire, a model that does not fit."""
    said = []
    for what, figures in (
        ("latencies", [link.latency for link in links]),
        ("bandwidths", [link.bandwidth for link in links]),
        ("collectives", [one.seconds for one in collectives]),
    ):
        noisy = [one for one in figures if one.spread > NOISY]
        if noisy:
            most = max(one.spread for one in noisy)
            said.append(
                f"{len(noisy)} of {len(figures)} {what} spread by more than {NOISY:.0%} between their quartiles (up to "
                f"{most:.0%}): other programs are busy on these machines, or others use the network. Medians count; "
                "more --seconds give more repeats."
            )
    said += _uneven(links)
    if fitted.bounded or fitted.slow:
        alone = bandwidth_text(median(link.bandwidth.median for link in links))
        use = f"a pair alone reaches {alone}; workers use {fitted.busy:.0%} of their processors meanwhile"
        said.append(
            f"Processors are the limit of long collectives, not the links ({use}). What links could carry cannot be "
            "told; it is at least what a pair reaches, and taken as that."
            if fitted.bounded
            else f"Long collectives stay far below what links carry ({use}): a switch that many share, or work on the "
            "processors that does not go on side by side; which of them cannot be told. It is charged to the links."
        )
    if fitted.error > WRONG:
        name, error = fitted.worst
        said.append(
            f"The fitted network predicts the measured collectives with a median error of {fitted.error:.0%} (worst: "
            f"{name}, {error:.0%}): take step times that follow from it as that rough."
        )
    return said


def _uneven(links: Sequence[LinkFound]) -> list[str]:
    usual, slow = median(link.bandwidth.median for link in links), min(links, key=lambda link: link.bandwidth.median)
    if usual <= SLOWER * slow.bandwidth.median:
        return []
    return [
        f"Links differ: from worker {slow.sender} to {slow.receiver} it is {bandwidth_text(slow.bandwidth.median)}, in "
        f"the median {bandwidth_text(usual)}. The advisor takes all links to be alike, and collectives wait for the "
        "slowest."
    ]
