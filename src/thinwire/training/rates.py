"""Learning rates: what an error that is remembered is worth when they change.

Error feedback pays back what it did not send, and what the model is owed is Σ γ g, the sum of its steps. The memory e_i
is kept in units of gradients, so that γ e_i is owed. Where γ changes, e_i ← e_i γ_before / γ_now keeps the debt what it
was, and the virtual iterate x − γ mean(e_i) takes exactly the steps that the gradients say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from thinwire.training.frames import Frame

LARGEST = 10.0
"""The most that a memory is multiplied by in one step. Schedules fall by a tenth at once; where a rate falls by more,
another training begins, in which debts of the old one, paid in full, would drown the gradients."""


@dataclass
class Rates:
    """Learning rates by parameter name: `now`, of the step under way, and `then`, of the last step that counted."""

    now: Mapping[str, float] = field(default_factory=dict)
    then: Mapping[str, float] = field(default_factory=dict)

    def factor(self, frame: Frame, device: torch.device) -> float | Tensor:
        """γ_then / γ_now: one number if it is the same for the whole frame, otherwise (d,).

        1 where either is unknown, and where γ_now is 0. After a step with γ = 0, which moved nothing, nothing is owed:
        what was to be paid in it is not paid later.
        """
        each = [self.ratio(slot.name) for slot in frame.slots]
        if len(set(each)) == 1:
            return each[0]
        parts = zip(frame.slots, each, strict=True)
        return torch.cat([torch.full((slot.size,), ratio, device=device) for slot, ratio in parts])

    def ratio(self, name: str) -> float:
        """γ_then / γ_now of one parameter, at most LARGEST; 1 where either is unknown, or γ_now is 0."""
        then, now = self.then.get(name), self.now.get(name)
        return min(then / now, LARGEST) if then is not None and now else 1.0

    def counted(self) -> None:
        """The step counts: what is remembered from now on is in its units."""
        self.then = self.now


def rates_of(optimizers: Optimizer | Iterable[Optimizer], names: Mapping[int, str]) -> dict[str, float]:
    """The learning rate of each parameter that has a name here, given as {id of the parameter: its name}.

    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.2}], lr=0.1)
    >>> rates_of(optimizer, {id(p): name for name, p in model.named_parameters()})
    {'weight': 0.1, 'bias': 0.2}
    """
    listed = [optimizers] if isinstance(optimizers, Optimizer) else optimizers
    return {
        names[id(p)]: float(group["lr"])
        for optimizer in listed
        for group in optimizer.param_groups
        for p in group["params"]
        if id(p) in names
    }
