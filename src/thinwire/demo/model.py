"""A small GPT: the model that the demo trains.

Shapes: B sequences, T positions, D width, H heads, V vocabulary (bytes).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinwire._check import call, fault


@dataclass(frozen=True)
class GptShape:
    """The sizes of a `Gpt`.

    >>> GptShape().width
    192
    """

    vocabulary: int = 256
    context: int = 64
    width: int = 192
    layers: int = 3
    heads: int = 6

    def __post_init__(self) -> None:
        if self.width % self.heads:
            where = call("GptShape", width=self.width, heads=self.heads)
            raise ValueError(fault(where, "width must be a multiple of heads", self.width))


class Block(nn.Module):
    """One layer: causal self-attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.norm_attention = nn.LayerNorm(shape.width, bias=False)
        self.queries_keys_values = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.attention_out = nn.Linear(shape.width, shape.width, bias=False)
        self.norm_mlp = nn.LayerNorm(shape.width, bias=False)
        self.mlp_in = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.mlp_out = nn.Linear(4 * shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output; x and it are (B, T, D)."""
        x = x + self.attention_out(self._attend(self.queries_keys_values(self.norm_attention(x))))
        added: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm_mlp(x))))
        return x + added

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, width = qkv.shape
        q, k, v = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, width // 3)


class Gpt(nn.Module):
    """A GPT without biases whose output layer is its embedding; 1.4 million parameters at the default shape.

    All weights are functions of `seed` alone; no global generator is read for them.

    >>> model = Gpt(GptShape(width=16, layers=1, heads=2), seed=0)
    >>> model(torch.zeros(2, 8, dtype=torch.long)).shape
    torch.Size([2, 8, 256])
    """

    def __init__(self, shape: GptShape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Parameter(torch.empty(shape.context, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm_out = nn.LayerNorm(shape.width, bias=False)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Normal: embeddings 0.1, positions 0.02, matrices 1/√inputs, and 1/√(2·layers) of that where they write into
        the residual sum. At so few steps this learns faster than GPT-2's 0.02 for everything."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            deviation = {"embedding.weight": 0.1, "positions": 0.02}.get(name, parameter.shape[1] ** -0.5)
            if name.endswith(("attention_out.weight", "mlp_out.weight")):
                deviation /= (2 * self.shape.layers) ** 0.5
            nn.init.normal_(parameter, std=deviation, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the byte after each position; tokens are (B, T) integers, T at most the context."""
        x = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm_out(x), self.embedding.weight)


def count_parameters(model: nn.Module) -> int:
    """How many trainable numbers a model has.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def next_byte_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats a byte; logits (B, T, V), targets (B, T).

    >>> round(next_byte_loss(torch.zeros(1, 4, 256), torch.zeros(1, 4, dtype=torch.long)).item(), 3)
    5.545
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
