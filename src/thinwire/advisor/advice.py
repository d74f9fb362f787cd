"""Which way to communicate: facts in, a ranking with reasons out; the command is in `advise_cli`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from thinwire._check import call, fault, one_of
from thinwire.advisor.extra_steps import NONE, Extra, from_gradients, from_theory
from thinwire.advisor.facts import Network, Workload
from thinwire.advisor.findings import Candidate, Gradients, Probe
from thinwire.advisor.host import Host, Site
from thinwire.advisor.predict import Choice, Prediction, predict_step
from thinwire.advisor.steps import ByLink, PowerSgd
from thinwire.link import Link
from thinwire.lowrank import LowRank
from thinwire.report.values import finite
from thinwire.spec import parse_sender, to_text

GOALS = ("time", "bytes", "safe")
PROPOSALS = (
    "ddp",
    "fp16",
    "powersgd4",
    "dcgd(rotated(bits=3))",
    "dcgd(dither(bits=4))",
    "diana(rotated(bits=1)), momentum 0.9",
    "diana(randk(0.1, block=256) >> rotated(bits=1)), momentum 0.9",
    "ef14(topk(0.01))",
)
"""What is compared unless something else is asked for, the simplest first."""
CLEAR = 1.05
"""What is within this factor of the best is as good: of such, the simplest is recommended."""
SAFE = 1.1
"""The most steps, as times those of the exact mean, that a safe choice may need."""
RATES = tuple(10 ** (exponent / 4) for exponent in range(-8, 9))
"""Factors of the bandwidth at which the verdict is looked at again."""
ALIKE = {"fp16": "dcgd(float16())", "bf16": "dcgd(bfloat16())"}
"""Links whose codes have the range of a hook's numbers: where gradients are too large for the one, so for the other."""
_MOMENTUM = re.compile(r"(.*\S)\s*,\s*momentum\s+(\S+)\s*")


@dataclass(frozen=True)
class Proposal:
    """A way to communicate, and the local momentum that goes with it.

    >>> Proposal.parse("diana(rotated(1)), momentum 0.9").name
    'diana(rotated(bits=1)), momentum 0.9'
    """

    choice: Choice
    momentum: float | None = None

    @classmethod
    def parse(cls, text: str) -> Proposal:
        """What `thinwire bench step` calls a method, or a link, or 'LINK, momentum β'.

        Raises:
            ValueError: it is none of these.
        """
        match = _MOMENTUM.fullmatch(text)
        if match is None:
            return cls(_named(Choice.parse(text)))
        try:
            beta = float(match[2])
        except ValueError:
            beta = math.nan
        choice = _named(Choice.parse(match[1], momentum=True))
        if not 0 <= beta < 1 or not choice.ours:
            raise ValueError(fault(f"choice {text!r}", "momentum, of a link, is 0 or more and below 1", match[2]))
        return cls(choice, beta)

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        return self.choice.name if self.momentum is None else f"{self.choice.name}, momentum {self.momentum:g}"

    @property
    def sender(self) -> Link | LowRank | None:
        """What its errors are those of; None where it is exact, or as good as that."""
        match self.choice.way:
            case ByLink(link):
                return link
            case PowerSgd(rank):
                return LowRank(rank)
        return None


def _named(choice: Choice) -> Choice:
    return replace(choice, name=to_text(choice.way.link)) if isinstance(choice.way, ByLink) else choice


@dataclass(frozen=True)
class Option:
    """A proposal, and what it is to cost.

    Args:
        name: as `Proposal.parse` reads it.
        step: the predicted step.
        extra: steps to the same loss; None: not known, and then never recommended.
        loss_time: seconds of a step times the steps that are expected, against DDP's all-reduce of float32: what the
            same loss takes; None where the steps are not known.
        loss_bytes: the same of the bytes sent.
    """

    name: str
    step: Prediction
    extra: Extra | None
    loss_time: float | None
    loss_bytes: float | None

    def cost(self, goal: str) -> float:
        """What the goal makes least; infinite where it is not known, or not safe where that is wanted."""
        if self.extra is None or math.isinf(self.extra.high) or (goal == "safe" and self.extra.high > SAFE):
            return math.inf
        each = self.step.sent if goal == "bytes" else self.step.seconds
        return each * (self.extra.high if goal == "safe" else self.extra.expected)


@dataclass(frozen=True)
class Advice:
    """A ranking, and what would change it.

    Args:
        goal: one of `GOALS`.
        options: the recommended one first, then by cost; those of which the cost is not known last.
        turns: (bandwidth in bytes a second, name): from this bandwidth on, that one is recommended. Ascending; the
            first begins at 0.
        bandwidth: of the site.
        workers: how many.

    >>> from thinwire.advisor import Machine, Network, Probe, Workload, advise
    >>> probe = Probe(4, Network(bandwidth=1e12), Machine(), Workload.even(1e6, compute=1.0))
    >>> advice = advise(probe, proposals=["fp16"])
    >>> advice.first.name, advice.compress, [option.name for option in advice.options]
    ('ddp', False, ['ddp', 'fp16'])
    """

    goal: str
    options: tuple[Option, ...]
    turns: tuple[tuple[float, str], ...]
    bandwidth: float
    workers: int

    @property
    def first(self) -> Option:
        """What is recommended."""
        return self.options[0]

    @property
    def dense(self) -> Option:
        """DDP's own all-reduce of float32."""
        return next(option for option in self.options if option.name == "ddp")

    @property
    def compress(self) -> bool:
        """Whether it pays to send fewer bits than float32 or float16."""
        return self.first.name not in ("ddp", "fp16", "bf16")

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it: what is infinite is null."""
        told: dict[str, Any] = finite(asdict(self))
        return told | {"recommended": self.first.name, "compress": self.compress}


def advise(probe: Probe, *, goal: str = "time", proposals: Sequence[str] = PROPOSALS) -> Advice:
    """Rank ways to communicate by what they are to cost until the same loss is reached.

    1. Predict a step of each (`predict_step`). 2. Multiply by the steps that it is expected to need (`Extra`): as tried
    on gradients, if the probe saw some, else by theory. 3. Of those within 5 % of the least cost, recommend the one
    that stands first in `proposals`, where DDP's all-reduce always is the very first. 4. Look where else on the
    scale of bandwidths the recommendation would change.

    Args:
        probe: the facts; it must have a workload.
        goal: "time" to the same loss; "bytes" to the same loss; "safe": time, among what needs at most 1.1 times the
            steps even at the upper end of its range.
        proposals: what is compared, the simplest first: `Proposal.parse`.

    Raises:
        ValueError: an unknown goal or proposal, one given twice, or a probe without a workload.

    >>> from dataclasses import replace
    >>> from thinwire.advisor import Probe, Workload, reference
    >>> known = reference()
    >>> links = replace(known.network, bandwidth=12.5e6, latency=1e-3)
    >>> probe = Probe(4, links, replace(known.machine, cores=8), Workload.even(parameters=25e6, compute=0.25))
    >>> advice = advise(probe)
    >>> advice.compress, advice.first.step.seconds < advice.dense.step.seconds / 3
    (True, True)
    """
    one_of(call("advise", goal=goal), "goal", goal, GOALS)
    if probe.workload is None:
        way_out = "Probe with a model (thinwire probe --script train.py), or say its size and how long a step computes."
        raise ValueError(fault("advise(probe)", "the probe has a workload", None, way_out))
    made = [Proposal.parse(text) for text in ("ddp", *proposals)]
    if made[0] in made[1:]:
        del made[0]
    names = [proposal.name for proposal in made]
    if len(set(names)) < len(names):
        raise ValueError(fault("advise(proposals=…)", "each choice is given once", names))
    bandwidth = probe.network.bandwidth
    options = _ranked(made, probe, probe.workload, goal, probe.network)
    return Advice(goal, options, _turns(made, probe, probe.workload, goal), bandwidth, probe.workers)


def _ranked(
    made: Sequence[Proposal], probe: Probe, workload: Workload, goal: str, network: Network
) -> tuple[Option, ...]:
    site = Site(probe.workers, network, probe.machine, workload)
    options = _options(made, site, probe.gradients)
    best = min(option.cost(goal) for option in options)
    first = next(option for option in options if option.cost(goal) <= CLEAR * best)
    rest = sorted((option for option in options if option is not first), key=lambda option: option.cost(goal))
    return first, *rest


def _options(made: Sequence[Proposal], site: Site, gradients: Gradients | None) -> list[Option]:
    """In the order of the proposals."""
    found = [
        (proposal.name, predict_step(proposal.choice, site), _extra(proposal, site, gradients)) for proposal in made
    ]
    dense = next(step for name, step, _ in found if name == "ddp")
    options = []
    for name, step, extra in found:
        if extra is None:
            options.append(Option(name, step, None, None, None))
        else:
            time, size = step.seconds / dense.seconds, step.sent / dense.sent if dense.sent else 1.0
            options.append(Option(name, step, extra, extra.expected * time, extra.expected * size))
    return options


def _extra(proposal: Proposal, site: Site, gradients: Gradients | None) -> Extra | None:
    sender = proposal.sender
    if sender is None:
        alike = gradients and next((one for one in gradients.candidates if one.link == ALIKE.get(proposal.name)), None)
        return Extra.of(math.inf, source="too large for it") if alike and math.isinf(alike.error) else NONE
    tried = gradients and next((one for one in gradients.candidates if _same(one, proposal, sender)), None)
    if gradients and tried:
        return from_gradients(gradients, tried, sender)
    if isinstance(sender, LowRank) or not isinstance(proposal.choice.way, ByLink):
        return None
    frames = proposal.choice.way.frames(Host(site))
    largest = max(frames, key=lambda frame: frame.values)
    return from_theory(sender, site.workers, largest.values, sharded=largest.route == "sharded")


def _same(tried: Candidate, proposal: Proposal, sender: Link | LowRank) -> bool:
    return tried.momentum == proposal.momentum and parse_sender(tried.link) == sender


def _turns(made: Sequence[Proposal], probe: Probe, workload: Workload, goal: str) -> tuple[tuple[float, str], ...]:
    """From which bandwidth on what is recommended; to 5 %, and only what differs between two of the rates looked at."""

    def first(rate: float) -> str:
        return _ranked(made, probe, workload, goal, replace(probe.network, bandwidth=rate))[0].name

    middle = probe.network.bandwidth if math.isfinite(probe.network.bandwidth) else 125e6
    looked = [(middle * factor, first(middle * factor)) for factor in RATES]
    turns = [(0.0, looked[0][1])]
    for (low, _), (end, last) in pairwise(looked):
        while turns[-1][1] != last:  # there may be a third between two
            high = end
            while high > 1.05 * low:
                between = math.sqrt(low * high)
                low, high = (between, high) if first(between) == turns[-1][1] else (low, between)
            turns.append((high, last if high == end else first(high)))
            low = high
    return tuple(turns)
