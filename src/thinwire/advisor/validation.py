"""Predicted against measured: every contender of `thinwire bench step`, from the JSON that it wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import median
from typing import Any

from thinwire.advisor.calibration import Calibration
from thinwire.advisor.facts import Machine, Workload
from thinwire.advisor.findings import Probe
from thinwire.advisor.host import Site
from thinwire.advisor.plan import COPY
from thinwire.advisor.predict import Choice, Prediction, predict_step
from thinwire.report.grid import Grid

APART = 1.2
"""Step times further apart than this factor are to be ranked right."""
LAYERS = 7
"""Of the perceptron in `thinwire bench step`."""
TRIAL = re.compile(r"(?:: |, )([\w()=, ]+?) ([\d.]+) s")
MARGIN = 1.05
"""`auto` takes the first trial that is within this factor of the fastest."""
DECIDED = re.compile(r"step \d+: auto: (.+?) (?:is the|stays)")
"""How a decision begins in the notes of `auto`; before it could decide anew there were trials in them."""
DTYPES = {"float32": "ddp", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Compared:
    """One contender: what it is called, what was measured, what is predicted."""

    run: str
    name: str
    measured: float
    predicted: Prediction
    shaped: bool

    @property
    def error(self) -> float:
        """(predicted − measured) / measured."""
        return self.predicted.seconds / self.measured - 1

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "error": self.error}


def compare(results: Mapping[str, Any], calibration: Calibration) -> list[Compared]:
    """Every contender that communicates and got to its end, of every run of one JSON."""
    cores = results["provenance"]["cores"]
    return [found for run in results["runs"] for found in _compared(run, site_of(run, cores, calibration))]


def compare_probed(results: Mapping[str, Any], probes: Mapping[int, Probe]) -> list[Compared]:
    """The same by what a probe found of the same links, by number of hosts, right before the race."""
    return [found for run in results["runs"] for found in _compared(run, probed_site(run, probes[run["hosts"]]))]


def _compared(run: Mapping[str, Any], site: Site) -> Iterator[Compared]:
    rate = "unshaped" if run["rate"] is None else f"{run['rate'] / 1e6:g} Mb/s"
    sleeps = run["arguments"]["sleep_ms"]
    title = f"{run['hosts']} hosts, {rate}, {run['parameters'] / 1e6:.1f} M" + f", sleeps {sleeps or 0:g} ms" * bool(
        sleeps
    )
    for made in run["contenders"]:
        if made["failure"] is None and made["method"] is not None:
            text = _chosen(made["notes"]) if made["link"] == "auto" else made["link"] or made["name"]
            predicted = predict_step(Choice.parse(text, momentum=made["momentum"] is not None), site)
            name = made["name"] if text == made["name"] else f"{made['name']}: {text}"
            yield Compared(title, name, made["seconds"]["median"], predicted, run["rate"] is not None)


def site_of(run: Mapping[str, Any], cores: int, calibration: Calibration) -> Site:
    """The site of a race: its links, its part of the machine, and what its steps take without a network (`local`)."""
    machine = replace(calibration.machine, cores=cores).shared_by(run["hosts"])
    bandwidth = math.inf if run["rate"] is None else run["rate"] / 8
    return Site(run["hosts"], replace(calibration.network, bandwidth=bandwidth), machine, _workload(run, machine))


def probed_site(run: Mapping[str, Any], probe: Probe) -> Site:
    """The site as a probe found it."""
    return Site(run["hosts"], probe.network, probe.machine, _workload(run, probe.machine))


def _workload(run: Mapping[str, Any], machine: Machine) -> Workload:
    """What its steps take without a network: what `local` took, or what its layers sleep."""
    sleeps = run["arguments"]["sleep_ms"]
    shapes = [(round(math.sqrt(run["parameters"] / LAYERS)),) * 2] * LAYERS
    if sleeps is None:
        local = next(made for made in run["contenders"] if made["name"] == "local")
        return Workload.layered(shapes, local["seconds"]["median"] * min(1.0, machine.cores), on_host=True)
    return Workload.layered(shapes, sleeps / 1000, handling=COPY * machine.memory)


def _chosen(notes: Sequence[str]) -> str:
    """What `auto` took in the end, from its notes."""
    decided = [match[1] for note in notes if (match := DECIDED.match(note))]
    if decided:
        return DTYPES.get(decided[-1], decided[-1])
    trials = next(TRIAL.findall(note) for note in notes if note.startswith("auto, by trials"))
    fastest = min(float(seconds) for _, seconds in trials)
    name: str = next(name for name, seconds in trials if float(seconds) <= MARGIN * fastest)
    return DTYPES.get(name, name.lower())


@dataclass(frozen=True)
class Verdict:
    """How good predictions were.

    Args:
        median_error: of the sizes of the relative errors.
        largest: the largest of them.
        pairs: contenders of one run whose measured times are further apart than `APART`.
        ranked: those of them that are predicted in that order.
    """

    count: int
    median_error: float
    largest: float
    pairs: int
    ranked: int

    @classmethod
    def of(cls, compared: Sequence[Compared]) -> Verdict:
        """The verdict on some comparisons; at least one."""
        errors = [abs(one.error) for one in compared]
        pairs = [
            sorted(two, key=lambda one: one.measured) for two in combinations(compared, 2) if two[0].run == two[1].run
        ]
        apart = [(low, high) for low, high in pairs if high.measured > APART * low.measured]
        right = sum(low.predicted.seconds < high.predicted.seconds for low, high in apart)
        return cls(len(errors), median(errors), max(errors), len(apart), right)


def predicted_grid(compared: Sequence[Compared]) -> Grid:
    """Every step, measured and predicted."""
    rows = [
        (one.run, one.name, f"{1e3 * one.measured:.0f}", f"{1e3 * one.predicted.seconds:.0f}", f"{one.error:+.0%}")
        for one in compared
    ]
    return Grid("Training steps", ("", "choice", "measured, ms", "predicted, ms", "error"), rows)


def verdict_grid(compared: Sequence[Compared]) -> Grid:
    """How good the predictions of each race are, and of all; those of links without a rate apart."""
    shaped = [one for one in compared if one.shaped]
    named = {run: [one for one in compared if one.run == run] for run in dict.fromkeys(one.run for one in compared)}
    rows = []
    for name, ones in {**named, "all links with a rate": shaped, "all": list(compared)}.items():
        if ones:
            found = Verdict.of(ones)
            pairs = f"{found.ranked} of {found.pairs}"
            rows.append((name, str(found.count), f"{found.median_error:.0%}", f"{found.largest:.0%}", pairs))
    heads = ("", "choices", "median error", "largest", f"pairs over {APART:g}× apart, ranked right")
    return Grid("How good the predictions are", heads, rows, ours=("all",))
