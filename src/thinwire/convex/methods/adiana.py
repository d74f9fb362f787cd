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
    w⁺ = y with probability p, one coin for all           (y⁺ with the refined constants)

    The iterate is y. Both messages are counted, so it pays where κ is large; ∇f_i(w) is kept, which leaves one gradient
    a round and one for each new w. A step η of one's own brings its own θ₁, γ and β.

    Args:
        constants: "paper", of ICML 2020, which allows a penalty, or "refined", of NeurIPS 2023, whose order is better
            and whose steps are shorter in all but huge problems.

    Source: Li, Kovalev, Qian, Richtárik, "Acceleration for compressed gradient descent in distributed and federated
    optimization" (ICML 2020), algorithm 2; He, Huang, Yuan, "Unbiased compression saves communication" (NeurIPS 2023).

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> solution = tw.solve(tw.LogisticLoss(A, b, l2=0.01), link=tw.diana(tw.Ternary()), rule=tw.ADIANA(), workers=10)
    >>> solution.status.name, solution.plan.theorem
    ('CONVERGED', 'ADIANA (ICML 2020)')
    """

    constants: str = "paper"

    def __post_init__(self) -> None:
        one_of(call("ADIANA", constants=self.constants), "constants", self.constants, ("paper", "refined"))

    def plan(self, case: Case) -> Plan:
        needs.diana_link(self, case)
        needs.full_gradients(self, case)
        needs.strong_convexity(self, case)
        needs.independent_errors(self, case)
        theorem = theory.adiana if self.constants == "paper" else theory.adiana_refined
        way_out = "Use constants='paper'."
        return needs.room_for_penalty(self, case, theorem(case.constants, case.omega), way_out)

    def bytes_up(self, case: Case) -> float:
        return 2 * super().bytes_up(case)

    def start(self, run: Run) -> Method:
        return _ADIANA(run, self.constants == "refined")


class _ADIANA(Method):
    def __init__(self, run: Run, refined: bool) -> None:
        self.run, self.refined = run, refined
        self.source, self.wire = run.source(), run.wire()
        more, eta, mu = run.plan.more, run.plan.step, run.case.constants.strong
        self.p, self.theta2 = more["p"], more["theta2"]
        if refined:
            self.theta1 = more["theta1"]
            self.gamma, self.beta = eta / (2 * self.theta1 + eta * mu), 2 * self.theta1 / (2 * self.theta1 + eta * mu)
        else:
            self.theta1 = min(0.25, math.sqrt(eta * mu / self.p))
            self.gamma = eta / (2 * (self.theta1 + eta * mu))
            self.beta = 1 - self.gamma * mu
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
            self.w = self.x if self.refined else y
            self.anchored = self.source.gradients(self.w, k)

    def state_dict(self) -> Record:
        return {"x": self.x, "z": self.z, "w": self.w, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.z, self.w = state["x"], state["z"], state["w"]
        self.wire.load_state_dict(state["wire"])
        self.anchored = self.source.gradients(self.w, 0)
