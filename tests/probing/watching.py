"""What the processes of these tests do: small trainings that are watched."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw
from thinwire.probing.script import Asking, run_script
from thinwire.probing.trials import Asked
from thinwire.probing.watch import Watch
from thinwire.probing.watched import Watched

TRIED = [Asked("dcgd(identity())"), Asked("dcgd(rotated(1))"), Asked("lowrank(2)")]
SHORT = {"steps": 4, "warmup": 2, "candidates": TRIED}


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))


def data(rank: int, step: int) -> Tensor:
    return torch.randn(16, 32, generator=torch.Generator().manual_seed(1000 * rank + step))


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, rank: int, step: int) -> None:
    optimizer.zero_grad()
    (model(data(rank, step)) - 1).square().mean().backward()
    optimizer.step()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def as_told(found: Watched) -> dict[str, Any]:
    return asdict(found)


def watched(rank: int, size: int, quiet: int, steps: int) -> dict[str, Any]:
    """A training that is watched to the end of the watch, and goes on; its weights, and what was found."""
    model = DistributedDataParallel(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen, during = [], []
    with Watch(model, quiet=quiet, samples_per_step=16, **SHORT) as watch:  # type: ignore[arg-type]
        number = 0
        while not watch.done:
            step_of(model, optimizer, rank, number)
            during.append(weights(model))
            number += 1
            seen.append(watch.seen)
        found = watch.found()
    for more in range(number, steps):
        step_of(model, optimizer, rank, more)
    return {"found": as_told(found), "weights": weights(model), "seen": seen, "during": torch.stack(during)}


def plain(rank: int, size: int, steps: int) -> Tensor:
    """The same training without a watch: the weights."""
    model = DistributedDataParallel(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        step_of(model, optimizer, rank, step)
    return weights(model)


def gradients(rank: int, size: int, first: int, steps: int) -> Tensor:
    """Every worker's gradients of some steps of that training, (T, n, d), as this process computes them alone."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = []
    for step in range(first + steps):
        each = []
        for worker in range(size):
            model.zero_grad()
            (model(data(worker, step)) - 1).square().mean().backward()
            each.append(torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None]))
        at = 0
        for p in model.parameters():
            p.grad = torch.stack(each)[:, at : at + p.numel()].mean(0).view_as(p)
            at += p.numel()
        optimizer.step()
        if step >= first:
            made.append(torch.stack(each))
    return torch.stack(made)


def accumulating(rank: int, size: int) -> dict[str, Any]:
    """Steps of two backward passes, with an evaluation between them, and a parameter that is not used."""
    inner = net()
    inner.unused = nn.Parameter(torch.zeros(3))  # type: ignore[assignment]
    model = DistributedDataParallel(inner, find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(model, quiet=2, **SHORT) as watch:  # type: ignore[arg-type]
        number = 0
        while not watch.done:
            with model.no_sync():
                (model(data(rank, number)) - 1).square().mean().backward()
            (model(data(rank, number)) - 1).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                model(data(rank, number))
            number += 1
        found = watch.found()
    return {"found": as_told(found), "steps": number, "total": watch.total}


def limited(rank: int, size: int, limit: float) -> tuple[int, int, tuple[str, ...]]:
    """Steps that were made and sampled where there are seconds for only so many, and what is said of it."""
    model = DistributedDataParallel(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch(model, steps=12, warmup=5, limit=limit, candidates=TRIED) as watch:
        number = 0
        while not watch.done:
            step_of(model, optimizer, rank, number)
            number += 1
        found = watch.found()
    return number, found.gradients.steps, found.notes


def refused(rank: int, size: int) -> list[str]:
    """What is said of models that cannot be watched."""
    said = []
    model = DistributedDataParallel(net())
    wire = tw.attach(model, "dcgd(rotated(3))")
    made = DistributedDataParallel(net())
    watch = Watch(made, **SHORT)  # type: ignore[arg-type]
    for attempt in (lambda: Watch(model), lambda: tw.attach(made), watch.found, lambda: Watch(made, steps=1)):
        try:
            attempt()
        except ValueError as error:
            said.append(str(error))
    watch.close()
    wire.close()
    return said


def script(rank: int, size: int, path: Path, arguments: list[str], steps: int) -> dict[str, Any]:
    """A script under a probe: what was found, or what was said instead."""
    found: list[Watched] = []
    before = sys.argv
    asking = Asking(steps=steps, warmup=1, quiet=1, candidates=[Asked("dcgd(rotated(1))")])
    try:
        run_script(path, arguments, lambda watched, group: found.append(watched), asking)
    except (ValueError, TypeError, SystemExit) as error:
        dist.barrier()
        return {"error": type(error).__name__, "said": str(error)}
    assert sys.argv is before
    return {"found": as_told(found[0]), "runs": len(found)}
