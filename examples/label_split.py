"""Rows sorted by label: workers that see one class only agree on the optimum all the same, with DIANA.

    python examples/label_split.py --data DIR

mushrooms, 20 workers, μ = L/1000, relative gap 1e-7, with rows split evenly and by label. DCGD's floor grows with the
workers' disagreement at the optimum; DIANA's rounds with max L_i alone.
"""

from __future__ import annotations

from common import Entry, Result, arguments, conditioned, data, distance, finish, optimum, run, short

from thinwire.report.grid import Grid

WORKERS, KAPPA, TOL = 20, 1000, 1e-7
LINKS = {
    "gradient descent, float32": "dcgd(identity())",
    "DIANA, rotated 1 bit": "diana(rotated(bits=1, block=128))",
    "DIANA, ternary ℓ∞": "diana(ternary())",
    "DIANA, ternary ℓ2": "diana(ternary(norm=2))",
    "DCGD, rotated 1 bit": "dcgd(rotated(bits=1, block=128))",
    "DCGD, ternary ℓ∞": "dcgd(ternary())",
}


def main() -> None:
    options = arguments(__doc__)
    name, found = data(options.data, "mushrooms")
    problem = conditioned(found.A, found.b, KAPPA)
    best = optimum(problem)
    common = {"workers": WORKERS, "tol": TOL, "optimum": best, "max_rounds": 9000}
    entries = [Entry(label, link) for label, link in LINKS.items()]
    solved = {split: run(problem, entries, split=split, **common) for split in ("even", "label")}

    def cells(solution: object, gap: float, rounds: int, done: bool) -> tuple[str, str]:
        return (f"{rounds:,}" if done else f"not in {rounds:,}", short(gap))

    rows = []
    for (entry, even), (_, label) in zip(solved["even"], solved["label"], strict=True):
        told = [cells(one, distance(one, best), one.rounds, one.converged) for one in (even, label)]
        rows.append((entry.label, *told[0], *told[1]))
    heads = ("", "rounds, even", "gap, even", "rounds, by label", "gap, by label")
    grid = Grid(f"{name}: rounds to a relative gap of {TOL:g}, {WORKERS} workers", heads, rows)
    results = [Result(f"{name}, rows split {split}", best, pairs) for split, pairs in solved.items()]
    finish("label-split", [grid], results, options.save)


if __name__ == "__main__":
    main()
