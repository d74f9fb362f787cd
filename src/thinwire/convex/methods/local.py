"""Local steps: workers go on by themselves until a common coin has them talk. A round of the loop is one such talk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thinwire import theory
from thinwire._check import fault
from thinwire.convex.draws import METHOD
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.oracles import Record
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.link import Recursion
from thinwire.theory import Constants, Plan


@dataclass(frozen=True)
class Scaffnew(Rule):
    """Local steps that a dual vector keeps from drifting apart: √κ rounds in place of κ, of uncompressed vectors.

        x̂_i = x_i − γ(∇f_i(x_i) − h_i)                       in each iteration; then, with probability p,
        x = prox_{(γ/p)R}(mean(x̂_i − (γ/p)h_i)),  h_i ← h_i + (p/γ)(x − x̂_i),  x_i = x;   otherwise x_i = x̂_i

    x is what is returned; without a penalty Σ h_i = 0. A round is one communication, after 1/p iterations on average.
    The link must carry vectors as they are, dcgd(Identity()); and every f_i must be strongly convex.
    Source: Mishchenko, Malinovsky, Stich, Richtárik, "ProxSkip" (ICML 2022), algorithms 1 and 2, theorem 3.6.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)) / 2.0 ** np.arange(10), np.arange(200) % 2
    >>> problem, link = tw.LogisticLoss(A, b, l2=1e-3), tw.dcgd(tw.Identity(bits=64))
    >>> few, many = (tw.solve(problem, rule=rule, link=link, workers=10) for rule in (tw.Scaffnew(), tw.Gradient()))
    >>> few.status.name, few.rounds < many.rounds / 4
    ('CONVERGED', True)
    """

    usual = "dcgd(identity())"

    def plan(self, case: Case) -> Plan:
        sends_whole(self, case, f"LoCoDL() with dcgd({case.link.compressor!r})")
        return replace(theory.scaffnew(_each(self, case)), prox=True)

    def start(self, run: Run) -> Method:
        return _Scaffnew(run)


class _Scaffnew(Method):
    def __init__(self, run: Run) -> None:
        self.run, self.x = run, run.x.copy()
        self.wire = run.wire(link=run.case.link)
        self.h = run.x * run.objective.scale[:, None] * 0
        self.iteration = 0

    def round(self, k: int) -> None:
        run, gamma, p = self.run, self.run.plan.step, self.run.plan.more["p"]
        X = self.x
        while True:
            X = X - gamma * (run.objective.gradients(X) - self.h)
            self.iteration += 1
            if run.draws.coin(self.iteration - 1, METHOD) < p:
                break
        self.x = run.prox(self.wire.mean(X - gamma / p * self.h, k), gamma / p)
        self.h += p / gamma * (self.x - X)

    def state_dict(self) -> Record:
        return {"x": self.x, "h": self.h.copy(), "iteration": self.iteration, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.h, self.iteration = state["x"], state["h"].copy(), state["iteration"]
        self.wire.load_state_dict(state["wire"])


@dataclass(frozen=True)
class LoCoDL(Rule):
    """Local steps and compressed differences: any unbiased compressor, and both accelerations at once.

    The objective is mean f̃_i + g, f̃_i = f_i − (μ/4)‖x‖² and g = (μ/4)‖x‖², of which all hold a copy y:

        x̂_i = x_i − γ(∇f̃_i(x_i) − u_i),  ŷ = y − γ(∇g(y) − v)       in each iteration; then, with probability p,
        d_i = C_i(x̂_i − ŷ),  d̄ = mean(d_i) / 2,  x_i = (1 − ρ)x̂_i + ρ(ŷ + d̄),  y = ŷ + ρd̄,
        u_i ← u_i + σ(d̄ − d_i),  v ← v + σd̄,  σ = pχ / (γ(1 + 2ω));   otherwise x_i = x̂_i, y = ŷ

    y is what is returned; mean u_i + v = 0. A round is one communication, after 1/p iterations on average. The link is
    dcgd(C), whose messages need no shift: the u_i do its work. No penalty; every f_i must be strongly convex.
    Source: Condat, Maranjyan, Richtárik, "LoCoDL" (ICLR 2025), algorithm 1, theorem 3.1.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)) / 2.0 ** np.arange(10), np.arange(200) % 2
    >>> problem = tw.LogisticLoss(A, b, l2=1e-3)
    >>> both = tw.solve(problem, rule=tw.LoCoDL(), link=tw.dcgd(tw.Natural()), workers=10)
    >>> local = tw.solve(problem, rule=tw.Scaffnew(), link=tw.dcgd(tw.Identity()), workers=10)
    >>> both.status.name, both.bytes_up < local.bytes_up
    ('CONVERGED', True)
    """

    usual = "dcgd(rotated(bits=1))"

    def plan(self, case: Case) -> Plan:
        if case.link.recursion(case.d, case.n) != Recursion():
            way_out = f"Pass link=dcgd({case.link.compressor!r}), if that is unbiased."
            raise ValueError(fault(repr(self), "the link must be without memory", repr(case.link), way_out))
        if case.prox:
            rule = "no theorem of it allows a penalty"
            raise ValueError(fault(repr(self), rule, None, "Use Scaffnew(), or Gradient() with diana."))
        return theory.locodl(_each(self, case), case.omega, case.mean_variance)

    def start(self, run: Run) -> Method:
        return _LoCoDL(run)


class _LoCoDL(Method):
    def __init__(self, run: Run) -> None:
        self.run, self.x = run, run.x.copy()
        self.wire = run.wire(link=run.case.link)
        self.X: Array = run.x + run.objective.scale[:, None] * 0
        self.u, self.v = self.X * 0, run.x * 0
        self.iteration = 0
        plan = run.plan
        self.dual = plan.more["p"] * plan.more["chi"] / (plan.step * (1 + 2 * run.case.omega))

    def round(self, k: int) -> None:
        run, gamma, more = self.run, self.run.plan.step, self.run.plan.more
        X, y, share = self.X, self.x, more["share"]
        while True:
            X = X - gamma * (run.objective.gradients(X) - share * X - self.u)
            y = y - gamma * (share * y - self.v)
            self.iteration += 1
            if run.draws.coin(self.iteration - 1, METHOD) < more["p"]:
                break
        mean, own = self.wire.heard(X - y, k)
        half, rho = mean / 2, more["rho"]
        self.X = (1 - rho) * X + rho * (y + half)
        self.x = y + rho * half
        self.u += self.dual * (half - own)
        self.v += self.dual * half

    def state_dict(self) -> Record:
        copied = {"X": self.X, "u": self.u.copy(), "v": self.v.copy()}
        return {"x": self.x, **copied, "iteration": self.iteration, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.X, self.iteration = state["x"], state["X"], state["iteration"]
        self.u, self.v = state["u"].copy(), state["v"].copy()
        self.wire.load_state_dict(state["wire"])


def _each(rule: Rule, case: Case) -> Constants:
    """The constants, with the μ of the least convex f_i: that of f may be greater."""
    if case.oracle.family != "full":
        raise ValueError(fault(repr(rule), "local steps need full gradients", repr(case.oracle), "Pass oracle=Full()."))
    if case.ridge <= 0:
        way_out = "Pass l2 > 0 and no intercept, or use Gradient() with diana."
        raise ValueError(fault(repr(rule), "every f_i must be strongly convex by its ridge", None, way_out))
    return replace(case.constants, strong=case.ridge)


def sends_whole(rule: Rule, case: Case, other: str) -> None:
    """Raise ValueError, naming another way, unless the link delivers every vector as it is."""
    link = case.link
    inexact = link.compressor.omega(case.d) != 0 or link.compressor.bias(case.d) > 0
    if inexact or link.recursion(case.d, case.n) != Recursion():
        way_out = f"Pass link=dcgd(Identity()), or use {other}."
        raise ValueError(fault(repr(rule), "the link must send vectors as they are", repr(link), way_out))
