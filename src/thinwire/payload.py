"""The bytes that travel: one contiguous buffer per row, its size known to both ends before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.keys import Key


@dataclass(frozen=True)
class Payload:
    """What one compressor made of a `(rows, d)` matrix.

    Args:
        data: uint8 of shape (rows, nbytes), contiguous.
        d: the length of the vectors it stands for.
        key: the key it was encoded with; its ranks are the senders of the rows.

    >>> import torch, thinwire as tw
    >>> payload = tw.Rotated(bits=1).encode(torch.randn(4, 1024), tw.Key(ranks=range(4)))
    >>> payload.data.shape, payload.nbytes, payload.d
    (torch.Size([4, 133]), 133, 1024)
    """

    data: Tensor
    d: int
    key: Key

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return self.data.shape[1]

    def sized(self, nbytes: int, sender: object) -> Payload:
        """Itself, or ValueError if its rows are not uint8 of `nbytes` bytes, or not one for each rank of the key."""
        shape = (self.key.rows, nbytes)
        if self.data.dtype != torch.uint8 or tuple(self.data.shape) != shape:
            given = f"{self.data.dtype} of shape {tuple(self.data.shape)}"
            raise ValueError(
                fault(
                    f"{sender!r}.decode",
                    f"the payload of {shape[0]} vectors of length {self.d} is uint8 of shape {shape}",
                    given,
                    "It was cut short, or made by another compressor.",
                )
            )
        return self

    def with_data(self, data: Tensor, d: int) -> Payload:
        """The same key over other bytes: a part of this payload."""
        return replace(self, data=data, d=d)


def view(data: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, nbytes) uint8 as elements of `dtype`; a copy where the memory is not aligned for it."""
    flat = data.reshape(-1)
    if flat.storage_offset() % dtype.itemsize:
        flat = flat.clone()
    return flat.view(dtype).view(len(data), data.shape[1] // dtype.itemsize)
