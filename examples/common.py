"""What the examples share: their data, runs of several methods on one problem, and the record of them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

import thinwire as tw
from thinwire.convex.data import Data, bundled, load
from thinwire.report.convergence import convergence
from thinwire.report.grid import Grid
from thinwire.report.provenance import provenance

ROOT = Path(__file__).parents[1]
HOME = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/"
console = Console()


@dataclass(frozen=True)
class Entry:
    """A row of a table: what it is called, its link, and what else is given to `solve`."""

    label: str
    link: str
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One problem and what became of the entries."""

    title: str
    optimum: float
    found: Sequence[tuple[Entry, tw.Solution]]


def arguments(description: str | None) -> argparse.Namespace:
    """The command line that all examples have."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder with the LIBSVM files; else a data set of scikit-learn")
    parser.add_argument("--save", action="store_true", help="write examples/results and docs/images")
    return parser.parse_args()


def data(folder: Path | None, name: str) -> tuple[str, Data]:
    """The LIBSVM file of that name, packed or not; without a folder breast_cancer, so that every example runs."""
    if folder is None:
        return "breast_cancer", bundled("breast_cancer")
    for ending in ("", ".xz", ".bz2", ".gz", ".txt"):
        if (folder / f"{name}{ending}").is_file():
            return name, load(folder / f"{name}{ending}")
    raise SystemExit(f"{folder} has no {name}: a LIBSVM data set, to be had from {HOME}")


def conditioned(A: Any, b: Any, kappa: float) -> tw.FiniteSum:
    """A logistic loss with μ = L/κ: if the loss alone has L', then l2 (κ − 1) = L'."""
    alone = tw.predict(tw.LogisticLoss(A, b), link=tw.dcgd(tw.Identity())).constants.smoothness
    return tw.LogisticLoss(A, b, l2=alone / (kappa - 1))


def optimum(problem: tw.FiniteSum, penalty: tw.Penalty | None = None) -> float:
    """min P as Nesterov's method finds it, nothing compressed."""
    link = tw.dcgd(tw.Identity(bits=64))
    found = tw.solve(problem, penalty=penalty, link=link, rule=tw.Nesterov(), tol=1e-14, max_rounds=20_000)
    console.print(f"{problem}: min P = {found.certificate.value:.12g}, by duality to {found.certificate.gap:.1g}")
    return found.certificate.value


def run(problem: tw.FiniteSum, entries: Sequence[Entry], **common: Any) -> list[tuple[Entry, tw.Solution]]:
    """Every entry, one after the other."""
    made = []
    for entry in entries:
        with console.status(entry.label):
            solution = tw.solve(problem, link=tw.parse_link(entry.link), **{**common, **entry.more})
        made.append((entry, solution))
        how = f"{solution.status.name.lower()}, {solution.rounds:,} rounds, {solution.seconds:.1f} s"
        console.print(f"{entry.label}: {how}", highlight=False)
    return made


def distance(solution: tw.Solution, optimum: float) -> float:
    """(P(x) − min P) / (P(x⁰) − min P)."""
    values = [moment.value for moment in solution.history]
    return (values[-1] - optimum) / (values[0] - optimum)


def short(value: float) -> str:
    """A relative gap; what is below rounding has no meaning."""
    return f"{value:.1e}" if value > 1e-15 else "< 1e-15"


def finish(
    name: str, grids: Sequence[Grid], results: Sequence[Result], save: bool, drawn: Mapping[str, str] | None = None
) -> None:
    """Print the tables; with `save`, write examples/results/NAME.json and a picture of each problem.

    The histories are in the pictures only. `drawn` has other pictures, SVG by title, of data that were made for it.
    """
    for grid in grids:
        grid.print(console)
    if not save:
        return
    data = [] if drawn else ["--data", "DIR"]
    command = shlex.join(["python", f"examples/{Path(sys.argv[0]).name}", *data, "--save"])
    kept: dict[str, Any] = {
        "schema": 1,
        "command": command,
        "provenance": provenance(),
        "grids": [
            {"title": grid.title, "heads": grid.heads, "rows": grid.rows, "ours": grid.ours, "notes": grid.notes}
            for grid in grids
        ],
        "images": [],
        "runs": [
            {"problem": result.title, "label": entry.label, "link": entry.link, **found.as_dict(), "history": None}
            for result in results
            for entry, found in result.found
        ],
    }
    pictures = dict(drawn or {})
    for result in results:
        curves = {entry.label: solution.curve for entry, solution in result.found}
        pictures[result.title] = convergence(curves, result.optimum)
    for number, (title, svg) in enumerate(pictures.items()):
        image = f"example-{name}{f'-{number + 1}' if len(pictures) > 1 else ''}.svg"
        (ROOT / "docs" / "images" / image).write_text(svg, encoding="utf-8")
        kept["images"].append({"file": image, "title": title})
    file = ROOT / "examples" / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"Written: {file.relative_to(ROOT)}")
