"""An ℓ1 problem on phishing: DIANA finds the exact sparse optimum where DCGD, at the same price, does not.

    python examples/lasso.py --data DIR

f is a logistic loss with a small ridge, R = l1 ‖x‖₁, 20 workers. The gap is certified by duality.
"""

from __future__ import annotations

import numpy as np
from common import Entry, Result, arguments, conditioned, data, distance, finish, optimum, run, short

import thinwire as tw
from thinwire.report.grid import Grid

WORKERS, KAPPA, TOL, L1 = 20, 1000, 1e-12, 1e-3


def main() -> None:
    options = arguments(__doc__)
    name, found = data(options.data, "phishing")
    problem, penalty = conditioned(found.A, found.b, KAPPA), tw.L1(L1)
    best = optimum(problem, penalty)
    common = {"workers": WORKERS, "tol": TOL, "optimum": best, "penalty": penalty, "max_rounds": 20_000}
    links = {
        "proximal gradient, float64": "dcgd(identity(bits=64))",
        "DIANA, rotated 1 bit": "diana(rotated(bits=1))",
        "DIANA, ternary": "diana(ternary())",
        "DIANA, natural ∘ Rand-10 %": "diana(randk(0.1) >> natural())",
        "EF21, Top-10 %": "ef21(topk(0.1))",
        "DCGD, rotated 1 bit": "dcgd(rotated(bits=1))",
        "DCGD, ternary": "dcgd(ternary())",
    }
    solved = run(problem, [Entry(label, link) for label, link in links.items()], **common)
    rows = [
        (
            entry.label,
            solution.status.name.lower(),
            f"{solution.rounds:,}",
            f"{8 * solution.bytes_up:.2e}",
            short(distance(solution, best)),
            f"{np.count_nonzero(solution.x)} of {len(solution.x)}",
        )
        for entry, solution in solved
    ]
    heads = ("", "", "rounds", "bits up", "relative gap", "non-zeros")
    grid = Grid(f"{name}: logistic loss, μ = L/{KAPPA}, {L1:g} ‖x‖₁, {WORKERS} workers", heads, rows)
    finish("lasso", [grid], [Result(name, best, solved)], options.save)


if __name__ == "__main__":
    main()
