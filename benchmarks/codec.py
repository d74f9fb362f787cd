"""How fast the codes are, in GB of float32 a second: the compiled make beside plain torch and what memory allows.

    python benchmarks/codec.py                     every row, 300 thousand and 25 million elements
    python benchmarks/codec.py --only rotated --n 6250000

One thread; the rows are interleaved and the medians of the thread's own CPU time are reported, with their quartiles, so
that other work on the machine disturbs little. `copy` copies x; `floor` is h += a · (x − h), what a compressor's memory
streams cost without any compression. Buffers that are written are fresh in each call, as they are for a user.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

import thinwire as tw
from thinwire.compressors.code import BlockCode
from thinwire.kernels import cpu, reference
from thinwire.keys import Purpose

ROWS: dict[str, BlockCode] = {
    "rotated 1 bit": tw.Rotated(bits=1),
    "rotated 2 bits": tw.Rotated(bits=2),
    "rotated 3 bits": tw.Rotated(bits=3),
    "rotated 4 bits": tw.Rotated(bits=4),
    "rotated 2 bits, least error": tw.Rotated(bits=2, scale="least-error"),
    "ternary": tw.Ternary(),
    "ternary, norm 2": tw.Ternary(norm=2),
    "dither 4 bits": tw.Dither(bits=4),
    "dither 8 bits": tw.Dither(bits=8),
    "dither 4 bits, nearest": tw.Dither(bits=4, rounding="nearest"),
    "sign": tw.Sign(),
    "natural": tw.Natural(),
    "natural dither": tw.NaturalDither(),
}


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of this thread's CPU time, for each call in each round; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if round_:
                times[name].append(time.thread_time() - start)
    return times


def figures(n: int, seconds: list[float]) -> dict[str, float]:
    """Median GB/s and ns an element, and the quartiles of the latter."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return {"GB/s": 4e-9 * n / middle, "ns": 1e9 * middle / n, "ns, q25": 1e9 * low / n, "ns, q75": 1e9 * high / n}


def codec(n: int, compressor: BlockCode, x: torch.Tensor, rounds: int, torch_too: bool) -> dict[str, dict[str, float]]:
    """Both makes of one code."""
    keys, fmt = tw.Key(seed=1).stream(Purpose.CODE), compressor.format
    data = cpu.encode(fmt, x, keys)
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: cpu.encode(fmt, x, keys),
        "decode": lambda: cpu.decode(fmt, data, n, keys),
    }
    if torch_too:
        calls["torch encode"] = lambda: reference.encode(fmt, x, keys)
        calls["torch decode"] = lambda: reference.decode(fmt, data, n, keys)
    return {name: figures(n, seconds) for name, seconds in measure(calls, rounds).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[300_000, 25_000_000], help="elements of a vector")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--rounds", type=int, default=0, help="rounds that count (default: by the size)")
    parser.add_argument("--compiled", action="store_true", help="leave plain torch out: it takes most of the time")
    parser.add_argument("--json", help="where to write all figures")
    options = parser.parse_args()
    if isinstance(cpu.loaded(), str):
        parser.error(f"thinwire {cpu.loaded()}")
    torch.set_num_threads(1)
    everything: dict[str, dict[str, dict[str, float]]] = {}
    for n in options.n:
        rounds = options.rounds or max(3, min(31, 20_000_000 // n))
        x = torch.randn(1, n, generator=torch.Generator().manual_seed(0))
        h, kept = torch.zeros_like(x), torch.empty_like(x)
        limits = measure({"copy": lambda: kept.copy_(x), "floor": lambda: h.lerp_(x, 0.1)}, rounds)  # noqa: B023
        print(f"\nn = {n:,}, {rounds} rounds, build {cpu.best()}")
        for name, seconds in limits.items():
            print(f"  {name:28}{figures(n, seconds)['GB/s']:8.2f} GB/s")
        print(f"  {'':28}{'encode':>24}{'decode':>24}{'torch encode':>24}{'torch decode':>24}")
        for name, compressor in ROWS.items():
            if options.only not in name:
                continue
            found = everything[f"{name}, n = {n}"] = codec(n, compressor, x, rounds, not options.compiled)
            cells = "".join(f"{row['GB/s']:8.2f} GB/s{row['ns']:8.3f} ns" for row in found.values())
            print(f"  {name:28}{cells}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)


if __name__ == "__main__":
    main()
