"""More workers, fewer rounds: the variance of compression is averaged, ω/n, until it is nothing beside the condition.

    python examples/workers.py

Least squares, 1 to 4,096 simulated workers, DIANA with one coordinate of eight: ω = 7. Each worker holds eight rows, a
rotation of the same ellipsoid, with targets of its own: all L_i are L, all optima differ, and n is all that changes.
Theory (a unified theory of SGD): γ = min{λ/2μ, 1 / (L + 6 L ω/n)}, λ = 1/(1 + ω), and the Lyapunov function falls by
1 − min{γμ, λ/2} a round: rounds go with κ (1 + 6ω/n), and no further down than κ or 2 (1 + ω).
"""

from __future__ import annotations

import argparse

import numpy as np
from common import console, finish

import thinwire as tw
from thinwire.report.charts import Line, lines
from thinwire.report.grid import Grid

D, KAPPA, TOL, SEED = 8, 20, 1e-6, 0
WORKERS = (1, 4, 16, 64, 256, 1024, 4096)
LINK, DENSE = "diana(randk(1))", "dcgd(identity())"


def problem(workers: int) -> tw.FiniteSum:
    """The rows of so many workers; those of fewer are the first of them."""
    rotation, targets = np.random.default_rng((SEED, 0)), np.random.default_rng((SEED, 1))
    axes, _ = np.linalg.qr(rotation.normal(size=(D, D)))
    rows = np.sqrt(np.geomspace(1, 1 / KAPPA, D))[:, None] * axes
    return tw.SquaredLoss(np.tile(rows, (workers, 1)), targets.normal(size=D * workers))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="write examples/results and docs/images")
    options = parser.parse_args()
    rows, taken, promised = [], list[float](), list[float]()
    dense = tw.solve(problem(1), link=tw.parse_link(DENSE), workers=1, tol=TOL)
    for n in WORKERS:
        made, link = problem(n), tw.parse_link(LINK)
        bound = tw.predict(made, link=link, workers=n, tol=TOL)
        assert bound.rounds is not None  # the loss is strongly convex
        with console.status(f"{n} workers"):
            found = tw.solve(made, link=link, workers=n, tol=TOL, max_rounds=100_000)
        assert found.converged, found.status
        taken.append(found.rounds)
        promised.append(bound.rounds)
        omega = link.compressor.omega(D)
        assert omega is not None
        cells = (f"{omega / n:.2g}", f"{found.rounds:,}", f"{bound.rounds:,.0f}", f"{bound.rounds / found.rounds:.1f}×")
        rows.append((f"{n:,}", *cells))
        console.print(" · ".join(rows[-1]), highlight=False)
    notes = [
        f"least squares, d = {D}, κ = {KAPPA}; {LINK}; gradient descent in float32: {dense.rounds} rounds",
        "theory: an upper bound, in expectation, for the Lyapunov function",
    ]
    heads = ("workers", "ω/n", "rounds", "theory", "theory ÷ rounds")
    grid = Grid(f"Rounds to a relative gap of {TOL:g}, by number of workers", heads, rows, notes=notes)
    curves = {
        "DIANA": Line(WORKERS, taken, ours=True),
        "theory": Line(WORKERS, promised),
        "gradient descent": Line(WORKERS, [float(dense.rounds)] * len(WORKERS), guide=True),
    }
    picture = lines(curves, "workers", f"rounds to a relative gap of {TOL:g}", log=True)
    finish("workers", [grid], [], options.save, {"Rounds by number of workers": picture})


if __name__ == "__main__":
    main()
