"""What the processes of a fleet run for the tests of parity: after those that PyTorch has for its own hooks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

from .jobs import Net, data


class Told(nn.Module):
    """Its gradient is its input: a matrix that is compressed, and a vector that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.vector = nn.Parameter(torch.zeros(64, 48)), nn.Parameter(torch.zeros(48))

    def forward(self, x: Tensor) -> Tensor:
        return (self.matrix * x).sum() + (self.vector * x[0]).sum()


def gradient(kind: str, rank: int, step: int) -> Tensor:
    """(64, 48), which some compressors can say exactly: all of one size, or zero in every second place."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    signs = torch.randint(0, 2, (64, 48), generator=generator) * 2.0 - 1
    if kind == "one size":
        return signs * 2.0**rank
    if kind == "thrice":
        return signs * 3 * 2.0**rank
    values = torch.randint(0, 100, (64, 48), generator=generator).float()
    return values * (torch.arange(48) % 2) if kind == "half" else values


def told(rank: int, size: int, link: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """The gradients of a model with a link and of one without, step after step, and the true mean."""
    pairs = []
    model, plain = (DistributedDataParallel(Told()) for _ in range(2))
    wire = tw.attach(model, link, **options)
    for step in range(5):
        for which in (model, plain):
            which.zero_grad()
            which(gradient(kind, rank, step)).backward()
        exact = torch.stack([gradient(kind, other, step).double() for other in range(size)]).mean(0)
        pairs.append((model.module.matrix.grad.clone(), plain.module.matrix.grad.clone(), exact.float()))
        pairs.append((model.module.vector.grad.clone(), plain.module.vector.grad.clone(), exact[0].float()))
    found = {"pairs": pairs, "notes": wire.stats().notes, "routes": wire.stats().routes}
    wire.close()
    return found


def beside_the_whole_batch(rank: int, size: int, link: str, options: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Every second step under no_sync: gradients accumulate as they do for one process that has all the data."""
    torch.manual_seed(1)
    net = Net()
    whole = copy.deepcopy(net)
    model = DistributedDataParallel(net, **options)
    wire = tw.attach(model, link)
    with torch.no_grad(), model.no_sync():
        model(data(rank, 0))
    found = []
    for step in range(6):
        batch = torch.cat([data(other, step) for other in range(size)])
        whole(batch).square().mean().backward()
        if step % 2 == 0:
            with model.no_sync():
                model(data(rank, step)).square().mean().backward()
        else:
            model(data(rank, step)).square().mean().backward()
            found += [
                (p.grad.clone(), q.grad.clone()) for p, q in zip(net.parameters(), whole.parameters(), strict=True)
            ]
            model.zero_grad(set_to_none=step == 1)
            whole.zero_grad()
    wire.close()
    return found


def optimised(rank: int, size: int, options: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """The weights after six steps of SGD with momentum, with a link and without."""
    torch.manual_seed(1)
    net = Net()
    twin = copy.deepcopy(net)
    model, plain = DistributedDataParallel(net, **options), DistributedDataParallel(twin, **options)
    wire = tw.attach(model, "dcgd(identity())")
    for which in (model, plain):
        optimizer = torch.optim.SGD(which.parameters(), lr=1e-2, momentum=0.9)
        for step in range(6):
            optimizer.zero_grad()
            which(data(rank, step)).square().mean().backward()
            optimizer.step()
    wire.close()
    return [(p.detach(), q.detach()) for p, q in zip(net.parameters(), twin.parameters(), strict=True)]
