"""What a rule is told, and what it makes: the method of one run, which goes from round to round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from thinwire.comm import Group
from thinwire.compressors import Identity
from thinwire.convex.draws import Draws
from thinwire.convex.objective import Objective
from thinwire.convex.oracles import Record, Source
from thinwire.convex.penalties import Penalty
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.convex.wire import Traffic, Wire
from thinwire.link import Link
from thinwire.theory import Plan


@dataclass(frozen=True, eq=False)
class Run:
    """All that a method needs for one run.

    Args:
        objective: the f_i of this process' workers.
        penalty: R.
        features: the coordinates that it penalises: all but intercepts.
        x: where to begin, (d,).
        case, plan: the theorem's assumptions, and what follows from them.
        group, draws, traffic: who, by what chance, at what cost.
    """

    objective: Objective
    penalty: Penalty
    features: slice
    x: Array
    case: Case
    plan: Plan
    group: Group
    draws: Draws
    traffic: Traffic

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float32 if self.x.dtype == "float32" else torch.float64

    def prox(self, x: Array, step: float) -> Array:
        """prox_{step · R}(x), of the penalised coordinates."""
        made = x.copy()
        made[self.features] = self.penalty.prox(x[self.features], step)
        return made

    def source(self) -> Source:
        """The run's gradients."""
        return self.case.oracle.start(self.objective, self.x, self.draws)

    def wire(self, tensor: int = 0, link: Link | None = None) -> Wire:
        """What the workers send by: the run's link with the plan's numbers, or another one as it is."""
        own = ("lam", "a", "nu", *(("p",) if self.case.probability else ()))  # otherwise p is the oracle's
        more = {name: self.plan.more[name] for name in own if name in self.plan.more}
        return Wire(
            link or self.case.link,
            self.objective.d,
            self.group,
            self.traffic,
            dtype=self.torch_dtype,
            seed=self.draws.seed,
            tensor=tensor,
            recursion=None if link else more,
        )


class Method(ABC):
    """A rule at work: `x` is the same on all workers.

    `round` is one communication round, whatever else it does; the bytes are counted where they are sent, and a method
    whose server answers otherwise than by the whole iterate counts them itself.
    """

    x: Array

    @abstractmethod
    def round(self, k: int) -> None:
        """From one iterate to the next."""

    @abstractmethod
    def state_dict(self) -> Record:
        """All that is remembered."""

    @abstractmethod
    def load_state_dict(self, state: Record) -> None:
        """Go on from there."""


class Rule(ABC):
    """A frozen description of what a server does with the mean of what it hears."""

    usual: str = "diana(rotated(bits=1))"
    """The link that it takes where none is given, as text."""
    answers: bool = True
    """Whether a server would send the whole iterate down in each round; others count their own messages."""

    def bytes_up(self, case: Case) -> float:
        """What a worker says in a round, on average."""
        compressor, p = case.link.compressor, case.probability
        return (1 - p) * compressor.nbytes(case.d) + p * Identity(bits=64).nbytes(case.d)

    @abstractmethod
    def plan(self, case: Case) -> Plan:
        """The theorem that covers the case, its step and its rate.

        Raises:
            ValueError: none does.
        """

    @abstractmethod
    def start(self, run: Run) -> Method:
        """The method of a run."""
