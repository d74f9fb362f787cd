"""What the processes of a fleet run: small trainings, whose results are compared in the tests."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw


class Net(nn.Module):
    """Two matrices large enough to be compressed, biases, and a tied and an often unused layer."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.first.weight
        self.extra = nn.Linear(width, width)

    def forward(self, x: Tensor, use_extra: bool = True) -> Tensor:
        x = self.tied(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return self.extra(x) if use_extra else x


def build(dtype: torch.dtype = torch.float32, **ddp: Any) -> tuple[Net, DistributedDataParallel]:
    torch.manual_seed(1)
    net = Net().to(dtype)
    return net, DistributedDataParallel(net, **ddp)


def data(rank: int, step: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return torch.randn(16, 64, generator=generator).to(dtype)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1).to(torch.float64) for p in net.parameters()])


def gradients(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.reshape(-1).to(torch.float64) for p in net.parameters() if p.grad is not None])


def train(
    rank: int,
    size: int,
    link: str | None,
    *,
    steps: int = 4,
    ddp: dict[str, Any] | None = None,
    attach: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    extra_every: int = 1,
    poison: tuple[int, int] | None = None,
    skip: int | None = None,
    accumulate: int = 1,
    saved: dict[str, Any] | None = None,
    start: int = 0,
) -> dict[str, Any]:
    """Train a little; `poison` = (rank, step) puts a NaN into that rank's data, `skip` leaves a step out altogether."""
    net, model = build(dtype, **(ddp or {}))
    wire = None if link is None else tw.attach(model, link, **(attach or {}))
    if saved is not None and wire is not None:
        net.load_state_dict(saved["model"])
        wire.load_state_dict(saved["wire"])
    losses, seen = [], []
    for step in range(start, start + steps):
        if step == skip:
            continue
        net.zero_grad()
        for part in range(accumulate):
            x = data(rank, step * accumulate + part, dtype)
            if poison == (rank, step):
                x[0, 0] = float("nan")
            # DDP decides in the forward pass whether this backward pass will synchronise
            with nullcontext() if part == accumulate - 1 else model.no_sync():
                loss = model(x, step % extra_every == 0).square().mean() / accumulate
                loss.backward()
        seen.append(gradients(net))
        losses.append(loss.item())
        if bool(seen[-1].isfinite().all()):
            with torch.no_grad():
                for p in net.parameters():
                    if p.grad is not None:
                        p -= 0.5 * p.grad
    result = {"weights": weights(net), "gradients": seen, "losses": losses, "model": net.state_dict()}
    if wire is not None:
        result |= {"stats": wire.stats(), "wire": wire.state_dict()}
        wire.close()
    return result


def train_with(rank: int, size: int, link: str | None, options: dict[str, Any]) -> dict[str, Any]:
    return train(rank, size, link, **options)


def train_from(rank: int, size: int, link: str, saved: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    return train(rank, size, link, saved=saved[rank], **options)


def differ(rank: int, size: int, what: str) -> str:
    """Rank 1 is set up differently; the error that this rank gets."""
    _, model = build()
    odd = rank == 1
    link = "diana(rotated(1))" if odd and what == "link" else "dcgd(rotated(3))"
    try:
        tw.attach(
            model, link, seed=7 if odd and what == "seed" else 0, momentum=0.9 if odd and what == "momentum" else None
        )
    except tw.PeerError as error:
        return str(error)
    return "no error"


def without_ddp(rank: int, size: int, link: str) -> Tensor:
    """The gradients of `train`'s first steps by reduce_gradients_."""
    torch.manual_seed(1)
    net, memory, group = Net(), tw.LinkMemory(), tw.ProcessGroup()
    for step in range(3):
        net.zero_grad()
        net(data(rank, step)).square().mean().backward()
        tw.reduce_gradients_(net.named_parameters(), link, memory, group)
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.5 * p.grad
    return weights(net)


def reduce_tensor(rank: int, size: int, link: str, d: int, steps: int) -> list[Tensor]:
    memory, group = tw.LinkMemory(), tw.ProcessGroup()
    return [tw.all_reduce(data(rank, step).reshape(-1)[:d], link, memory, group) for step in range(steps)]


def two_models(rank: int, size: int) -> bool:
    """Two models in one process, their backward passes in turn: each as if it were alone."""
    alone = train(rank, size, "diana(rotated(2))", steps=3)["weights"]
    pairs = [build() for _ in range(2)]
    wires = [tw.attach(model, "diana(rotated(2))") for _, model in pairs]
    for step in range(3):
        for net, model in pairs:
            net.zero_grad()
            model(data(rank, step)).square().mean().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.5 * p.grad
    for wire in wires:
        wire.close()
    return all(bool((weights(net) == alone).all()) for net, _ in pairs)


def die(rank: int, size: int, victim: int) -> str:
    """One rank is gone in the middle of training; what the others are told."""
    net, model = build()
    tw.attach(model, "dcgd(rotated(3))", timeout=5.0)
    try:
        for step in range(50):
            net.zero_grad()
            if rank == victim and step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            model(data(rank, step)).square().mean().backward()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def save_within_a_step(rank: int, size: int) -> tuple[str, int]:
    """What is said where a state is asked for in a hook of the backward pass, and the step of one after it."""
    net, model = build()
    wire, said = tw.attach(model, "diana(rotated(1))"), []

    def ask(_: Tensor) -> None:
        try:
            wire.state_dict()
        except RuntimeError as error:
            said.append(str(error))

    for step in range(2):
        net.zero_grad()
        x = data(rank, step).requires_grad_()  # its gradient is the last one
        x.register_hook(ask)
        model(x).square().mean().backward()
    steps = wire.state_dict()["steps"]
    wire.close()
    return said[-1], steps


def save_after_a_failure(rank: int, size: int) -> tuple[str, int]:
    """The last rank does not come to a step; what the others are told, and the step of what they can save."""
    net, model = build()
    wire = tw.attach(model, "diana(rotated(3))", timeout=5.0)
    said = "no answer from rank 2"
    for step in range(2 if rank == size - 1 else 3):
        net.zero_grad()
        try:
            model(data(rank, step)).square().mean().backward()
        except RuntimeError as error:  # which autograd makes of a PeerError
            said = str(error)
    return said, wire.state_dict()["steps"]


def train_plain(rank: int, size: int, dtype: torch.dtype) -> dict[str, Any]:
    """The same training by DDP's own all-reduce, through a wire."""
    net, model = build()
    wire = plain_wire(model, dtype)
    for step in range(4):
        model.zero_grad()
        model(data(rank, step)).square().mean().backward()
    return {"gradients": gradients(net), "stats": wire.stats(), "state": wire.state_dict()}


def train_ddp(rank: int, size: int) -> dict[str, Any]:
    """The same by DDP alone."""
    net, model = build()
    for step in range(4):
        model.zero_grad()
        model(data(rank, step)).square().mean().backward()
    return {"gradients": gradients(net)}


def plain_wire(model: DistributedDataParallel, dtype: torch.dtype = torch.float32) -> tw.Wire:
    wire = tw.attach(model, "dcgd(identity())")
    wire.turn(dtype, "asked for")
    return wire


def load_across(rank: int, size: int) -> tuple[str, int, tuple[str, ...]]:
    """What a plain wire says of a link's state; where a link's wire stands with a plain one's, and its notes."""
    _, first = build()
    plain = plain_wire(first)
    _, second = build()
    linked = tw.attach(second, "diana(rotated(1))")
    for step in range(3):
        first(data(rank, step)).square().mean().backward()
        second(data(rank, step)).square().mean().backward()
    said = ""
    try:
        plain.load_state_dict(linked.state_dict())
    except ValueError as error:
        said = str(error)
    plain.load_state_dict(linked.state_dict(), strict=False)
    again = plain_wire(build()[1])
    again.load_state_dict(plain.state_dict() if rank == 0 else None)  # the others join
    linked.load_state_dict(again.state_dict())
    fresh = all(not bool(part.any()) for parts in linked.state_dict()["parameters"].values() for part in parts.values())
    linked.close()
    return said, linked.state_dict()["steps"] if fresh else -1, linked.stats().notes


def in_geometry(rank: int, size: int) -> tuple[torch.Tensor, list[float], dict[str, str]]:
    """AdamW, whose momentum the workers have: weights, losses, and what the state says of the settings."""
    net, model = build()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, betas=(0.9, 0.95))
    beta = tw.take_momentum(optimizer)
    wire = tw.attach(model, "diana(rotated(1))", momentum=beta, geometry=0.95)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        loss = model(data(rank, step % 4)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    state = wire.state_dict()
    wire.close()
    return weights(net), losses, state["settings"]
