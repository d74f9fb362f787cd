"""Partial participation: in each round only some of the workers are there, and who is a function of (seed, round)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from thinwire import theory
from thinwire._check import call, fault
from thinwire.convex.draws import PRESENT
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.methods.gradient import Gradient
from thinwire.convex.oracles import Record
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.convex.wire import Mask
from thinwire.theory import Plan


@dataclass(frozen=True)
class Partial(Rule):
    """x ← x − γĝ, of whose workers only a share speaks in each round but the first; the link says which method it is.

    - `ef21(C)`, EF21-PP: each worker is there with probability p, by itself; who is not keeps h_i.
    - `dasha(C)`, DASHA-PP: the same, and v_i follows ∇f_i: where i is there, v_i ← v_i + k_i/p with
      k_i = ∇f_i(x) − ∇f_i(x_prev) − b(v_i − ∇f_i(x_prev)), b = p/(2 − p). The paper's a is p times the link's.
    - `marina(C)`, PP-MARINA: r = p·n workers, no two alike, and h̄ ← h̄ + (1/r) Σ m_i; the coin's rounds need everyone,
      and are as many times rarer. (The theorem draws with replacement, which varies more.)

    `bytes_up` counts what those say who are there, on average over all workers, as a server would be sent; in a group
    without a server the slots of the others travel as zeros. With p = 1 it is Gradient(). No penalty; full gradients.
    Source: Fatkhullin et al., "EF21 with bells & whistles" (2021); Gorbunov et al., "MARINA" (ICML 2021), algorithm 4;
    Tyurin and Richtárik, "DASHA-PP" (NeurIPS 2023).

    Args:
        participation: p, in (0, 1].

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> link, problem = tw.ef21(tw.TopK(0.5)), tw.LogisticLoss(A, b, l2=0.1)
    >>> solution = tw.solve(problem, rule=tw.Partial(0.3), link=link, workers=10)
    >>> solution.status.name, solution.bytes_up < 0.4 * solution.rounds * link.compressor.nbytes(10)
    ('CONVERGED', True)
    """

    participation: float

    usual = "dasha(rotated(bits=1))"

    def __post_init__(self) -> None:
        if not 0 < self.participation <= 1:
            where = call("Partial", participation=self.participation)
            raise ValueError(fault(where, "participation must be above 0 and at most 1", self.participation))

    def plan(self, case: Case) -> Plan:
        if self.participation == 1:
            return Gradient().plan(case)
        plans = {"ef21": self._ef21, "dasha": self._dasha, "marina": self._marina}
        if case.link.method not in plans:
            rule = "theory has partial participation for ef21, dasha and marina"
            raise ValueError(fault(repr(self), rule, repr(case.link), "Use one of them, or Gradient()."))
        if case.prox:
            rule = "no theorem of it allows a penalty"
            raise ValueError(fault(repr(self), rule, None, "Use Gradient()."))
        if case.oracle.family != "full":
            way_out = "Pass oracle=Full(), or use Gradient()."
            raise ValueError(fault(repr(self), "it needs full gradients", repr(case.oracle), way_out))
        return plans[case.link.method](case)

    def _ef21(self, case: Case) -> Plan:
        return theory.ef21_pp(case.constants, case.delta, self.participation)

    def _dasha(self, case: Case) -> Plan:
        plan = theory.dasha_pp(case.constants, self._omega(case), self.participation)
        return replace(plan, more={**plan.more, "a": plan.more["a"] / self.participation})

    def _marina(self, case: Case) -> Plan:
        clients = max(1, round(self.participation * case.n))
        share = clients / case.n
        p = share * case.probability
        plan = theory.pp_marina(case.constants, self._omega(case), clients, p)
        return replace(plan, more={"p": p, "clients": clients, "lam": 1 / share, "nu": 1 / share})

    def _omega(self, case: Case) -> float:
        if case.mean_variance > case.omega / case.n * (1 + 1e-9):
            way_out, given = "Pass a compressor by which each worker draws for itself.", repr(case.link.compressor)
            raise ValueError(fault(repr(self), "the workers' errors must average out", given, way_out))
        return case.omega

    def start(self, run: Run) -> Method:
        return Gradient().start(run) if self.participation == 1 else _Partial(run)


class _Partial(Method):
    def __init__(self, run: Run) -> None:
        self.run, self.x, self.wire = run, run.x.copy(), run.wire()
        self.everyone = replace(run.draws, ranks=range(run.case.n))
        self.follows = "b" in run.plan.more
        self.v: Array | None = None
        self.old: Array | None = None

    def present(self, k: int) -> Mask:
        """(n,): who is there in round k; all are in the first."""
        more, chances = self.run.plan.more, self.everyone.uniforms(k, PRESENT)
        if k == 0:
            return np.ones(len(chances), bool)
        if "clients" not in more:
            return chances < more["participation"]
        here = np.zeros(len(chances), bool)
        here[np.argsort(chances, kind="stable")[: int(more["clients"])]] = True
        return here

    def round(self, k: int) -> None:
        here = self.present(k)
        v = self.run.objective.gradients(self.x)
        if self.follows:
            v = self._followed(v, here)
        self.x = self.x - self.run.plan.step * self.wire.mean(v, k, active=here)

    def _followed(self, new: Array, here: Mask) -> Array:
        old, v, ranks = self.old, self.v, self.run.group.ranks
        self.old = new
        if old is None or v is None:
            self.v = new
        else:
            change = new - old - self.run.plan.more["b"] * (v - old)
            mine = here[ranks.start : ranks.stop, None]
            self.v = np.where(mine, v + change / self.run.plan.more["participation"], v)
        return self.v

    def state_dict(self) -> Record:
        return {"x": self.x, "v": self.v, "old": self.old, "wire": self.wire.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.v, self.old = state["x"], state["v"], state["old"]
        self.wire.load_state_dict(state["wire"])
