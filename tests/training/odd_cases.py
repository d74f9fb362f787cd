"""What the processes of a fleet run for the tests of what is poisoned, refused, or not as asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parallel.distributed import _MixedPrecision

import thinwire as tw

from .jobs import Net, data
from .models import Words


def poisoned(rank: int, size: int, link: str, where: str, bad: bool) -> dict[str, Any]:
    """Step 2 has a NaN on rank 1 in one of its parts, or does not happen at all: what is handed on, and remembered."""
    torch.manual_seed(1)
    net = Words()
    model = DistributedDataParallel(net)
    wire = tw.attach(model, link, momentum=0.9)
    seen = []
    for step in range(4):
        if step == 2 and not bad:
            continue
        nan = float("nan") if step == 2 and rank == 1 else 1.0
        with model.no_sync():
            (model(data(rank, 10 + step)).square().mean() * (nan if where == "accumulated" else 1.0)).backward()
        loss = model(data(rank, step)).square().mean()
        hook = net.words.weight.register_hook(lambda g, nan=nan: g * (nan if where == "sparse" else 1.0))
        loss.backward()
        hook.remove()
        seen.append([bool(p.grad.to_dense().isfinite().all()) for p in net.parameters() if p.grad is not None])
        net.zero_grad()
    found = {"finite": seen, "memory": wire.state_dict(), "skipped": wire.stats().total.skipped}
    wire.close()
    return found


def refusals(rank: int, size: int) -> dict[str, str]:
    """What is said where DDP is used in a way that a hook of ours cannot serve; all ranks get that far."""
    said: dict[str, str] = {}

    def expect(what: str, action: Callable[[], object]) -> None:
        try:
            action()
            said[what] = "nothing"
        except (ValueError, RuntimeError) as error:
            said[what] = str(error)

    link = "dcgd(rotated(3))"
    net = Net()
    model = DistributedDataParallel(net)
    wire = tw.attach(model, link)
    expect("twice", lambda: tw.attach(model, link))
    model(data(rank, 0)).square().mean().backward()
    wire.close()
    expect("closed", lambda: model(data(rank, 0)).square().mean().backward())
    skipping = DistributedDataParallel(Net(), find_unused_parameters=True, skip_all_reduce_unused_params=True)
    expect("skipping", lambda: tw.attach(skipping, link))
    mixed = DistributedDataParallel(Net(), mixed_precision=_MixedPrecision(param_dtype=torch.bfloat16))
    expect("mixed", lambda: tw.attach(mixed, link))
    hasty = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.distributed.optim import _apply_optimizer_in_backward  # deprecates something when it is imported
    _apply_optimizer_in_backward(torch.optim.SGD, hasty.parameters(), {"lr": 0.1})
    expect("hasty", lambda: tw.attach(DistributedDataParallel(hasty), link))
    waves = nn.Linear(8, 8, dtype=torch.complex64)
    expect("complex", lambda: tw.attach(DistributedDataParallel(waves), link))
    expect("strict", lambda: tw.attach(DistributedDataParallel(Words()), link, strict=True))
    expect("only sparse", lambda: tw.attach(DistributedDataParallel(nn.Embedding(9, 4, sparse=True)), link))
    uneven = DistributedDataParallel(Net())
    wire = tw.attach(uneven, link)
    with uneven.join(divide_by_initial_world_size=False):
        expect("join", lambda: uneven(data(rank, 0)))
    wire.close()
    return said


def notes(rank: int, size: int) -> list[tuple[tuple[str, ...], int]]:
    """The notes of two wires, and how many warnings came with each."""
    found = []
    for net in (Words(), Words().double()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = DistributedDataParallel(net)
            wire = tw.attach(model, "dcgd(rotated(3))")
            for step in range(3):
                model(data(rank, step)).square().mean().backward()
        found.append((wire.stats().notes, sum("thinwire" in str(w.message) for w in caught)))
        wire.close()
    return found
