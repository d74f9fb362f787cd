"""The same optimum as scikit-learn's solvers: coefficients and objective, with ℓ2, with ℓ1 and ℓ2, and with ℓ1 alone.

    python examples/agreement.py --data DIR

Logistic loss without intercept, 20 workers, DIANA with 1 bit a coordinate. With ℓ1 alone nothing is strongly convex:
DIANA is sublinear there, and whole vectors with Nesterov's momentum go instead. The optimum need not be unique then
(columns of these data are linear combinations of others), so that only objectives are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from common import Result, arguments, conditioned, console, data, finish
from sklearn.linear_model import LogisticRegression

import thinwire as tw
from thinwire.report.grid import Grid

WORKERS, KAPPA, L1, TOL = 20, 1000, 1e-3, 2e-15
LINK = "diana(rotated(bits=1))"


@dataclass(frozen=True)
class Case:
    """A penalty as both libraries take it: theirs is C Σ φ + ‖x‖²/2 or ‖x‖₁, ours the mean of φ and l2, l1."""

    name: str
    l1: float
    ridge: bool
    solver: str

    def theirs(self, rows: int, l2: float) -> LogisticRegression:
        """scikit-learn's, as exact as it can be made."""
        whole = l2 + self.l1
        return LogisticRegression(
            C=1 / (rows * whole),
            l1_ratio=self.l1 / whole,
            solver=self.solver,
            fit_intercept=False,
            tol=1e-10,
            max_iter=20_000,
        )


CASES = (
    Case("ℓ2", 0.0, True, "newton-cholesky"),
    Case("ℓ1 and ℓ2", L1, True, "saga"),
    Case("ℓ1", L1, False, "liblinear"),
)


def objective(problem: tw.FiniteSum, penalty: tw.Penalty, x: Any) -> float:
    """P(x), by one certificate."""
    return tw.solve(problem, penalty=penalty, x0=x, tol=1e9, max_rounds=1).history[0].value


def main() -> None:
    options = arguments(__doc__)
    rows, results = [], []
    for wanted in ("mushrooms", "phishing", "a9a", "w8a") if options.data else ("breast_cancer",):
        name, found = data(options.data, wanted)
        strong = conditioned(found.A, found.b, KAPPA)
        for case in CASES:
            problem = strong if case.ridge else tw.LogisticLoss(found.A, found.b)
            penalty: tw.Penalty = tw.L1(case.l1) if case.l1 else tw.Zero()
            with console.status(f"{name}, {case.name}"):
                theirs = case.theirs(problem.data.shape[0], problem.l2).fit(found.A, found.b)
                ours = tw.solve(
                    problem,
                    penalty=penalty,
                    link=tw.parse_link(LINK) if case.ridge else None,
                    rule=tw.Gradient() if case.ridge else tw.Nesterov(),
                    workers=WORKERS,
                    tol=TOL,
                    max_rounds=20_000,
                )
            x = theirs.coef_[0]
            apart = f"{np.abs(ours.x - x).max():.1e}" if case.ridge else "–"
            value = objective(problem, penalty, x)
            gap = ours.certificate.gap
            rows.append(
                (
                    f"{name}, {case.name}",
                    case.solver,
                    f"{ours.rounds:,}",
                    ours.status.name.lower(),
                    apart,
                    f"{ours.certificate.value - value:+.0e}",
                    f"{gap:.0e}" if gap is not None else "–",
                )
            )
            console.print(" · ".join(rows[-1]), highlight=False)
            results.append(Result(f"{name}, {case.name}", ours.certificate.value, []))
    heads = ("", "scikit-learn's", "rounds", "", "coefficients", "objective", "our gap")
    notes = [
        "coefficients: the largest difference; objective: ours less theirs; gap: what duality certifies of ours",
        f"ℓ2: μ = L/{KAPPA}; ℓ1: {L1:g} ‖x‖₁; {WORKERS} workers, {LINK}; ℓ1 alone: Nesterov",
    ]
    finish(
        "agreement", [Grid("The optimum, by thinwire and by scikit-learn", heads, rows, notes=notes)], [], options.save
    )


if __name__ == "__main__":
    main()
