"""What might earn a place in the library: tried here, on AdamW alone, before any of it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY, BETA2, EPSILON = 0.1, 0.95, 1e-8


class FrozenAdam(torch.optim.Optimizer):
    """1-bit Adam's rule: x ← x − γ (m / (√v + ε) + 0.1 x), where v is no longer learned after `until` steps.

    What stands in the gradients' place is m, the workers' running averages. v is of the gradients themselves, which
    travel whole until then. Source: Tang et al., "1-bit Adam" (ICML 2021).
    """

    def __init__(self, model: nn.Module, rate: float, until: int) -> None:
        super().__init__(model.parameters(), {"lr": rate})
        self.until, self.t = until, 0
        self.v = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        self.names = {p: name for name, p in model.named_parameters()}

    def see(self, each: dict[str, Tensor]) -> None:
        """The gradients of a step, (n, *shape) each."""
        if self.t < self.until:
            for name, v in self.v.items():
                v.lerp_(each[name].mean(0).square(), 1 - BETA2)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        """One step along m."""
        self.t += 1
        corrected = 1 - BETA2 ** min(self.t, self.until)
        for group in self.param_groups:
            for p in group["params"]:
                scale = (self.v[self.names[p]] / corrected).sqrt_().add_(EPSILON)
                p.mul_(1 - group["lr"] * DECAY).addcdiv_(p.grad, scale, value=-group["lr"])
