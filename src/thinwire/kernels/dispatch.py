"""Which make of the codes runs: the compiled one on CPU tensors, Triton's on a GPU, plain torch everywhere else.

Every argument and result is that of the function in `reference` of the same name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thinwire.kernels import cpu, cuda, reference
from thinwire.kernels.format import Format


def encode(fmt: Format, x: Tensor, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """(rows, d) float32 -> (rows, fmt.nbytes(d)) uint8: scales, codes, flag; zeros but for the flag if it is set."""
    if cpu.takes(fmt, x, x.shape[1], stream) and cpu.available():
        return cpu.encode(fmt, x, stream, out)
    if cuda.takes(fmt, x, x.shape[1], stream) and cuda.available():
        from thinwire.kernels.cuda import launch

        return launch.encode(fmt, x, stream, out)
    return reference.encode(fmt, x, stream, out)


def decode(fmt: Format, data: Tensor, d: int, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """The (rows, d) float32 that `encode` meant."""
    if cpu.takes(fmt, data, d, stream) and cpu.available():
        return cpu.decode(fmt, data, d, stream, out)
    if cuda.takes(fmt, data, d, stream) and cuda.available():
        from thinwire.kernels.cuda import launch

        return launch.decode(fmt, data, d, stream, out)
    return reference.decode(fmt, data, d, stream, out)


def encode_difference(
    fmt: Format,
    x: Tensor,
    shift: Tensor,
    lam: float,
    stream: Tensor,
    after: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(`encode` of x − shift, shift + lam · what that says), see `reference.encode_difference`."""
    taken = cpu.takes(fmt, x, x.shape[1], stream) and cpu.matches(shift, len(x), x.shape[1], x.dtype)
    if taken and cpu.available():
        return cpu.encode_difference(fmt, x, shift, lam, stream, after, out)
    taken = cuda.takes(fmt, x, x.shape[1], stream) and cuda.matches(shift, len(x), x.shape[1], x.dtype)
    if taken and cuda.available():
        from thinwire.kernels.cuda import launch

        return launch.encode_difference(fmt, x, shift, lam, stream, after, out)
    return reference.encode_difference(fmt, x, shift, lam, stream, after, out)


def decode_mean(
    fmt: Format,
    data: Tensor,
    d: int,
    stream: Tensor,
    workers: int,
    dtype: torch.dtype = torch.float32,
    base: Tensor | None = None,
    nu: float = 1.0,
    lam: float = 0.0,
    out: Tensor | None = None,
    after: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """base + nu · mean and base + lam · mean of what `workers` rows say, see `reference.decode_mean`."""
    taken = cpu.takes(fmt, data, d, stream) and cpu.matches(base, len(data) // workers, d, dtype)
    if taken and cpu.available():
        return cpu.decode_mean(fmt, data, d, stream, workers, dtype, base, nu, lam, out, after)
    taken = cuda.takes(fmt, data, d, stream) and cuda.matches(base, len(data) // workers, d, dtype)
    if taken and cuda.available():
        from thinwire.kernels.cuda import launch

        return launch.decode_mean(fmt, data, d, stream, workers, dtype, base, nu, lam, out, after)
    return reference.decode_mean(fmt, data, d, stream, workers, dtype, base, nu, lam, out, after)
