"""Models with the oddities that DDP allows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Twice(nn.Module):
    """A layer used twice, one never, and the middle computed anew in the backward pass, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.never, self.last = (nn.Linear(64, 64) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = checkpoint(lambda y: torch.tanh(self.layer(y)), x, use_reentrant=True)
        return self.last(x)


class Words(nn.Module):
    """Two sparse tables, one of them often unused, before dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 64, sparse=True)
        self.first, self.out = nn.Linear(64, 64), nn.Linear(64, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.first(self.words((x * 10).long() % 50))))


class Pictures(nn.Module):
    """Convolutions, channels last; batch norm, whose buffers DDP sends around; an empty parameter; a lone scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 16, 3), nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, bias=False)
        self.empty, self.scale = nn.Parameter(torch.zeros(0, 7)), nn.Parameter(torch.ones(()))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(16, 4, 4, 4).repeat(1, 1, 2, 2).to(memory_format=torch.channels_last)
        return self.second(torch.relu(self.norm(self.first(x)))) * self.scale + self.empty.sum()
