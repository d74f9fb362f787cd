"""Whose momentum to switch off: an optimiser's own, when the workers average their gradients themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from thinwire._check import fault


@dataclass(frozen=True)
class _How:
    """Where an optimiser keeps its β, and whether it sums gradients, so that its steps are 1 / (1 − β) times as long as
    with their average."""

    key: str
    sums: bool = False

    def beta(self, group: dict[str, Any]) -> float:
        return float(group[self.key][0] if self.key == "betas" else group[self.key])

    def switch_off(self, group: dict[str, Any]) -> None:
        """In place. A product with 0 stays the number or the tensor that it was."""
        if self.sums:
            group["lr"] = group["lr"] / (1 - self.beta(group))
        value = group[self.key]
        group[self.key] = (value[0] * 0, *value[1:]) if self.key == "betas" else value * 0


KNOWN = {
    "SGD": _How("momentum", sums=True),
    "Muon": _How("momentum"),
    "Adam": _How("betas"),
    "AdamW": _How("betas"),
    "Adamax": _How("betas"),
    "RAdam": _How("betas"),
}
"""Optimisers of torch.optim whose momentum is, or takes the part of, an average of gradients."""

UNFIT = {
    "RMSprop": ("its momentum is of g / √v, and v is known only where all gradients meet", "Use Adam."),
    "NAdam": ("its β₁ changes from step to step, and it looks ahead", "Use AdamW."),
}
"""Optimisers of torch.optim whose momentum no worker can take over, why, and the way out."""


def take_momentum(*optimizers: Optimizer) -> float:
    """Switch off the momentum of optimisers, and give the β that the workers' own averages are to have instead.

    For `attach(…, momentum=β)`, before training and before a learning-rate scheduler is made. What becomes of the
    optimisers, v̂ being the running average m / (1 − β^t), m ← β m + (1 − β) g, that takes the gradients' place:

    - SGD sums, b ← β b + g, and b = m / (1 − β): its momentum is set to 0 and lr to lr / (1 − β). Steps are then as
      without local momentum, but for a factor 1 / (1 − β^t) at the start: m / (1 − β^t) is no shorter in the first
      steps than later. Begin with smaller learning rates if they are near what is stable.
    - Muon orthogonalises, so that no factor matters: its momentum is set to 0, and nothing else changes.
    - Adam, AdamW, Adamax and RAdam: β₁ is set to 0. Their second moments are then of averages, not of gradients; where
      noise prevails steps are √((1 + β) / (1 − β)) times as long. It is another optimiser: tune lr anew.

    Args:
        optimizers: all that train the model; each group of parameters with the same β, since there is one wire.

    Returns:
        β, for `attach` or `reduce_gradients_`.

    Raises:
        ValueError: a momentum that workers cannot take over (Nesterov's, dampened, cycled by a scheduler, of another
            optimiser), none at all, several that differ, or a scheduler that has noted the learning rate. Nothing has
            changed then.

    >>> import torch, thinwire as tw
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.05, momentum=0.75)
    >>> tw.take_momentum(optimizer), optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["lr"]
    (0.75, 0.0, 0.2)
    """
    listed = [(_how(optimizer), optimizer) for optimizer in optimizers]
    groups = [(how, group, type(optimizer)) for how, optimizer in listed for group in optimizer.param_groups]
    betas = {_takeable(how, group, kind.__name__) for how, group, kind in groups}
    if len(betas) != 1:
        way_out = "Give all groups of all optimisers one β."
        raise ValueError(fault("take_momentum", "the wire has one momentum for all parameters", sorted(betas), way_out))
    for how, group, _ in groups:
        how.switch_off(group)
    for how, optimizer in listed:
        how.switch_off(optimizer.defaults)  # of groups that are added later
    return betas.pop()


def _how(optimizer: Optimizer) -> _How:
    kind = type(optimizer)
    name, ours = kind.__name__, kind is getattr(torch.optim, kind.__name__, None)
    if ours and name in UNFIT:
        raise ValueError(fault(f"take_momentum({name})", *UNFIT[name][:1], None, UNFIT[name][1]))
    if not ours or name not in KNOWN:
        way_out = "Switch its momentum off, if it has one, and pass β yourself: attach(…, momentum=β)."
        raise ValueError(fault(f"take_momentum({name})", f"it knows {', '.join(KNOWN)}", kind.__qualname__, way_out))
    return KNOWN[name]


def _takeable(how: _How, group: dict[str, Any], name: str) -> float:
    """The β of a group, if workers can take it over."""
    where, beta = f"take_momentum({name})", how.beta(group)
    if beta == 0:
        way_out = "Pass a β of your choice: attach(…, momentum=0.9)."
        raise ValueError(fault(where, "there is no momentum to take", None, way_out))
    if group.get("nesterov"):
        rule = "Nesterov's step is of the average and the newest gradient, and only averages travel"
        raise ValueError(fault(where, rule, "nesterov=True", "Make the optimiser with nesterov=False."))
    if dampening := group.get("dampening"):
        rule, way_out = "sums are not dampened", "Let dampening=0, and lr be (1 − dampening) times as large."
        raise ValueError(fault(where, rule, f"dampening={dampening}", way_out))
    if "max_momentum" in group:
        rule = "a scheduler cycles the momentum and would switch it on again"
        raise ValueError(fault(where, rule, None, "Make the scheduler with cycle_momentum=False."))
    if how.sums and "initial_lr" in group:
        rule = "lr becomes lr / (1 − β), but a scheduler has noted what it was"
        raise ValueError(fault(where, rule, group["initial_lr"], "Call take_momentum before making the scheduler."))
    return beta
