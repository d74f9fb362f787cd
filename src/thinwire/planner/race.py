"""Which ways are tried, how far, and what is then known of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from thinwire.planner.price import Price
from thinwire.planner.setting import Setting
from thinwire.planner.trial import LEAST, Trial
from thinwire.planner.ways import Way

TRIED = 3
"""Of each family, at first: those of which theory promises most."""
LINES = ((0.5, 2.0), (0.75, 1.5))
"""Relative gaps, as powers of `tol`; who has cost so many times what the best had cost there, is not there, and is not
expected to be ahead at the end, is out. Earlier lines would mislead: acceleration is slow at first,
and local methods slow down later on."""
MOST = 20_000
"""Rounds of a trial, at most."""
Heard = Callable[[str], None]


@dataclass(frozen=True)
class Promise:
    """What theory promises of a way, with the problem's constants.

    Args:
        way: which.
        rounds: at theory's step, until its Lyapunov function has fallen to `tol`; infinite where no rate is promised.
        weight: what ways of a family are ordered by: the cost of those rounds, or where there is no rate, that of a
            round divided by the step.
    """

    way: Way
    rounds: float
    weight: float

    @classmethod
    def of(cls, setting: Setting, way: Way, price: Price, tol: float) -> Promise:
        """Raises ValueError where no theorem covers the way."""
        plan = setting.plan(way.root)
        rounds = math.inf if plan.floor else plan.rounds(tol) or math.inf
        known = math.isfinite(rounds)
        return cls(way, rounds, price.of(setting.spent(way, rounds if known else 1 / plan.step)))


def race(
    setting: Setting, promises: Sequence[Promise], price: Price, tol: float, optimum: float, heard: Heard
) -> list[Trial]:
    """Trials of the ways that may be best, to a relative gap of tol^¾.

    1. Of each family those three start, at theory's step, of which theory promises most. 2. One after the other, by
    theory's promise, they run to a gap of √tol, and on to tol^¾. Who has cost twice what the best had at the first
    line, or 1.5 times what it had at the second, is out unless it is expected to be ahead at the end; and so is a
    method without acceleration, which only gets slower, as soon as it is expected to cost 1.5 times the best in all. 3.
    Of each family the best is tried with longer steps, as long as they gain. 4. Theory is off by about the same factor
    for all ways of a family; a way that was not tried, and which by its family's factor would be ahead of the best, is
    tried too.
    """
    first = setting.value(setting.prepared.run.x)
    trials: dict[Way, Trial] = {}
    waiting = _first(promises)
    while waiting:
        for way in waiting:
            heard(way.text)
            trials[way] = Trial(setting, way, optimum, first - optimum)
            _run(trials, trials[way], price, tol)
        waiting = _longer(promises, trials, price, tol) or _overlooked(promises, trials, price, tol)
    return list(trials.values())


def arrived(trial: Trial, tol: float) -> bool:
    """Whether it came to the last line."""
    return bool(trial.gap <= tol ** LINES[-1][0])


def _run(trials: Mapping[Way, Trial], trial: Trial, price: Price, tol: float) -> None:
    """To the last line, unless it is out before; step 2 of `race`."""
    whole = trial.setting.case.link.compressor.nbytes(trial.setting.case.d)
    best = min((expected(o, price, tol) for o in trials.values() if arrived(o, tol)), default=math.inf)
    for part, behind in LINES:
        line = tol**part
        allowed = behind * min((expected(o, price, line) for o in trials.values() if o.gap <= line), default=math.inf)
        while trial.gap > line:
            if trial.failed or trial.rounds >= MOST or cost(trial, price) > best:
                return
            if cost(trial, price) > allowed and expected(trial, price, tol) > best:
                return
            trial.advance()
            told = trial.rounds >= LEAST and trial.setting.spent(trial.way, trial.rounds).up >= whole
            if trial.way.slows and told and expected(trial, price, tol) > LINES[-1][1] * best:
                return


def _first(promises: Sequence[Promise]) -> list[Way]:
    """Step 1 of `race`: the best of each family by theory; those first that theory has cost least."""
    chosen: list[Promise] = []
    for family in dict.fromkeys(promise.way.family for promise in promises):
        mine = sorted((p for p in promises if p.way.family == family and p.way.times == 1), key=_order)
        chosen += mine[:TRIED]
    return [promise.way for promise in sorted(chosen, key=_order)]


def _longer(promises: Sequence[Promise], trials: Mapping[Way, Trial], price: Price, tol: float) -> list[Way]:
    """Step 3 of `race`: of each family, the best way's next longer step, if the last was a gain."""
    found = []
    for family in dict.fromkeys(way.family for way in trials):
        best = min(
            (trial for trial in trials.values() if trial.way.family == family),
            key=lambda trial: (not arrived(trial, tol), expected(trial, price, tol)),
        )
        steps = sorted(p.way.times for p in promises if p.way.root == best.way.root and p.way.times > best.way.times)
        longer = [replace(best.way, times=times) for times in steps[:1]]
        found += [way for way in longer if way not in trials]
    return found


def _order(promise: Promise) -> tuple[bool, float]:
    return not math.isfinite(promise.rounds), promise.weight


def cost(trial: Trial, price: Price) -> float:
    """Of what was tried, as if it had been sent."""
    return price.of(trial.setting.spent(trial.way, trial.rounds))


def expected(trial: Trial, price: Price, tol: float) -> float:
    """Of all rounds to `tol`."""
    rounds = trial.rounds_to(tol)
    return price.of(trial.setting.spent(trial.way, rounds)) if math.isfinite(rounds) else math.inf


def factors(promises: Sequence[Promise], trials: Sequence[Trial], price: Price, tol: float) -> dict[str, float]:
    """By family, what its trials that came to the line expect at best, divided by what theory promised them."""
    weights = {promise.way: promise.weight for promise in promises}
    found: dict[str, float] = {}
    for trial in trials:
        if arrived(trial, tol):
            ratio = expected(trial, price, tol) / weights[trial.way.root]
            found[trial.way.family] = min(ratio, found.get(trial.way.family, math.inf))
    return found


def _overlooked(promises: Sequence[Promise], trials: Mapping[Way, Trial], price: Price, tol: float) -> list[Way]:
    """Step 4 of `race`."""
    best = min(expected(trial, price, tol) for trial in trials.values())
    factor = factors(promises, list(trials.values()), price, tol)
    waiting = [p for p in promises if p.way not in trials]
    return [p.way for p in waiting if p.weight * factor.get(p.way.family, math.inf) < best]
