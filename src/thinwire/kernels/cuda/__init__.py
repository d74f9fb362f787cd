"""The codes on a GPU, for tensors in its memory: Triton's kernels, bit for bit what `reference` gives.

`launch.py` has the calls and `device/` the kernels; both need Triton, which comes with torch's builds for CUDA, so
nothing here imports them before it is asked for.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from thinwire.kernels.cuda.plan import LARGEST_TILE, tile
from thinwire.kernels.format import SMALLEST_ROTATION, Format, Kind

DEVICE = "cuda"
OLDEST = (8, 0)
"""The compute capability from which on Triton supports GPUs; tests compile the kernels for it."""
FLOATS = (torch.float32, torch.float64)


def takes(fmt: Format, values: Tensor, d: int, stream: Tensor) -> bool:
    """Whether the kernels can encode (floats) or decode (bytes) these rows; where not, or not sound, the reference."""
    width = fmt.nbytes(d) if values.dtype == torch.uint8 else d
    return (
        d > 0
        and len(stream) > 0
        and (values.dtype == torch.uint8 or values.dtype in FLOATS)
        and values.device.type == DEVICE
        and values.device == stream.device
        and values.shape == (len(stream), width)
        and stream.shape[1:] == (4,)
        and stream.dtype == torch.int64
        and tile(fmt, d) <= LARGEST_TILE
        and (fmt.kind is not Kind.ROTATED or (fmt.block >= SMALLEST_ROTATION and fmt.block & fmt.block - 1 == 0))
    )


def matches(values: Tensor | None, rows: int, d: int, dtype: torch.dtype) -> bool:
    """Whether these values can go with those of a call that is taken: (rows, d) of that width, or none."""
    fits = values is None or (values.shape == (rows, d) and values.dtype == dtype and values.device.type == DEVICE)
    return fits and dtype in FLOATS


def _missing() -> str | None:
    """Why the kernels cannot run here, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed. Get it by pip install triton"
    if torch.version.cuda is None:
        return "this build of torch is not for CUDA"
    if torch.cuda.get_device_capability() < OLDEST:
        return f"the GPU is older than compute capability {OLDEST[0]}.{OLDEST[1]}"
    return None


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether the kernels can be used; the first call warns if they cannot."""
    missing = _missing()
    if missing:
        warnings.warn(
            f"thinwire codes CUDA tensors in plain torch, with the same results at a fraction of the speed: {missing}.",
            RuntimeWarning,
            stacklevel=3,
        )
    return missing is None
