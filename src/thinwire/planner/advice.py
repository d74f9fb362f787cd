"""Which method, compressor and sparsity solve a convex problem with the fewest bytes, or in the least time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from thinwire._check import fault
from thinwire.advisor.facts import Network
from thinwire.advisor.units import seconds_text
from thinwire.convex.penalties import Penalty
from thinwire.convex.problems import FiniteSum
from thinwire.convex.split import Split
from thinwire.planner.price import Price, Spent
from thinwire.planner.race import LINES, Promise, arrived, factors, race
from thinwire.planner.row import Row
from thinwire.planner.setting import Setting
from thinwire.planner.trial import Trial
from thinwire.planner.ways import Way, ways
from thinwire.planner.words import knowledge, sensitivity, verdict
from thinwire.report.values import finite
from thinwire.theory import Constants

ROUGH = 30.0
"""min P is needed to a thirtieth of the gap at which trials end."""
MOST = 5000
"""Rounds in which it is looked for."""
SAFE = 1.1
"""Of ways that are expected to cost no more than so many times the best, one with whole vectors is preferred, then one
with theory's step."""
TIMED = 7
"""Gradients that are timed."""


@dataclass(frozen=True)
class SolveAdvice:
    """What is advised, and why.

    Args:
        rows: the ways, the advised one first, then by expected cost.
        refused: ways that no theorem covers, with the reason.
        words: why the first is first, what would change it, what the advice cost.
        goal, tol, workers: as asked.
        constants: L, L_i, 𝓛, μ.
        gradient: seconds of a worker for a gradient of all its rows.
        passes: over all rows, that the advice took.
        took: seconds that it took.
    """

    rows: tuple[Row, ...]
    refused: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    goal: str
    tol: float
    workers: int
    constants: Constants
    gradient: float
    passes: float
    took: float

    @property
    def first(self) -> Row:
        """What is advised."""
        return self.rows[0]

    @property
    def compress(self) -> bool:
        """Whether it compresses."""
        return not self.first.dense

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is infinite is None."""
        found: dict[str, Any] = finite({**asdict(self), "compress": self.compress})
        return found


def _unheard(text: str) -> None:
    pass


def advise_solve(
    problem: FiniteSum,
    *,
    workers: int,
    penalty: Penalty | None = None,
    split: Split = "even",
    tol: float = 1e-6,
    goal: str = "bytes",
    network: Network | None = None,
    gradient: float | None = None,
    seed: int = 0,
    heard: Callable[[str], None] = _unheard,
) -> SolveAdvice:
    """Rank the ways to solve a problem on n workers by what each would cost to a relative gap of `tol`.

    1. Constants are computed, and theory promises every way its rounds. 2. min P is found roughly, uncompressed. 3. The
    ways of which theory promises most, of every family, race to a gap of tol^¾, simulated here on the real rows; who
    falls behind is out (`race`). 4. The rest is extrapolated, each trial at its own last rate.

    Args:
        problem, penalty, split, tol: as `solve` takes them.
        workers: n, at least 2.
        goal: "bytes", what a worker's messages are long in all; "time", seconds.
        network: between the workers; needed for the time.
        gradient: seconds of one worker for a gradient of all its rows; measured here if left out.
        seed: of the trials.
        heard: is told what is being tried.

    Raises:
        ValueError: wrong arguments; a problem that is not convex; parts that do not fit the problem.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> advice = advise_solve(tw.LogisticLoss(A, b, l2=0.01), workers=10, tol=1e-6)
    >>> advice.compress, advice.first.basis
    (True, 'trial')
    """
    _checked(problem, workers, tol, goal, network, gradient)
    began = time.perf_counter()
    with threadpool_limits(1, user_api="blas"):
        setting = Setting.of(problem, penalty, workers, split, seed)
        once = _timed(setting) if gradient is None else gradient
        price = Price(goal, workers, network or Network(), once)
        promises, refused = _promises(setting, price, tol)
        heard("min P, uncompressed")
        optimum, rounds = _rough(setting, tol ** LINES[-1][0] / ROUGH)
        if not setting.value(setting.prepared.run.x) > optimum:
            way_out = "A smaller l1 may be meant."
            raise ValueError(fault("advise_solve(…)", "zero is not the solution already", optimum, way_out))
        trials = race(setting, promises, price, tol, optimum, heard)
    rows = _ranked(setting, promises, trials, price, tol)
    passes = rounds + sum(setting.spent(t.way, t.rounds).passes + len(t.gaps) for t in trials)
    took = time.perf_counter() - began
    cost = f"The advice took {len(trials)} trials and {passes:,.0f} gradients of all rows, {seconds_text(took)}: "
    cost += f"{passes / rows[0].passes:.2g} times what {rows[0].way} computes."
    words = (*verdict(rows, price, tol), *knowledge(rows, tol), *sensitivity(rows, price), cost)
    return SolveAdvice(rows, refused, words, goal, tol, workers, setting.constants, once, passes, took)


def _checked(
    problem: FiniteSum, workers: int, tol: float, goal: str, network: Network | None, gradient: float | None
) -> None:
    where = "advise_solve(…)"
    if workers < 2:
        raise ValueError(fault(where, "workers must be at least 2: one alone sends nothing", workers))
    if not 0 < tol < 1:
        raise ValueError(fault(where, "tol must be above 0 and below 1", tol))
    if problem.nonconvex:
        raise ValueError(fault(where, "the problem must be convex", problem, "Compare methods: thinwire solve."))
    if goal == "time" and network is None:
        way_out = "Pass network=Network(bandwidth=…, latency=…)."
        raise ValueError(fault(where, "for the time it must be known what the network is like", None, way_out))
    if goal == "time" and network == Network() and gradient == 0:
        way_out = "Give a bandwidth, a latency, or the time of a gradient."
        raise ValueError(fault(where, "something takes time", None, way_out))


def _timed(setting: Setting) -> float:
    """Seconds of one worker for a gradient: the median of several of all workers, divided by n."""
    run, taken = setting.prepared.run, []
    for _ in range(TIMED):
        began = time.perf_counter()
        run.objective.gradients(run.x)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) / run.objective.rows


def _promises(setting: Setting, price: Price, tol: float) -> tuple[list[Promise], tuple[tuple[str, str], ...]]:
    made, refused = [], []
    for way in ways(setting.case.d, setting.constants.n, setting.constants.m):
        try:
            made.append(Promise.of(setting, way, price, tol))
        except ValueError as error:
            refused.append((way.text, str(error)))
    return made, tuple(refused)


def _rough(setting: Setting, accuracy: float) -> tuple[float, int]:
    """min P to about `accuracy` of the first gap, by Nesterov's method in float64; and the rounds it took."""
    method = setting.start(Way("nesterov", "dcgd(identity(bits=64))"))
    examine = setting.prepared.examiner
    first, best, k = setting.value(method.x), math.inf, 0
    while k < MOST:
        due = k + max(1, k // 10)
        while k < due:
            method.round(k)
            k += 1
        found = examine(method.x)
        best = min(best, found.value)
        if found.gap is not None and found.gap <= max(accuracy * (first - best), np.finfo(float).eps * abs(first)):
            break
    return best, k


def _ranked(
    setting: Setting, promises: list[Promise], trials: list[Trial], price: Price, tol: float
) -> tuple[Row, ...]:
    tried, off = {trial.way: trial for trial in trials}, factors(promises, trials, price, tol)
    rows = []
    for promise in promises:
        way, trial = promise.way, tried.get(promise.way)
        if trial is not None:
            rounds, reached = trial.rounds_to(tol), trial.gap
            basis = "trial" if arrived(trial, tol) else "dropped"
        elif way.times == 1 and math.isfinite(promise.rounds):
            rounds, basis, reached = promise.rounds * off.get(way.family, 1.0), "theory", None
        else:
            continue
        spent = setting.spent(way, rounds) if math.isfinite(rounds) else Spent(*[math.inf] * 4)
        promised = promise.rounds if way.times == 1 and math.isfinite(promise.rounds) else None
        counted = (rounds, spent.messages, spent.up, spent.passes, price.seconds(spent), price.of(spent))
        floor = basis == "dropped" and way.slows
        rows.append(Row(way.text, basis, reached, promised, *counted, way.dense, floor))
    rows.sort(key=lambda row: (row.basis != "trial", row.cost))
    near = [row for row in rows if row.basis == "trial" and row.cost <= SAFE * rows[0].cost]
    simple = [row for row in near if row.dense] or [row for row in near if "theory*" not in row.way]
    for row in simple[:1]:
        rows.remove(row)
        rows.insert(0, row)
    return tuple(rows)
