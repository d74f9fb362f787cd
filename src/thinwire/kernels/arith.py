"""Float32 arithmetic whose result does not depend on the machine: fixed order, powers of two, integer maxima.

Shapes: (size, c), element e of block b at [e, b]; what is one number a block is (c,).
"""

from __future__ import annotations

import threading
from functools import lru_cache

import torch
from torch import Tensor

INFINITE = 0x7F800000
"""The bits of +Inf: a magnitude's bits at or above it are an Inf or a NaN."""
SMALLEST = 27 << 23
"""The bits of 2^-100: a block whose largest magnitude is below it is a block of zeros."""


def largest(blocks: Tensor) -> Tensor:
    """(c,) int32: the bits of each block's largest magnitude, taken as integers so that a NaN cannot hide."""
    return (blocks.view(torch.int32) & 0x7FFFFFFF).amax(dim=0)


def powers(peak: Tensor) -> tuple[Tensor, Tensor]:
    """(down, up), powers of two with down · up = 1, such that down times the block is below 4 in magnitude."""
    exponent = (peak >> 23).clamp(27, 253)
    return (254 - exponent << 23).view(torch.float32), (exponent << 23).view(torch.float32)


def tree_sum(values: Tensor) -> Tensor:
    """(c,) sums by halving: element i is added to element i + half, half the next power of two and down to 1."""
    size = 1 << max(len(values) - 1, 0).bit_length()
    if size != len(values):
        values = torch.nn.functional.pad(values, (0, 0, 0, size - len(values)))
    while size > 1:
        size //= 2
        values = values[:size] + values[size:]
    return values[0]


def root(values: Tensor) -> Tensor:
    """The correctly rounded square roots, which torch's own float32 ones are not: with MKL one in six is a unit off.

    Those of float64 round to them: the root of a 24-bit number is 2^-50 or more away from the middle of two others.
    """
    return values.to(torch.float64).sqrt_().to(torch.float32)


LANES = 64


def rank_sum(x: Tensor) -> Tensor:
    """The sum over the first dimension in rank order: 64 lanes, lane l adding ranks l, l + 64, …, then lane by lane.

    >>> rank_sum(torch.ones(130, 2))
    tensor([130., 130.])
    """
    total = x[:LANES]
    if len(x) > LANES:
        total = total.clone()
        for start in range(LANES, len(x), LANES):
            part = x[start : start + LANES]
            total[: len(part)] += part
    result = total[0].clone()
    for lane in total[1:]:
        result += lane
    return result


def rank_mean(x: Tensor) -> Tensor:
    """`rank_sum` divided by the number of ranks: by a tensor, since by a number CUDA multiplies with the reciprocal."""
    total = rank_sum(x)
    total /= total.new_full((), len(x))
    return total


class _Butterflies:
    """Two scratch matrices and the views that each stage of a transform reads and writes."""

    def __init__(self, size: int, c: int, device: torch.device) -> None:
        scratch = torch.empty(2, size, c, device=device)
        self._stages: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        span = 1
        while span < size:
            even = len(self._stages) % 2
            a, b = scratch[even].view(-1, 2, span * c).unbind(1)
            plus, minus = scratch[1 - even].view(-1, 2, span * c).unbind(1)
            self._stages.append((a, b, plus, minus))
            span *= 2
        self._result: Tensor = scratch[len(self._stages) % 2]

    def run(self, values: Tensor) -> Tensor:
        a, b = values.view(-1, 2, values.shape[1]).unbind(1)
        _, _, plus, minus = self._stages[0]
        torch.add(a, b, out=plus)
        torch.sub(a, b, out=minus)
        for a, b, plus, minus in self._stages[1:]:
            torch.add(a, b, out=plus)
            torch.sub(a, b, out=minus)
        return self._result


@lru_cache(maxsize=16)
def _butterflies(thread: int, size: int, c: int, device: torch.device) -> _Butterflies:
    return _Butterflies(size, c, device)


def hadamard(values: Tensor) -> Tensor:
    """The unnormalised Walsh-Hadamard transform of each block (Sylvester order), butterflies of span 1, 2, 4, …

    `values` must be contiguous, of at least 2 rows, and not a result of this function. The result is scratch: it lasts
    until this thread's next call. (Half of the time of so small an operation goes into making views, so they are kept.)
    """
    size, c = values.shape
    return _butterflies(threading.get_ident(), size, c, values.device).run(values)
