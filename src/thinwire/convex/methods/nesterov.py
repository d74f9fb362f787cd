"""Nesterov's acceleration, for links that lose nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thinwire import theory
from thinwire._check import fault
from thinwire.convex.methods import needs
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.oracles import Record
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.theory import Plan


@dataclass(frozen=True)
class Nesterov(Rule):
    """x⁺ = prox_{γR}(y − γ∇f(y)), y⁺ = x⁺ + β(x⁺ − x), γ = 1/L: √κ rounds where gradient descent needs κ.

    β = (√κ − 1)/(√κ + 1) where f is strongly convex. Where it is convex, β = (t − 1)/t⁺, t⁺ = (1 + √(1 + 4t²))/2, t = 1
    at first: FISTA, P − P* ≤ 2L‖x⁰ − x*‖²/(k + 1)². There t = 1 and y⁺ = x⁺ again whenever ⟨y − x⁺, x⁺ − x⟩ > 0, the
    step turning against the gradient mapping: a heuristic, which finds strong convexity that no constant states.

    Only for links that deliver the gradient as it is. No theorem covers it with errors of compression, which it
    accumulates: what is proved for them is `ADIANA`.
    Source: Nesterov, "Lectures on convex optimization" (2018), scheme 2.2.22; Beck and Teboulle, "FISTA" (2009);
    O'Donoghue and Candès, "Adaptive restart for accelerated gradient schemes" (2015), the gradient scheme.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> exact = tw.diana(tw.Identity(bits=64))
    >>> tw.solve(tw.LogisticLoss(A, b), link=exact, rule=tw.Nesterov(), penalty=tw.L1(0.01)).status.name
    'CONVERGED'
    """

    usual = "dcgd(identity())"

    def plan(self, case: Case) -> Plan:
        needs.full_gradients(self, case)
        link, d = case.link, case.d
        if link.compressor.bias(d) or link.compressor.variance(d) or link.zeta is not None:
            way_out = "Use diana(Identity(bits=64)); with compression ADIANA(), or Gradient(momentum=0.9)."
            raise ValueError(fault(repr(self), "its link must lose nothing", link, way_out))
        if not case.constants.convex:
            raise ValueError(fault(repr(self), "f must be convex", None, "Use Gradient()."))
        return theory.nesterov(case.constants) if case.constants.strong > 0 else theory.fista(case.constants)

    def start(self, run: Run) -> Method:
        return _Nesterov(run)


class _Nesterov(Method):
    def __init__(self, run: Run) -> None:
        self.run, self.source, self.wire = run, run.source(), run.wire()
        self.x, self.y, self.t = run.x.copy(), run.x.copy(), 1.0

    def round(self, k: int) -> None:
        step = self.run.plan.step
        gradient = self.wire.mean(self.source.gradients(self.y, k, self.wire.dense(k)), k)
        old, self.x = self.x, self.run.prox(self.y - step * gradient, step)
        self.y = self.x + self._momentum(old) * (self.x - old)

    def _momentum(self, old: Array) -> float:
        if "momentum" in self.run.plan.more:
            return self.run.plan.more["momentum"]
        if np.sum((self.y - self.x) * (self.x - old)) > 0:  # not a BLAS product: its bits would be the machine's
            self.t = 1.0
            return 0.0
        t, self.t = self.t, (1 + math.sqrt(1 + 4 * self.t * self.t)) / 2
        return (t - 1) / self.t

    def state_dict(self) -> Record:
        parts = {"wire": self.wire.state_dict(), "source": self.source.state_dict()}
        return {"x": self.x, "y": self.y, "t": self.t, **parts}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.y, self.t = state["x"], state["y"], state["t"]
        self.wire.load_state_dict(state["wire"])
        self.source.load_state_dict(state["source"])
