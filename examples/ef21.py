"""EF21 with steps larger than theory's, as in its papers' experiments, against DIANA.

    python examples/ef21.py --data DIR

Logistic loss with the nonconvex regulariser 0.1 Σ x²/(1 + x²), 20 workers, EF21 with Top-1, DIANA with Rand-1 and with
1 bit a coordinate; steps 1, 4, 16, … times theory's. What is compared is ‖∇f‖² after equal bits.
"""

from __future__ import annotations

from common import Entry, Result, arguments, console, data, finish, run

import thinwire as tw
from thinwire.report.grid import Grid

WORKERS, LAM, BITS = 20, 0.1, 200_000
TIMES = (1, 4, 16, 64)
LINKS = {
    "EF21, Top-1": "ef21(topk(1))",
    "DIANA, Rand-1": "diana(randk(1))",
    "DIANA, rotated 1 bit": "diana(rotated(bits=1, block=128))",
}


def main() -> None:
    options = arguments(__doc__)
    grids, results = [], []
    for wanted in ("mushrooms", "a9a") if options.data else ("breast_cancer",):
        name, found = data(options.data, wanted)
        problem = tw.NonconvexLogistic(found.A, found.b, lam=LAM)
        console.print(str(problem))
        entries, solved = [], []
        for label, link in LINKS.items():
            message = tw.parse_link(link).compressor.nbytes(problem.data.shape[1])
            more = {"max_rounds": BITS // (8 * message)}
            entries += [Entry(f"{label}, {times}×", link, {**more, "step": f"theory*{times}"}) for times in TIMES]
        solved = run(problem, entries, workers=WORKERS, tol=1e-12)
        rows = [
            (
                entry.label,
                f"{solution.plan.step:.3g}",
                f"{solution.rounds:,}",
                f"{solution.certificate.mapping**2:.1e}" if solution.status is not tw.Status.DIVERGED else "diverged",
            )
            for entry, solution in solved
        ]
        heads = ("", "step", "rounds", "‖∇f‖²")
        grids.append(Grid(f"{name}: after {BITS:,} bits up, {WORKERS} workers, λ = {LAM:g}", heads, rows))
        least = min(moment.value for _, solution in solved for moment in solution.history)
        results.append(Result(name, least, solved))
    finish("ef21", grids, results, options.save)


if __name__ == "__main__":
    main()
