"""What `thinwire bench step` does: contenders, model, network, and how long anything may take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from thinwire._check import call, fault, in_range, one_of
from thinwire.bench.contenders import Contender
from thinwire.bench.sleep import Sleeping
from thinwire.bench.workload import MODELS, Teaching, Workload, Writing
from thinwire.lab.rate import parse_rate

TURN = 4
"""Steps of a contender's turn. The first is not timed: it finds the caches full of another contender's numbers."""
WARM_UP = 2
"""Rounds at the start that are not timed: buckets are built, PowerSGD sends everything, links learn."""
PATIENCE = 60.0
"""Seconds that a turn may take whatever it sends and computes."""


@dataclass(frozen=True)
class StepPlan:
    """One race: all contenders, on so many hosts, each host one process that holds a replica for every contender.

    `steps` is how many steps each contender trains, `params` how many parameters the perceptron is to have about,
    `sleep_ms` what replaces a step's compute.

    >>> plan = StepPlan((Contender("ddp", "ddp"), Contender("fp16", "fp16")), hosts=2, rate="1gbit", steps=16)
    >>> plan.rounds, [contender.name for contender in plan.order(1)]
    (4, ['fp16', 'ddp'])
    """

    contenders: tuple[Contender, ...]
    hosts: int
    rate: str
    model: str = "mlp"
    steps: int = 80
    params: int | None = None
    sleep_ms: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        in_range(call("bench step", hosts=self.hosts), "hosts", self.hosts, 2, 64)
        in_range(call("bench step", steps=self.steps), "steps", self.steps, (WARM_UP + 1) * TURN, 100_000)
        one_of(call("bench step", model=self.model), "model", self.model, MODELS)
        parse_rate(self.rate)
        if self.params is not None:
            where = call("bench step", params=self.params)
            if self.model != "mlp":
                raise ValueError(fault(where, "only the mlp comes in sizes", self.model, "Leave --params out."))
            in_range(where, "params", self.params, 1_000, 2_000_000_000)
        if self.sleep_ms is not None:
            in_range(call("bench step", sleep_compute=self.sleep_ms), "milliseconds", self.sleep_ms, 0, 60_000)

    @property
    def rounds(self) -> int:
        """Rounds of one turn for each contender; the last steps that fill no turn are left out."""
        return self.steps // TURN

    def order(self, round_: int) -> Iterator[Contender]:
        """The contenders as they take turns in a round: everyone is first now and then."""
        first = round_ % len(self.contenders)
        yield from self.contenders[first:] + self.contenders[:first]

    def workload(self, rank: int) -> Workload:
        """What one worker computes."""
        of: Workload
        if self.model == "gpt":
            of = Writing(self.rounds * TURN, self.seed)
        else:
            of = Teaching(self.rounds * TURN, self.params or Teaching.params, self.seed)
        return of if self.sleep_ms is None else Sleeping(of, self.sleep_ms / 1000, rank)

    def turn_limit(self, parameters: int) -> float:
        """Seconds after which a turn is taken to hang: ten times what sending everything dense would take, and more."""
        bits = parse_rate(self.rate)
        dense = 0.0 if bits is None else 8 * 8 * parameters / bits
        return PATIENCE + 10 * TURN * (dense + (self.sleep_ms or 0.0) / 1000)

    def as_json(self) -> str:
        """The plan as the argument of its workers."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StepPlan:
        """The plan that `as_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "contenders": tuple(Contender(**made) for made in values["contenders"])})
