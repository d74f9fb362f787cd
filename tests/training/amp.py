"""What the processes of a fleet run for the tests of mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import thinwire as tw

from . import jobs


def autocast(dtype: torch.dtype | None) -> AbstractContextManager[None]:
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype)


def train(
    rank: int,
    size: int,
    link: str | None,
    *,
    steps: int = 6,
    scaler: dict[str, Any] | None = None,
    cast: torch.dtype | None = None,
    attach: dict[str, Any] | None = None,
    infs: tuple[tuple[int, int], ...] = (),
    clip: float | None = None,
    accumulate: int = 1,
    functional: bool = False,
) -> dict[str, Any]:
    """Train as PyTorch's AMP recipe says; `infs` are (rank, step) pairs in which a gradient overflows there."""
    torch.manual_seed(1)
    net = jobs.Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    model = net if functional else DistributedDataParallel(net)
    scale = GradScaler("cpu", **(scaler or {"enabled": False}))
    wire, memory, group = None, tw.LinkMemory(), tw.ProcessGroup() if functional else None
    if link is not None and not functional:
        wire = tw.attach(model, link, scaler=None if scaler is None else scale, **(attach or {}))
    seen: list[Tensor] = []
    norms: list[Tensor] = []
    scales: list[float] = []
    skipped: list[int] = []
    for step in range(steps):
        for part in range(accumulate):
            last = part == accumulate - 1
            with nullcontext() if last or functional else model.no_sync():
                with autocast(cast):
                    loss = model(jobs.data(rank, step * accumulate + part)).square().mean() / accumulate
                if (rank, step) in infs and part == 0:
                    loss = loss * float("inf")
                scale.scale(loss).backward()
        if functional:
            assert link is not None
            tw.reduce_gradients_(net.named_parameters(), link, memory, group, scaler=scale)
        scale.unscale_(optimizer)
        if clip is not None:
            norms.append(nn.utils.clip_grad_norm_(net.parameters(), clip))
        seen.append(jobs.gradients(net))
        before = jobs.weights(net)
        scale.step(optimizer)
        scale.update()
        if bool((jobs.weights(net) == before).all()):
            skipped.append(step)
        optimizer.zero_grad()
        scales.append(scale.get_scale())
    result = {"gradients": seen, "weights": jobs.weights(net), "scales": scales, "skipped": skipped, "norms": norms}
    if wire is not None:
        result |= {"stats": wire.stats(), "memory": wire.state_dict()}
        wire.close()
    return result


def train_with(rank: int, size: int, link: str | None, options: dict[str, Any]) -> dict[str, Any]:
    return train(rank, size, link, **options)


def two_models_one_scaler(rank: int, size: int, link: str, scaled: bool) -> list[dict[str, Any]]:
    """Both forward passes come first; between the backward passes the scale changes, after every step."""
    scale = GradScaler("cpu", init_scale=2.0**8, growth_interval=1, enabled=scaled)
    pairs = [jobs.build() for _ in range(2)]
    wires = [tw.attach(model, link, scaler=scale) for _, model in pairs]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.5) for net, _ in pairs]
    for step in range(4):
        losses = [model(jobs.data(rank, step)).square().mean() for _, model in pairs]
        for loss, optimizer in zip(losses, optimizers, strict=True):
            scale.scale(loss).backward()
            scale.step(optimizer)
            scale.update()
            optimizer.zero_grad()
    results = [
        {"weights": jobs.weights(net), "memory": wire.state_dict()} for (net, _), wire in zip(pairs, wires, strict=True)
    ]
    for wire in wires:
        wire.close()
    return results


class Checkpointed(nn.Module):
    """A net whose middle is computed anew in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.middle, self.last = (nn.Linear(64, 64) for _ in range(3))
        self._reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = checkpoint(lambda y: torch.tanh(self.middle(y)), x, use_reentrant=self._reentrant)
        return self.last(x)


def checkpointed(rank: int, size: int, link: str, reentrant: bool, scaled: bool, twice: bool) -> dict[str, Any]:
    """Forward, once or twice, then one backward pass; a scale that grows with every step."""
    torch.manual_seed(1)
    net = Checkpointed(reentrant)
    model = DistributedDataParallel(net)
    scale = GradScaler("cpu", init_scale=2.0**8, growth_interval=1, enabled=scaled)
    wire = tw.attach(model, link, scaler=scale)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for step in range(4):
        loss = model(jobs.data(rank, step)).square().mean()
        if twice:
            loss = loss + model(jobs.data(rank, 100 + step)).square().mean()
        scale.scale(loss).backward()
        scale.step(optimizer)
        scale.update()
        optimizer.zero_grad()
    result = {"weights": jobs.weights(net), "memory": wire.state_dict()}
    wire.close()
    return result


def half_model(rank: int, size: int, link: str | None, dtype: torch.dtype) -> list[Tensor]:
    """The gradients of a model whose parameters are in half precision."""
    net, model = jobs.build(dtype)
    wire = None if link is None else tw.attach(model, link)
    seen = []
    for step in range(3):
        net.zero_grad()
        model(jobs.data(rank, step, dtype)).float().square().mean().backward()
        assert all(p.grad is not None and p.grad.dtype == dtype for p in net.parameters())
        seen.append(jobs.gradients(net))
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.5 * p.grad
    if wire is not None:
        wire.close()
    return seen


def auto_with_scaler(rank: int, size: int) -> bool:
    """Whatever "auto" attaches, a scaler is welcome."""
    net, model = jobs.build()
    scale = GradScaler("cpu")
    wire = tw.attach(model, scaler=scale)
    scale.scale(model(jobs.data(rank, 0)).square().mean()).backward()
    wire.close()
    return bool(jobs.gradients(net).isfinite().all())
