"""How fast the codes are on a GPU: the bytes that a call has to move, a second, beside those of a plain copy.

    python benchmarks/cuda_codec.py                      25 million elements, 8 workers
    python benchmarks/cuda_codec.py --only rotated --n 6250000

A sender's step reads x and the shift and writes the shift and the payload; a receiver's reads the payloads and the base
and writes two vectors. Rows are interleaved; medians of the GPU's own time are reported, and their quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import torch
from codec import ROWS  # this folder's

import thinwire as tw
from thinwire import kernels
from thinwire.kernels import cuda
from thinwire.keys import Purpose

Call = Callable[[], object]


def measure(calls: dict[str, tuple[int, Call]], rounds: int) -> dict[str, list[float]]:
    """GB/s of each call in each round, from the bytes it has to move; the first three rounds are not counted."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 3):
        for name, (nbytes, call) in calls.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            if round_ >= 3:
                found[name].append(1e-6 * nbytes / start.elapsed_time(end))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=25_000_000, help="elements of a vector")
    parser.add_argument("--workers", type=int, default=8, help="whose payloads a receiver averages")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--rounds", type=int, default=31, help="rounds that count")
    parser.add_argument("--json", help="where to write all figures")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(message="no GPU here: nothing was measured\n")
    if not cuda.available():
        parser.exit(1, "the kernels cannot be used here: nothing was measured\n")
    n, workers, device = options.n, options.workers, torch.device("cuda")
    x, shift, base = torch.randn(3, 1, n, device=device).unbind(0)
    after, moved, estimate = torch.empty(3, 1, n, device=device).unbind(0)
    calls: dict[str, tuple[int, Call]] = {"copy": (8 * n, lambda: after.copy_(x))}
    for name, compressor in ROWS.items():
        if options.only not in name:
            continue
        fmt, nbytes = compressor.format, compressor.nbytes(n)
        mine = tw.Key(seed=1).stream(Purpose.CODE).to(device)
        all_ = tw.Key(seed=1, ranks=range(workers)).stream(Purpose.CODE).to(device)
        sent = kernels.encode(fmt, x, mine).expand(workers, -1).contiguous()
        calls[f"{name}: send"] = (
            12 * n + nbytes,
            lambda fmt=fmt, mine=mine: kernels.encode_difference(fmt, x, shift, 0.5, mine, after),
        )
        calls[f"{name}: receive"] = (
            12 * n + workers * nbytes,
            lambda fmt=fmt, all_=all_, sent=sent: kernels.decode_mean(
                fmt, sent, n, all_, workers, base=base, lam=0.5, out=estimate, after=moved
            ),
        )
    print(f"{torch.cuda.get_device_name()}, n = {n:,}, {workers} workers, {options.rounds} rounds")
    everything = measure(calls, options.rounds)
    limit = statistics.median(everything["copy"])
    for name, speeds in everything.items():
        low, middle, high = statistics.quantiles(speeds, n=4, method="inclusive")
        print(f"  {name:40}{middle:8.0f} GB/s ({low:.0f} to {high:.0f}), {middle / limit:.2f} of a copy")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)


if __name__ == "__main__":
    main()
