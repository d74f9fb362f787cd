"""VR-DIANA on a9a and w8a: 12 workers, minibatches; only variance reduction goes on to a relative gap of 1e-10.

    python examples/variance_reduction.py --data DIR

Batches of N/(20 n) rows, p = batch/m, as in the experiments of the VR-DIANA and IntSGD papers. All run as many rounds
as VR-DIANA on L-SVRG needs. QSGD is DCGD with 4-bit ℓ2 dithering of stochastic gradients.
"""

from __future__ import annotations

from common import Entry, Result, arguments, conditioned, data, distance, finish, optimum, run, short

import thinwire as tw
from thinwire.report.grid import Grid

WORKERS, KAPPA, TOL = 12, 1000, 1e-10
LINK, QSGD = "diana(rotated(bits=1))", "dcgd(dither(bits=4, norm=2))"


def main() -> None:
    options = arguments(__doc__)
    grids, results = [], []
    for wanted in ("a9a", "w8a") if options.data else ("breast_cancer",):
        name, found = data(options.data, wanted)
        problem = conditioned(found.A, found.b, KAPPA)
        best = optimum(problem)
        batch = max(1, problem.data.shape[0] // (20 * WORKERS))
        lsvrg, saga, some = tw.LSVRG(batch=batch), tw.SAGA(batch=batch), tw.Minibatch(batch=batch)
        common = {"workers": WORKERS, "tol": TOL, "optimum": best}
        first = run(problem, [Entry("VR-DIANA, L-SVRG", LINK, {"oracle": lsvrg})], max_rounds=200_000, **common)
        rest = [
            Entry("VR-DIANA, SAGA", LINK, {"oracle": saga}),
            Entry("SGD-DIANA", LINK, {"oracle": some}),
            Entry("QSGD", QSGD, {"oracle": some}),
            Entry("QSGD on L-SVRG", QSGD, {"oracle": lsvrg}),
        ]
        solved = first + run(problem, rest, max_rounds=2 * first[0][1].rounds, **common)
        rows = [
            (
                entry.label,
                solution.status.name.lower(),
                f"{solution.rounds:,}",
                f"{8 * solution.bytes_up:.2e}",
                f"{batch * solution.rounds / (problem.data.shape[0] / WORKERS):,.0f}",
                short(distance(solution, best)),
            )
            for entry, solution in solved
        ]
        heads = ("", "", "rounds", "bits up", "passes", "relative gap")
        notes = [f"batches of {batch} rows; passes: minibatch gradients over a worker's rows"]
        grids.append(Grid(f"{name}: {WORKERS} workers, μ = L/{KAPPA}, {LINK}", heads, rows, notes=notes))
        results.append(Result(name, best, solved))
    finish("variance-reduction", grids, results, options.save)


if __name__ == "__main__":
    main()
