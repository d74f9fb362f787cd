"""ADIANA: acceleration that stands the errors of compression, by a second message a round."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thinwire import theory
from thinwire._check import call, one_of
from thinwire.convex.draws import METHOD
from thinwire.convex.methods import needs
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.oracles import Record
from thinwire.convex.steps import Case
from thinwire.theory import Plan


@dataclass(frozen=True)
class ADIANA(Rule):
    """DIANA, accelerated: Õ(ω + (1 + ω/√n)√κ) rounds, where DIANA takes ω + (1 + ω/n)κ. f strongly convex.

    x = θ₁z + θ₂w + (1 − θ₁ − θ₂)y
    m_i = C(∇f_i(x) − h_i),  g = h + mean m_i            the first message
    c_i = C(∇f_i(w) − h_i),  h_i ← h_i + αc_i            the second: w is what the shifts learn
    y⁺ = prox_{ηR}(x − ηg),  z⁺ = βz + (1 − β)x + (γ/η)(y⁺ − x)
    w⁺ = y with probability p, one coin for all           (y⁺ with constants="refined")

    The iterate is y. Both messages are counted, so it pays where κ is large; ∇f_i(w) is kept, which leaves one gradient
    a round and one for each new w. A step c times theory's comes with θ₁ and γ/β times √c.

    Args:
        constants: "tight", derived here, of the largest rate that a proof gives; "paper", of ICML 2020; or "refined",
            of NeurIPS 2023, which allow no penalty.

    Source: Li, Kovalev, Qian, Richtárik, "Acceleration for compressed gradient descent in distributed and federated
    optimization" (ICML 2020), algorithm 2; He, Huang, Yuan, "Unbiased compression saves communication" (NeurIPS 2023);
    `thinwire.theory.adiana_tight`.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> solution = tw.solve(tw.LogisticLoss(A, b, l2=0.01), link=tw.diana(tw.Ternary()), rule=tw.ADIANA(), workers=10)
    >>> solution.status.name, solution.plan.theorem
    ('CONVERGED', 'ADIANA, constants derived')
    """

    constants: str = "tight"

    def __post_init__(self) -> None:
        one_of(call("ADIANA", constants=self.constants), "constants", self.constants, ("tight", "paper", "refined"))

    def plan(self, case: Case) -> Plan:
        needs.diana_link(self, case)
        needs.full_gradients(self, case)
        needs.strong_convexity(self, case)
        if self.constants == "tight":
            return theory.adiana_tight(case.constants, case.omega, case.mean_variance)
        needs.independent_errors(self, case, "Use constants='tight', or a compressor such as Rotated(bits=1).")
        theorem = theory.adiana if self.constants == "paper" else theory.adiana_refined
        plan = theorem(case.constants, case.omega)
        return needs.room_for_penalty(self, case, plan, "Use constants='tight'.")

    def bytes_up(self, case: Case) -> float:
        return 2 * super().bytes_up(case)

    def start(self, run: Run) -> Method:
        return _ADIANA(run, run.plan.step / self.plan(run.case).step)


class _ADIANA(Method):
    def __init__(self, run: Run, factor: float) -> None:
        self.run, self.source, self.wire = run, run.source(), run.wire()
        more, mu, root = run.plan.more, run.case.constants.strong, math.sqrt(factor)
        self.p, self.theta2, self.fresh = more["p"], more["theta2"], bool(more["fresh"])
        self.theta1 = min(more["theta1"] * root, 1 - self.theta2)
        long = more["gamma"] / more["beta"] * root
        self.beta, self.gamma = 1 / (1 + long * mu), long / (1 + long * mu)
        self.x, self.z, self.w = run.x.copy(), run.x.copy(), run.x.copy()  # x is the paper's y
        self.anchored = self.source.gradients(self.w, 0)

    def round(self, k: int) -> None:
        run, eta, y = self.run, self.run.plan.step, self.x
        x = self.theta1 * self.z + self.theta2 * self.w + (1 - self.theta1 - self.theta2) * y
        gradient = self.wire.mean(self.source.gradients(x, k), 2 * k, commit=False)
        self.wire.mean(self.anchored, 2 * k + 1)
        self.x = run.prox(x - eta * gradient, eta)
        self.z = self.beta * self.z + (1 - self.beta) * x + self.gamma / eta * (self.x - x)
        if run.draws.coin(k, METHOD) < self.p:
            self.w = self.x if self.fresh else y
            self.anchored = self.source.gradients(self.w, k)

    def state_dict(self) -> Record:
        return {"x": self.x, "z": self.z, "w": self.w, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.z, self.w = state["x"], state["z"], state["w"]
        self.wire.load_state_dict(state["wire"])
        self.anchored = self.source.gradients(self.w, 0)
