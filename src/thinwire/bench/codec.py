"""How fast compressors are: each call beside the least that its memory traffic costs, in the same loop."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import thinwire as tw
from thinwire._check import fault
from thinwire.advisor.calibration import RECEIVED
from thinwire.bench.figures import Quartiles, paired
from thinwire.probing.timing import Call, Timer, calls, interleaved, timer

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
SECONDS = 4.0
"""Rounds go on for about so many seconds."""


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
        return timer(self.device, self.threads)


def limits(x: Tensor) -> Mapping[str, Call]:
    """What memory and torch itself allow, on the same vector."""
    h, kept, half = torch.zeros_like(x), torch.empty_like(x), torch.empty_like(x, dtype=torch.float16)
    return {
        "copy_ into a kept buffer": lambda: kept.copy_(x),
        "h += a · (x − h)": lambda: h.lerp_(x, 0.1),
        "x.half()": lambda: x.half(),
        "half into a kept buffer": lambda: half.copy_(x),
    }


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
    times = interleaved(bench.timer(), limits(_vector(bench)), rounds=rounds, seconds=SECONDS)
    return {name: told(bench.size, seconds) for name, seconds in times.items()}


def measure_row(bench: Bench, text: str, rounds: int | None) -> dict[str, Any]:
    """One compressor; a failure is what there is to say of it then."""
    x = _vector(bench)
    compressor = tw.parse_compressor(text).bind(RECEIVED)
    row: dict[str, Any] = {"name": text, "nbytes": compressor.nbytes(bench.size), "failure": None}
    try:
        made = calls(compressor, x)
        named = {name: call for name, (call, _) in made.items()}
        floors = {f"floor of {name}": low for name, (_, low) in made.items()}
        times = interleaved(bench.timer(), {**named, **floors}, rounds=rounds, seconds=SECONDS)
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
