"""Two small nets for 28 × 28 grey images, nearly all of whose parameters are in large matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cnn(nn.Sequential):
    """Two strided convolutions and two linear layers: 204,778 parameters, three quarters of them in one matrix."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 256),
            nn.ReLU(),
            nn.Linear(256, 10),
        )


class BatchNorm(nn.Module):
    """Batch normalisation by each worker's own batch, as in DDP; `settle` takes the statistics of evaluation.

    torch's own writes running statistics in place, which `torch.func.vmap` over workers does not allow.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.settling = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), each channel at mean 0 and deviation 1, then scaled and moved."""
        if self.settling:
            self.variance, self.mean = torch.var_mean(x, dim=(0, 2, 3))
        if self.training:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias)


class Block(nn.Module):
    """relu(S x + N₂ C₂ relu(N₁ C₁ x)): two 3 × 3 convolutions, the first with stride 2, and a strided 1 × 1 skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.first_norm = BatchNorm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = BatchNorm(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        inner = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(self.skip(x) + inner)


class ResNet(nn.Sequential):
    """A 4 × 4 stem, blocks of 32 and 128 channels, and a linear layer."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 4, stride=4, bias=False),
            BatchNorm(16),
            nn.ReLU(),
            Block(16, 32),
            Block(32, 128),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 10),
        )


def settle(model: nn.Module, inputs: Tensor) -> None:
    """Set what every `BatchNorm` evaluates with to its statistics on these inputs."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.settling = True
    with torch.no_grad():
        model.train()(inputs)
    for norm in norms:
        norm.settling = False
