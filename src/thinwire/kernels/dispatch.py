"""Which make of the codes runs: the compiled one on CPU tensors, plain torch everywhere else."""

from __future__ import annotations

from torch import Tensor

from thinwire.kernels import cpu, reference
from thinwire.kernels.format import Format


def encode(fmt: Format, x: Tensor, stream: Tensor) -> Tensor:
    """(rows, d) float32 -> (rows, fmt.nbytes(d)) uint8: scales, codes, flag; zeros but for the flag if it is set."""
    if cpu.takes(fmt, x, x.shape[1], stream) and cpu.available():
        return cpu.encode(fmt, x, stream)
    return reference.encode(fmt, x, stream)


def decode(fmt: Format, data: Tensor, d: int, stream: Tensor) -> Tensor:
    """The (rows, d) float32 that `encode` meant."""
    if cpu.takes(fmt, data, d, stream) and cpu.available():
        return cpu.decode(fmt, data, d, stream)
    return reference.decode(fmt, data, d, stream)
