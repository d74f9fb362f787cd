"""Is the advised way to solve a convex problem near the best of all? Advice, then every way solved.

    python benchmarks/convex_advice.py --data DIR

DIR has the LIBSVM sets mushrooms, phishing, a9a and w8a, packed or not. A run that was cut off goes on where it was. A
way is given up once it has cost a tenth more than the best so far, by every goal: it is not the best by any.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

import thinwire as tw
from thinwire.advisor.facts import Network
from thinwire.convex.data import load
from thinwire.planner import SolveAdvice, advise_solve
from thinwire.planner.price import Price
from thinwire.planner.setting import Setting
from thinwire.planner.trial import Trial
from thinwire.planner.ways import Way, ways
from thinwire.report.grid import Grid
from thinwire.report.provenance import load as load_average
from thinwire.report.provenance import provenance

OUT = Path(__file__).parent / "predictions" / "convex-advice.json"
TOL, MORE, MOST = 1e-7, 1.1, 100_000
SEEDS = {"advice": 0, "grid": 1}
NETWORK = Network(bandwidth=100e6 / 8, latency=1e-3)
GOALS = ("bytes", "time")
console = Console(highlight=False)


@dataclass(frozen=True)
class Case:
    """A data set, how ill-conditioned it is made, and on how many workers."""

    name: str
    kappa: int
    workers: int

    @property
    def title(self) -> str:
        return f"{self.name}, μ = L/{self.kappa}, {self.workers} workers"

    def problem(self, folder: Path) -> tw.FiniteSum:
        for ending in ("", ".xz", ".bz2", ".gz", ".txt"):
            if (folder / f"{self.name}{ending}").is_file():
                found = load(folder / f"{self.name}{ending}")
                break
        else:
            raise SystemExit(f"{folder} has no {self.name}")
        alone = tw.predict(tw.LogisticLoss(found.A, found.b), link=tw.dcgd(tw.Identity())).constants.smoothness
        return tw.LogisticLoss(found.A, found.b, l2=alone / (self.kappa - 1))


CASES = (
    *(Case(name, 1000, 20) for name in ("mushrooms", "phishing", "a9a", "w8a")),
    Case("phishing", 1000, 4),
    Case("phishing", 10_000, 20),
    Case("mushrooms", 1000, 4),
    Case("mushrooms", 10_000, 20),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder with the LIBSVM files")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--anew", action="store_true", help="advise anew; what was solved stays")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    kept.setdefault("provenance", provenance())
    kept.setdefault("load_at_start", load_average())
    kept |= {"schema": 1, "command": "python benchmarks/convex_advice.py --data DIR", "seeds": SEEDS, "tol": TOL}
    cases = kept.setdefault("cases", {})
    if options.anew:
        for done in cases.values():
            done["advice"] = {}
    for case in CASES:
        done = cases.setdefault(case.title, {"advice": {}, "solved": {}})
        _case(case, options, kept, done)
    for grid in kept["grids"]:
        Grid(**grid).print(console)


def _case(case: Case, options: argparse.Namespace, kept: dict[str, Any], done: dict[str, Any]) -> None:
    """Advice for each goal, then all ways, the likely ones first."""
    problem = case.problem(options.data)
    setting = Setting.of(problem, None, case.workers, "even", SEEDS["grid"])
    for goal in GOALS:
        if goal not in done["advice"]:
            made = _advice(problem, case, goal, done.get("gradient"))
            done["gradient"] = made.gradient
            done["advice"][goal] = made.as_dict()
            _write(kept, options.out)
    if "optimum" not in done:
        exact = tw.dcgd(tw.Identity(bits=64))
        done["optimum"] = tw.solve(problem, rule=tw.Nesterov(), link=exact, tol=1e-13).certificate.value
    prices = {goal: Price(goal, case.workers, NETWORK, done["gradient"]) for goal in GOALS}
    everything = {way.text: way for way in ways(setting.case.d, case.workers, setting.constants.m)}
    done["ways"] = len(everything)
    advised = [done["advice"][goal]["rows"][0]["way"] for goal in GOALS]
    likely = dict.fromkeys(everything, math.inf)
    for goal in GOALS:
        rows = done["advice"][goal]["rows"]
        for row in rows:
            cost = math.inf if row["cost"] is None else row["cost"] / rows[0]["cost"]
            likely[row["way"]] = min(likely[row["way"]], cost)
    for text in dict.fromkeys([*advised, *sorted(likely, key=likely.__getitem__)]):
        if text in done["solved"] and (done["solved"][text]["converged"] or text not in advised):
            continue
        bounds = {goal: _best(done, goal)[1] * MORE if text not in advised else math.inf for goal in GOALS}
        found = _solved(setting, everything[text], done["optimum"], prices, bounds)
        done["solved"][text] = found
        console.print(f"{case.title} · {text}: {found}", soft_wrap=True)
        _finish(kept, options.out)


def _advice(problem: tw.FiniteSum, case: Case, goal: str, gradient: float | None) -> SolveAdvice:
    with console.status(f"{case.title}: advice by {goal}"):
        made = advise_solve(
            problem,
            workers=case.workers,
            tol=TOL,
            goal=goal,
            network=NETWORK,
            gradient=gradient,
            seed=SEEDS["advice"],
        )
    console.print(f"{case.title}, {goal}: {made.first.way}, {made.took:.0f} s")
    return made


def _solved(
    setting: Setting, way: Way, optimum: float, prices: dict[str, Price], bounds: dict[str, float]
) -> dict[str, Any]:
    """One way until its gap is TOL, or it has cost more than the bounds: what `solve` does, without certificates."""
    began = time.perf_counter()
    trial = Trial(setting, way, optimum, setting.value(setting.prepared.run.x) - optimum)
    try:
        setting.plan(way)
    except ValueError as refusal:
        return {"converged": False, "status": f"refused: {refusal}"}
    with threadpool_limits(1, user_api="blas"):
        while trial.gap > TOL and not trial.failed and trial.rounds < MOST:
            spent = setting.spent(way, trial.rounds)
            if all(prices[goal].of(spent) > bounds[goal] for goal in GOALS):
                break
            trial.advance()
    converged = trial.gap <= TOL
    rounds = trial.rounds_to(TOL) if converged else float(trial.rounds)
    spent = setting.spent(way, rounds)
    return {
        "converged": converged,
        "status": "converged" if converged else "diverged" if trial.failed else "given up",
        "rounds": rounds,
        "gap": trial.gap,
        **{goal: prices[goal].of(spent) for goal in GOALS},
        "took": time.perf_counter() - began,
    }


def _best(done: dict[str, Any], goal: str) -> tuple[str, float]:
    finished = {text: found[goal] for text, found in done["solved"].items() if found["converged"]}
    return min(finished.items(), key=lambda pair: pair[1], default=("", math.inf))


def _write(kept: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(exist_ok=True)
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(out)


def _finish(kept: dict[str, Any], out: Path) -> None:
    rows = []
    for title, done in kept["cases"].items():
        for goal in GOALS if _shown(done) else ():
            first, advice = done["advice"][goal]["rows"][0], done["advice"][goal]
            best, least = _best(done, goal)
            truth = done["solved"][first["way"]]
            ratio = truth[goal] / least if truth["converged"] else math.inf
            once = first["passes"]
            rows.append(
                (
                    title,
                    goal,
                    first["way"],
                    f"{first['rounds']:,.0f}",
                    f"{truth['rounds']:,.0f}",
                    best,
                    f"{ratio:.2f}×",
                    f"{len(done['solved'])} of {done['ways']}",
                    f"{advice['passes'] / once:.1f}",
                )
            )
    heads = (
        "",
        "goal",
        "advised",
        "rounds, expected",
        "rounds",
        "best of all",
        "advised ÷ best",
        "ways",
        "solves it took",
    )
    network = "100 Mb/s, 1 ms"
    notes = [
        f"to a relative gap of {TOL:g}; time: seconds on {network}, and the gradients' as measured",
        "ways: how many of the grid were solved or given up, those first that the advice has next",
        "solves it took: the advice's passes over the data, by those that the advised way is expected to need",
    ]
    kept["grids"] = [
        {"title": "Advised, and best of all", "heads": heads, "rows": rows, "ours": [], "notes": notes},
        _looseness(kept),
    ]
    _write(kept, out)


def _shown(done: dict[str, Any]) -> bool:
    """Whether what is advised was solved."""
    advised = {advice["rows"][0]["way"] for advice in done["advice"].values()}
    return len(done["advice"]) == len(GOALS) and advised <= set(done["solved"])


def _looseness(kept: dict[str, Any]) -> dict[str, Any]:
    """By how much theory's promises are above what trials expect, by method, each way of each case once."""
    off: dict[str, dict[tuple[str, str], float]] = {}
    for title, done in kept["cases"].items():
        for advice in done["advice"].values() if _shown(done) else ():
            for row in advice["rows"]:
                if row["basis"] == "trial" and row["promised"] is not None:
                    before, colon, _ = row["way"].partition(":")
                    method = (before if colon else row["way"]).partition("(")[0]
                    off.setdefault(method, {})[title, row["way"]] = row["promised"] / row["rounds"]
    rows = [
        (method, str(len(found)), *(f"{value:.1f}" for value in _spread(list(found.values()))))
        for method, found in sorted(off.items())
    ]
    heads = ("method", "trials", "least", "median", "most")
    notes = ["of trials that came to their end, at theory's step"]
    return {"title": "Rounds promised ÷ rounds expected", "heads": heads, "rows": rows, "ours": [], "notes": notes}


def _spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), median(values), max(values)


if __name__ == "__main__":
    main()
