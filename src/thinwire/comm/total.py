"""The sum of all workers' integers: exact, and so the same in whatever order, and whoever, adds them up."""

from __future__ import annotations

import torch
from torch import Tensor

from thinwire.comm.base import Group, Lane
from thinwire.comm.mean import shards


def total(group: Group, elements: Tensor) -> tuple[Tensor, int]:
    """Integers of any width, (rows, size) -> their sums over all workers, (size,); and the bytes that a worker sent.

    1. All-to-all shares of the elements. 2. Each owner adds up its share. 3. All-gather the sums. They travel as wide
    as what they are sums of, as in an all-reduce: it is for the caller to see to it that they fit.

    >>> import thinwire as tw
    >>> total(tw.LocalGroup(2), torch.tensor([[1, 2, 3], [-1, 5, 100]], dtype=torch.int8))
    (tensor([  0,   7, 103], dtype=torch.int8), 4)
    """
    cut = shards(elements, group.size)
    received = group.all_to_all(cut.view(torch.uint8)).wait().view(elements.dtype)
    sums = received.sum(dim=1, dtype=torch.int64).to(elements.dtype)
    gathered = group.all_gather(sums.view(torch.uint8), Lane.OWNERS).wait().view(elements.dtype)
    sent = 2 * (group.size - 1) * cut.shape[2] * elements.dtype.itemsize
    return gathered.reshape(-1)[: elements.shape[1]], sent
