"""All workers of a small model in one process: what `attach` does, without DDP, and as fast as a loop can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import thinwire as tw
from thinwire.rounds import finish_all
from thinwire.training.policy import Policy, Sender
from thinwire.training.reducer import Reducer, Settings

SHAPES = {
    "embedding.weight": (64, 32),
    "0.weight": (48, 32),
    "0.bias": (48,),
    "1.weight": (48, 48),
    "1.bias": (48,),
}
WORKERS = 4


def parameters(shapes: dict[str, tuple[int, ...]] = SHAPES) -> list[tuple[str, nn.Parameter]]:
    return [(name, nn.Parameter(torch.empty(shape, device="meta"))) for name, shape in shapes.items()]


def reducer(link: Sender | Policy | str, workers: int = WORKERS, **settings: Any) -> Reducer:
    meant = tw.parse_link(link) if isinstance(link, str) else link
    return Reducer(parameters(), Settings(link=meant, **settings), tw.LocalGroup(workers))


def gradient(name: str, row: int, step: int) -> Tensor:
    """A part that stays, another for each worker, and noise."""
    place = list(SHAPES).index(name)
    stays = torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(100 * place + row))
    noise = torch.randn(SHAPES[name], generator=torch.Generator().manual_seed(10_000 * step + 100 * place + row))
    return stays + 0.1 * noise


def mean_gradient(name: str, step: int, workers: int = WORKERS) -> Tensor:
    return torch.stack([gradient(name, row, step) for row in range(workers)]).mean(0)


def run(
    reducer: Reducer, step: int, poison: int | None = None, rates: dict[str, float] | None = None
) -> dict[str, Tensor]:
    """The estimates of one step, by name; the worker `poison` has an Inf somewhere."""
    reducer.rates.now = rates or {}
    for row in range(len(reducer.group.ranks)):
        for name in SHAPES:
            taken = gradient(name, row, step)
            if row == poison and name == "0.weight":
                taken[3, 3] = float("inf")
            reducer.put(name, taken, row)
    estimates = finish_all([reducer.reduce(number) for number in range(len(reducer.frames))])
    return {
        slot.name: estimate[slot.part].view(slot.shape).clone()
        for frame, estimate in zip(reducer.frames, estimates, strict=True)
        for slot in frame.slots
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
