"""What this worker's machine costs: memory, a round, and each compressor's codec, on one thread as in training.

As in training, too, no vector is found in a cache: between a frame's step and its next one lies all of the model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from thinwire._check import call, fault, in_range
from thinwire.advisor.calibration import RECEIVED, codec_from
from thinwire.advisor.facts import VALUE, Codec, Machine
from thinwire.comm import LocalGroup
from thinwire.compressors import Compressor, Identity
from thinwire.exchange import Exchange
from thinwire.presets import dcgd
from thinwire.probing.timing import Call, calls, interleaved, timer
from thinwire.rounds import finish
from thinwire.spec import to_text

FEW = 256
"""Values of the vector whose round is measured: next to nothing is left of the codec."""

SWEPT = 1 << 26
"""Bytes that are written between two calls, so that caches hold nothing of what the next one needs."""

Told = Callable[[str, float], None]


def find_machine(
    compressors: Sequence[Compressor],
    device: torch.device,
    *,
    values: int,
    seconds: float,
    cores: float | None = None,
    told: Told | None = None,
) -> Machine:
    """Measure a copy, a round, and each compressor, in about so many seconds; medians of the thread's processor time.

    On a GPU what is measured is its own time, by its events. Each compressor has at least three rounds.

    Args:
        compressors: which ones.
        device: where the vectors lie.
        values: their length.
        seconds: for all of it.
        cores: processors of this worker; None: all that this process may use.
        told: hears what is being measured, and which part of it is over.

    Raises:
        ValueError: no time, or no values.

    >>> from thinwire.compressors import Rotated
    >>> machine = find_machine([Rotated(1)], torch.device("cpu"), values=4096, seconds=0.01, cores=2)
    >>> list(machine.codecs), machine.cores, machine.memory > 0, machine.round > 0
    (['rotated(bits=1)'], 2, True, True)
    """
    where = call("find_machine", values=values, seconds=seconds)
    in_range(where, "values", values, 1, 1 << 30)
    if not seconds > 0:
        raise ValueError(fault(where, "it takes some time", seconds))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        each = seconds / (len(compressors) + 1)
        tell = told or (lambda what, part: None)
        tell("memory", 0.0)
        memory, a_round = _memory(device, values, each), _round(each)
        codecs = {}
        for number, compressor in enumerate(compressors, 1):
            tell(to_text(compressor), number / (len(compressors) + 1))
            codecs[to_text(compressor)] = _codec(compressor, device, values, each)
    finally:
        torch.set_num_threads(before)
    return Machine(len(os.sched_getaffinity(0)) if cores is None else cores, memory, a_round, codecs)


def merge_machines(machines: Sequence[Machine]) -> Machine:
    """The median of all workers' figures.

    >>> merge_machines([Machine(cores=2, memory=memory) for memory in (1e-10, 3e-10, 2e-10)]).memory
    2e-10
    """
    codecs = {name: _middle([one.codecs[name] for one in machines]) for name in machines[0].codecs}
    cores, memory, a_round = (median(getattr(one, name) for one in machines) for name in ("cores", "memory", "round"))
    return Machine(cores, memory, a_round, codecs)


def _middle(codecs: Sequence[Codec]) -> Codec:
    encode, decode, receive, onto = (
        median(getattr(one, name) for one in codecs) for name in ("encode", "decode", "receive", "onto")
    )
    senders = [one.sender for one in codecs if one.sender is not None]
    return Codec(encode, decode, receive, onto, median(senders) if senders else None, codecs[0].source)


def _timed(device: torch.device, named: dict[str, Call], seconds: float) -> dict[str, float]:
    timed, swept = timer(device.type, 1), torch.empty(SWEPT, dtype=torch.uint8, device=device)

    def cold(call: Call) -> float:
        swept.fill_(1)
        return timed(call)

    return {name: median(taken) for name, taken in interleaved(cold, named, seconds=seconds).items()}


def _memory(device: torch.device, values: int, seconds: float) -> float:
    """Seconds for a byte that is read or written: a copy does both."""
    x, kept = torch.ones(values, device=device), torch.empty(values, device=device)
    return _timed(device, {"copy": lambda: kept.copy_(x)}, seconds)["copy"] / (2 * VALUE * values)


def _round(seconds: float) -> float:
    """An exchange of a short vector with oneself; on the processor in any case, which is what arranges it."""
    exchange = Exchange(dcgd(Identity()), FEW, LocalGroup(1), route="allreduce", errors=False)
    v = torch.ones(1, FEW)
    began = time.perf_counter()
    taken: list[float] = []
    timed = timer("cpu", 1)
    while len(taken) < RECEIVED or time.perf_counter() - began < seconds / RECEIVED:
        taken.append(timed(lambda: exchange.commit(finish(exchange.round(v, 0)))))
    return median(taken)


def _codec(compressor: Compressor, device: torch.device, values: int, seconds: float) -> Codec:
    x = torch.randn(1, values, generator=torch.Generator().manual_seed(0)).to(device)
    bound = compressor.bind(RECEIVED)
    spent = _timed(device, {name: made for name, (made, _) in calls(bound, x).items()}, seconds)
    return codec_from(spent, values)
