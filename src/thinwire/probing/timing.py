"""How long a compressor's calls take, in turns, each beside the least that its memory traffic costs.

A call's *floor* moves the bytes that the call must read and write, and computes nothing. With x the vector, h what is
remembered, P the payload:

    encode               read x, write P
    decode               read P, write x, which is a fresh tensor; decode_kept: a kept one
    encode_difference    h += a · (x − h) in place: read x and h, write h
    decode_mean          read P of every worker and the base, write the estimate and what is remembered; without a
                         kernel onto nothing: read P of every worker, write the estimate

On a GPU the floor of every call is a copy of x.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from thinwire import kernels
from thinwire.advisor.calibration import RECEIVED
from thinwire.compressors import Compressor
from thinwire.compressors.base import Onto
from thinwire.compressors.code import BlockCode
from thinwire.keys import Key, Purpose

PIECE = 1 << 19
"""Bytes that a floor moves at a time: they stay in a core's cache between being read and written."""
FEWEST, MOST = 3, 31
"""Rounds of `interleaved` where their number is not given."""

Call = Callable[[], object]
Timer = Callable[[Call], float]


def timer(device: str, threads: int) -> Timer:
    """Seconds of one call: the thread's own CPU time, which other programs disturb least, where one thread works."""
    if device != "cpu":
        return _on_cuda
    now = time.thread_time if threads == 1 else time.perf_counter

    def timed(call: Call) -> float:
        began = now()
        call()
        return now() - began

    return timed


def _on_cuda(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


def floor(reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Call:
    """A call that reads and writes these tensors whole, in pieces that pass through a core's cache.

    >>> x, y = torch.zeros(300_000), torch.ones(300_000)
    >>> floor([x], [y])()
    >>> y.max().item()  # what passes through is what was read last
    0.0
    """
    flat = [[tensor.reshape(-1).view(torch.uint8) for tensor in tensors] for tensors in (reads, writes)]
    pieces = max(1, max(len(stream) for side in flat for stream in side) // PIECE)
    scratch = torch.empty(PIECE * 2, dtype=torch.uint8, device=flat[0][0].device)
    cut = [[stream.tensor_split(pieces) for stream in side] for side in flat]
    copies = []
    for number in range(pieces):
        copies += [(scratch[: len(part[number])], part[number]) for part in cut[0]]
        copies += [(part[number], scratch[: len(part[number])]) for part in cut[1]]

    def move() -> None:
        for target, source in copies:
            target.copy_(source)

    return move


def calls(compressor: Compressor, x: Tensor) -> Mapping[str, tuple[Call, Call]]:
    """Each call of a compressor on x, (1, d), with its floor; `step` is the same in all, so all rounds do the same."""
    key, d = Key(seed=1), x.shape[1]
    payload = compressor.encode(x, key)
    out = torch.empty_like(x)
    made = {
        "encode": (lambda: compressor.encode(x, key), floor([x], [payload.data])),
        "decode": (lambda: compressor.decode(payload), floor([payload.data], [out])),
    }
    if isinstance(compressor, BlockCode):
        fmt, everyone = compressor.format, key.of(range(RECEIVED))
        stream, streams = (k.stream(Purpose.CODE).to(x.device) for k in (key, everyone))
        payloads = compressor.encode(x.expand(RECEIVED, d), everyone).data
        h, base, after, floors = torch.zeros_like(x), torch.zeros_like(x), torch.empty_like(x), torch.zeros_like(x)
        data = torch.empty_like(payload.data)
        made["decode_kept"] = (
            lambda: kernels.decode(fmt, payload.data, d, stream, out=out),
            floor([payload.data], [out]),
        )
        made["encode_difference"] = (
            lambda: kernels.encode_difference(fmt, x, h, 0.5, stream, after=after, out=data),
            lambda: floors.lerp_(x, 0.1),
        )
        made["decode_mean"] = (
            lambda: kernels.decode_mean(
                fmt, payloads, d, streams, RECEIVED, x.dtype, base, 1.0, 0.5, out=out, after=after
            ),
            floor([payloads, base], [out, after]),
        )
    else:
        among = compressor.encode(x.expand(RECEIVED, d), key.of(range(RECEIVED)))
        made["decode_mean"] = (
            lambda: compressor.decode_mean(among, RECEIVED, Onto(), x.dtype),
            floor([among.data], [out]),
        )
    if x.is_cuda:  # pieces would cost launches there: what memory allows is told by one copy
        return {name: (call, lambda: out.copy_(x)) for name, (call, _) in made.items()}
    return made


def interleaved(
    timed: Timer, everything: Mapping[str, Call], *, rounds: int | None = None, seconds: float
) -> dict[str, list[float]]:
    """Seconds of each call in each round; the first round warms up, and says for how many there are `seconds`."""
    began = time.perf_counter()
    for call in everything.values():
        timed(call)
    spent = time.perf_counter() - began
    rounds = rounds or max(FEWEST, min(MOST, int(seconds / spent)))
    times: dict[str, list[float]] = {name: [] for name in everything}
    for _ in range(rounds):
        for name, call in everything.items():
            times[name].append(timed(call))
    return times
