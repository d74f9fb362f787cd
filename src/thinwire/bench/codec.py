"""How fast compressors are: each call beside the least that its memory traffic costs, in the same loop.

A call's *floor* moves the bytes that the call must read and write, and computes nothing. With x the vector, h what is
remembered, P the payload:

    encode               read x, write P
    decode               read P, write x, which is a fresh tensor; decode_kept: a kept one
    encode_difference    h += a · (x − h) in place: read x and h, write h
    decode_mean          read P of every worker and the base, write the estimate and what is remembered

On a GPU the floor of every call is a copy of x.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import thinwire as tw
from thinwire import kernels
from thinwire._check import fault
from thinwire.bench.figures import Quartiles, paired
from thinwire.compressors.code import BlockCode
from thinwire.keys import Purpose

ROWS = (
    *(f"rotated(bits={bits})" for bits in (1, 2, 3, 4)),
    "rotated(bits=2, scale='least-error')",
    "ternary()",
    "ternary(norm=2)",
    "dither(bits=4)",
    "dither(bits=8)",
    "dither(bits=4, rounding='nearest')",
    "sign()",
    "natural()",
    "natural_dither()",
    "topk(0.01)",
    "topk(0.01) >> dither(bits=4)",
    "randk(0.01)",
    "randk(0.01, block=256)",
    "permk()",
    "induced(topk(0.01), randk(0.01, block=256))",
    "identity()",
    "float16()",
    "bfloat16()",
)
"""What is measured, as `parse_compressor` reads it."""
WORKERS = 4
"""Payloads that decode_mean averages."""
PIECE = 1 << 19
"""Bytes that a floor moves at a time: they stay in a core's cache between being read and written."""
SECONDS, FEWEST, MOST = 4.0, 3, 31
"""Rounds go on for about so many seconds, within these bounds."""

Call = Callable[[], object]
Timer = Callable[[Call], float]


@dataclass(frozen=True)
class Bench:
    """Where and how to measure: vector length, device, threads of a call, and the clock."""

    size: int
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.device != "cpu" and not torch.cuda.is_available():
            rule = "torch sees no CUDA device here"
            raise ValueError(fault("bench codec --device", rule, self.device, "Leave --device out."))

    @property
    def clock(self) -> str:
        """What seconds are: the thread's own CPU time, which other programs disturb least, where one thread works."""
        if self.device != "cpu":
            return "CUDA events"
        return "CPU time of the thread" if self.threads == 1 else "wall time"

    def timer(self) -> Timer:
        """Seconds of one call by that clock."""
        if self.device != "cpu":
            return _on_cuda
        now = time.thread_time if self.threads == 1 else time.perf_counter

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


def limits(x: Tensor) -> Mapping[str, Call]:
    """What memory and torch itself allow, on the same vector."""
    h, kept, half = torch.zeros_like(x), torch.empty_like(x), torch.empty_like(x, dtype=torch.float16)
    return {
        "copy_ into a kept buffer": lambda: kept.copy_(x),
        "h += a · (x − h)": lambda: h.lerp_(x, 0.1),
        "x.half()": lambda: x.half(),
        "half into a kept buffer": lambda: half.copy_(x),
    }


def calls(compressor: tw.Compressor, x: Tensor) -> Mapping[str, tuple[Call, Call]]:
    """Each call of a compressor on x, (1, d), with its floor; `step` is the same in all, so all rounds do the same."""
    key, d = tw.Key(seed=1), x.shape[1]
    payload = compressor.encode(x, key)
    out = torch.empty_like(x)
    made = {
        "encode": (lambda: compressor.encode(x, key), floor([x], [payload.data])),
        "decode": (lambda: compressor.decode(payload), floor([payload.data], [out])),
    }
    if isinstance(compressor, BlockCode):
        fmt, everyone = compressor.format, key.of(range(WORKERS))
        stream, streams = (k.stream(Purpose.CODE).to(x.device) for k in (key, everyone))
        payloads = compressor.encode(x.expand(WORKERS, d), everyone).data
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
                fmt, payloads, d, streams, WORKERS, x.dtype, base, 1.0, 0.5, out=out, after=after
            ),
            floor([payloads, base], [out, after]),
        )
    if x.is_cuda:  # pieces would cost launches there: what memory allows is told by one copy
        return {name: (call, lambda: out.copy_(x)) for name, (call, _) in made.items()}
    return made


def interleaved(bench: Bench, everything: Mapping[str, Call], rounds: int | None) -> dict[str, list[float]]:
    """Seconds of each call in each round; the first round warms up, and says how many rounds there is time for."""
    timed = bench.timer()
    began = time.perf_counter()
    for call in everything.values():
        timed(call)
    spent = time.perf_counter() - began
    rounds = rounds or max(FEWEST, min(MOST, int(SECONDS / spent)))
    times: dict[str, list[float]] = {name: [] for name in everything}
    for _ in range(rounds):
        for name, call in everything.items():
            times[name].append(timed(call))
    return times


def told(size: int, seconds: list[float], floors: list[float] | None = None) -> dict[str, Any]:
    """One call's figures: quartiles of its seconds, GB of float32 a second, and the part of them that its floor is."""
    figures = {"seconds": asdict(Quartiles.of(seconds)), "GB/s": 4e-9 * size / statistics.median(seconds)}
    if floors is None:
        return figures
    return {**figures, "floor_seconds": asdict(Quartiles.of(floors)), "of_floor": asdict(paired(floors, seconds))}


def about(bench: Bench) -> dict[str, Any]:
    """How a run is made, for JSON."""
    on = bench.device if bench.device == "cpu" else torch.cuda.get_device_name(bench.device)
    return {"size": bench.size, "threads": bench.threads, "device": on, "clock": bench.clock}


def measure_limits(bench: Bench, rounds: int | None) -> dict[str, Any]:
    """`limits`, measured."""
    times = interleaved(bench, limits(_vector(bench)), rounds)
    return {name: told(bench.size, seconds) for name, seconds in times.items()}


def measure_row(bench: Bench, text: str, rounds: int | None) -> dict[str, Any]:
    """One compressor; a failure is what there is to say of it then."""
    x = _vector(bench)
    compressor = tw.parse_compressor(text).bind(WORKERS)
    row: dict[str, Any] = {"name": text, "nbytes": compressor.nbytes(bench.size), "failure": None}
    try:
        made = calls(compressor, x)
        named = {name: call for name, (call, _) in made.items()}
        times = interleaved(bench, {**named, **{f"floor of {name}": low for name, (_, low) in made.items()}}, rounds)
    except Exception as error:  # a compressor that cannot do this is a result; the others go on
        return {**row, "failure": f"{type(error).__name__}: {error}"}
    return {**row, "calls": {name: told(bench.size, times[name], times[f"floor of {name}"]) for name in named}}


def choose(only: str) -> list[str]:
    """The rows whose text holds `only`; raises ValueError, listing all, if there is none."""
    chosen = [text for text in ROWS if only in text]
    if not chosen:
        raise ValueError(fault("bench codec --only", "no row has this in its name", only, f"Rows: {', '.join(ROWS)}."))
    return chosen


def _vector(bench: Bench) -> Tensor:
    return torch.randn(1, bench.size, generator=torch.Generator().manual_seed(0)).to(bench.device)
