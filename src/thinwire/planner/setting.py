"""The problem as it is shared out, bound once, in which every way can be tried."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from thinwire.convex.draws import Draws
from thinwire.convex.methods.base import Method, Run
from thinwire.convex.penalties import Penalty
from thinwire.convex.prepare import Parts, Prepared, prepare
from thinwire.convex.problems import FiniteSum
from thinwire.convex.shards import Array
from thinwire.convex.split import Split
from thinwire.convex.steps import Case
from thinwire.convex.wire import Traffic
from thinwire.planner.price import Spent
from thinwire.planner.ways import PLAIN, RULES, Way
from thinwire.spec import parse_link
from thinwire.theory import Constants, Plan


@dataclass(frozen=True, eq=False)
class Setting:
    """A problem on n simulated workers.

    Args:
        prepared: rows shared out, constants computed.
        seed: of all trials.

    Plans are kept: ADIANA's best constants take a search.
    """

    prepared: Prepared
    seed: int
    _plans: dict[Way, Plan] = field(default_factory=dict, repr=False)
    _rounds: dict[Way, Spent] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, problem: FiniteSum, penalty: Penalty | None, workers: int, split: Split, seed: int) -> Setting:
        """Rows are split, and L, L_i, 𝓛 and μ found."""
        with threadpool_limits(1, user_api="blas"):
            return cls(
                prepare(problem, Parts(penalty, parse_link(PLAIN), workers=workers, split=split, seed=seed)), seed
            )

    @property
    def case(self) -> Case:
        return self.prepared.run.case

    @property
    def constants(self) -> Constants:
        return self.case.constants

    def case_of(self, way: Way) -> Case:
        """What theorems are told of a way."""
        return replace(self.case, link=way.parsed().bind(self.constants.n), oracle=way.oracle)

    def plan(self, way: Way) -> Plan:
        """Theory's plan, the step as long as the way has it.

        Raises:
            ValueError: no theorem covers the way.
        """
        if way.root not in self._plans:
            self._plans[way.root] = RULES[way.rule].plan(self.case_of(way))
        plan = self._plans[way.root]
        return plan if way.times == 1 else replace(plan, step=way.times * plan.step, rate=None)

    def start(self, way: Way) -> Method:
        """The method at its beginning."""
        run, case = self.prepared.run, self.case_of(way)
        draws = Draws(self.seed, run.group.ranks, self.constants.m, case.probability > 0)
        plan = self.plan(way)
        made = Run(run.objective, run.penalty, run.features, run.x, case, plan, run.group, draws, Traffic())
        return RULES[way.rule].start(made)

    def spent(self, way: Way, rounds: float) -> Spent:
        """What so many rounds of a way cost a worker, on average.

        A gradient of a batch is its part of a pass, and counts twice where it is also taken at the reference point.
        Local methods make 1/p gradients in a round, ADIANA one and, with probability p, another.
        """
        if way.root not in self._rounds:
            self._rounds[way.root] = self._round(way.root)
        return self._rounds[way.root].times(rounds)

    def _round(self, way: Way) -> Spent:
        m, p, passes = self.constants.m, self.plan(way).more.get("p", 0.0), 1.0
        if way.rule in ("locodl", "scaffnew"):
            passes = 1 / p
        elif way.rule == "adiana":
            passes = 1 + p
        elif way.oracle.batch is not None:
            passes = 2 * way.oracle.batch / m + p
        return Spent(1.0, way.messages, RULES[way.rule].bytes_up(self.case_of(way)), passes)

    def value(self, x: Array) -> float:
        """P(x)."""
        run = self.prepared.run
        with np.errstate(over="ignore", invalid="ignore"):
            smooth = float(run.objective.values(x.astype(np.float64)).mean())
            return smooth + float(run.penalty.value(x[run.features]))
