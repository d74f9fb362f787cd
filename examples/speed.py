"""How fast a fleet is simulated: 1,000 workers in one process, rounds a second, and where the time goes.

    python examples/speed.py --data DIR

w8a (49,749 × 300, sparse) on 1,000 workers. Rounds a second are of a run without a profiler, certificates left out;
the shares are cProfile's, by the functions that time is spent in: products of matrices, thinwire's compiled kernels,
NumPy's and torch's elementwise functions (with the losses and the random generator, which are made of them), and the
rest, which is Python.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections import Counter

import numpy as np
import scipy.sparse as sp
from common import arguments, console, data, finish
from threadpoolctl import threadpool_limits

import thinwire as tw
from thinwire.convex.methods.base import Method
from thinwire.convex.prepare import Parts, prepare
from thinwire.report.grid import Grid
from thinwire.report.provenance import load

WORKERS, ROUNDS, REPEATS = 1000, 200, 5
LINKS = ("diana(rotated(bits=1))", "diana(ternary())", "diana(dither(bits=4))", "diana(randk(0.1))", "dcgd(identity())")
PRODUCTS = ("matvec", "matmul", "dot")
KERNELS = ("kernels/cpu",)
OPERATORS = ("convex/losses", "keys.py")
"""Functions that are NumPy's operators from end to end, which a profile counts as theirs."""


def kind(function: tuple[str, int, str]) -> str:
    """What a function of a profile is."""
    file, _, name = function
    if any(word in name for word in PRODUCTS):
        return "products"
    if any(part in file for part in KERNELS):
        return "our kernels"
    return "elementwise" if file == "~" or any(part in file for part in OPERATORS) else "Python"


def rounds(method: Method, first: int) -> None:
    for k in range(first, first + ROUNDS):
        method.round(k)


def main() -> None:
    options = arguments(__doc__)
    before = load()
    if options.data:
        name, found = data(options.data, "w8a")
        problem = tw.LogisticLoss(found.A, found.b, l2=1e-3)
    else:
        draw = np.random.default_rng(0)
        name, A = "random", sp.random(50_000, 300, 0.04, format="csr", rng=draw)
        problem = tw.LogisticLoss(A, draw.integers(0, 2, A.shape[0]), l2=1e-3)
    rows = []
    for link in LINKS:
        with console.status(link), threadpool_limits(1, user_api="blas"):
            prepared = prepare(problem, Parts(link=tw.parse_link(link), workers=WORKERS))
            method = prepared.rule.start(prepared.run)
            rounds(method, 0)
            seconds = []
            for turn in range(1, REPEATS + 1):
                began = time.perf_counter()
                rounds(method, turn * ROUNDS)
                seconds.append(time.perf_counter() - began)
            profile = cProfile.Profile()
            profile.runcall(rounds, method, (REPEATS + 1) * ROUNDS)
        spent: Counter[str] = Counter()
        for function, (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
            spent[kind(function)] += own
        whole = sum(spent.values())
        shares = [f"{spent[part] / whole:.0%}" for part in ("products", "our kernels", "elementwise", "Python")]
        rows.append((link, f"{ROUNDS / statistics.median(seconds):.0f}", *shares))
    heads = ("", "rounds/s", "products", "our kernels", "elementwise", "Python")
    notes = [f"rounds/s: the median of {REPEATS} times {ROUNDS} rounds; load {before:.1f} at the start"]
    grid = Grid(
        f"{name}: {WORKERS:,} workers × {problem.data.shape[1]} dimensions in one process", heads, rows, notes=notes
    )
    finish("speed", [grid], [], options.save)


if __name__ == "__main__":
    main()
