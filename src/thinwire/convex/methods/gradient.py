"""The proximal gradient rule, with momentum or without: with the links and oracles it is most of the field."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thinwire._check import call, fault
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.oracles import Record
from thinwire.convex.steps import Case, plain_plan
from thinwire.theory import Plan


@dataclass(frozen=True)
class Gradient(Rule):
    """v ← β v + ĝ(x), x ← prox_{γR}(x − γ v), ĝ the link's estimate of the mean of the workers' gradients.

    With `diana` it is DIANA, with `diana` and LSVRG VR-DIANA, with `ef21` EF21, and so on. Theory's steps are for
    β = 0; for β > 0 they are multiplied by 1 − β, a heuristic.

    Args:
        momentum: β, heavy-ball (Polyak, 1964), in [0, 1).

    >>> import thinwire as tw
    >>> tw.Gradient(momentum=0.9)
    Gradient(momentum=0.9)
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            where = call("Gradient", momentum=self.momentum)
            raise ValueError(fault(where, "momentum must be in [0, 1)", self.momentum))

    def plan(self, case: Case) -> Plan:
        plan = plain_plan(case)
        if not self.momentum:
            return plan
        return replace(plan, step=plan.step * (1 - self.momentum), rate=None)  # no theorem promises one

    def start(self, run: Run) -> Method:
        return _Gradient(run, self.momentum)


class _Gradient(Method):
    def __init__(self, run: Run, momentum: float) -> None:
        self.run, self.momentum, self.x = run, momentum, run.x.copy()
        self.step = run.plan.step
        self.source, self.wire = run.source(), run.wire()
        self.v = run.x * 0

    def round(self, k: int) -> None:
        estimate = self.wire.mean(self.source.gradients(self.x, k, self.wire.dense(k)), k)
        self.v = estimate if not self.momentum else self.momentum * self.v + estimate
        self.x = self.run.prox(self.x - self.step * self.v, self.step)

    def state_dict(self) -> Record:
        return {"x": self.x, "v": self.v, "wire": self.wire.state_dict(), "source": self.source.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.v = state["x"], state["v"]
        self.wire.load_state_dict(state["wire"])
        self.source.load_state_dict(state["source"])
