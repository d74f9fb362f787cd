"""DIANA on mushrooms: 20 workers, μ = L/1000, until the relative gap is 1e-7, in bits that a worker sends.

    python examples/mushrooms.py --data DIR

The paper's experiment (Mishchenko et al., 2019): nothing is lost by compressing differences, and everything by
compressing gradients. Bits are the bytes of real payloads, times eight.
"""

from __future__ import annotations

from common import Entry, Result, arguments, conditioned, data, distance, finish, optimum, run, short

import thinwire as tw
from thinwire.report.grid import Grid

WORKERS, KAPPA, TOL = 20, 1000, 1e-7
DESCENT = "gradient descent, float32, 2/(L + μ)"
LINKS = {
    "DIANA, rotated 1 bit": "diana(rotated(bits=1, block=128))",
    "DIANA, rotated 2 bits": "diana(rotated(bits=2, block=128))",
    "DIANA, rotated 3 bits": "diana(rotated(bits=3, block=128))",
    "DIANA, ternary ℓ∞": "diana(ternary())",
    "DIANA, ternary ℓ2": "diana(ternary(norm=2))",
    "DIANA, natural": "diana(natural())",
    "DIANA, Rand-11": "diana(randk(11))",
    "DIANA, natural ∘ Rand-11": "diana(randk(11) >> natural())",
}
BESIDES = [
    Entry("Rand-DIANA, rotated 1 bit", "rand_diana(rotated(bits=1, block=128))"),
    Entry("TernGrad (DCGD, ternary ℓ∞)", "dcgd(ternary())"),
    Entry("QSGD (DCGD, ternary ℓ2)", "dcgd(ternary(norm=2))"),
]
OTHERS = [
    Entry("Nesterov, float32", "dcgd(identity())", {"rule": tw.Nesterov()}),
    Entry("ADIANA, rotated 1 bit", "diana(rotated(bits=1, block=128))", {"rule": tw.ADIANA()}),
    Entry("Scaffnew, float32", "dcgd(identity())", {"rule": tw.Scaffnew()}),
    Entry("LoCoDL, rotated 1 bit", "dcgd(rotated(bits=1, block=128))", {"rule": tw.LoCoDL()}),
    Entry("LoCoDL, rotated 3 bits", "dcgd(rotated(bits=3, block=128))", {"rule": tw.LoCoDL()}),
    Entry("LoCoDL, natural ∘ Rand-28", "dcgd(randk(28) >> natural())", {"rule": tw.LoCoDL()}),
]


def main() -> None:
    options = arguments(__doc__)
    name, found = data(options.data, "mushrooms")
    problem = conditioned(found.A, found.b, KAPPA)
    constants = tw.predict(problem, workers=WORKERS).constants
    large, largest, mu = constants.smoothness, constants.largest, constants.strong
    entries = [
        Entry(DESCENT, "dcgd(identity())"),
        Entry("gradient descent, float32, 1/L", "dcgd(identity())", {"step": 1 / large}),
    ]
    for label, link in LINKS.items():
        entries.append(Entry(label, link))
        if not label.startswith("DIANA, rotated"):
            omega = tw.parse_link(link).compressor.omega(problem.data.shape[1]) or 0.0
            step = 2 / ((largest + mu) * (1 + 2 * omega / WORKERS))
            entries.append(Entry(f"{label}, the paper's step", link, {"step": step}))
    best = optimum(problem)
    common = {"workers": WORKERS, "tol": TOL, "optimum": best, "check_every": 10, "max_rounds": 9000}
    solved = run(problem, [*entries, *BESIDES, *OTHERS], **common)
    reference = next(solution for entry, solution in solved if entry.label == DESCENT)
    rows = []
    for entry, solution in solved:
        done = solution.converged
        ratio = f"{reference.bytes_up / solution.bytes_up:.1f}" if done else "–"
        promised = None if solution.plan.floor else solution.plan.rounds(TOL)
        rows.append(
            (
                entry.label,
                f"{solution.rounds:,}" if done else f"not in {solution.rounds:,}",
                f"{promised:,.0f}" if promised is not None else "–",
                f"{8 * solution.bytes_up:.2e}",
                ratio,
                short(distance(solution, best)),
            )
        )
    heads = ("", "rounds", "promised", "bits up", "fewer", "relative gap")
    notes = [
        f"L = {large:.4g}, max L_i = {largest:.4g}, μ = {mu:.4g}, P* = {best:.10g}; a gap is looked at every 10 rounds",
        "promised: the rounds in which the theorem's Lyapunov function falls by 1e-7; – without a rate",
    ]
    grid = Grid(f"{name}: rounds and bits to a relative gap of {TOL:g}, {WORKERS} workers", heads, rows, notes=notes)
    shown = [pair for pair in solved if "paper" not in pair[0].label]
    finish("mushrooms", [grid], [Result(name, best, shown)], options.save)


if __name__ == "__main__":
    main()
