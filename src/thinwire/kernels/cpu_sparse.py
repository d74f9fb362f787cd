"""The compiled make of the sparse kernels, for tensors in a CPU's memory: bit for bit what `reference_sparse` gives."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from functools import lru_cache

import torch
from torch import Tensor

from thinwire.kernels.arith import LANES
from thinwire.kernels.cpu import FAULTS, available, best, loaded
from thinwire.kernels.format import Blocks
from thinwire.kernels.memory import fresh
from thinwire.kernels.pack import packed_size
from thinwire.kernels.reference_sparse import index_bits

MOST = 2**31 - 1
"""Numbers that can be drawn for."""
INFINITE = {torch.float32: 0x7F800000, torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
"""The bits of +Inf."""


class _Cut(ctypes.Structure):
    """`Cut` of native/sparse_format.h."""

    _fields_ = tuple((name, c_int64) for name in ("d", "count", "size", "keep", "bits"))


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    found = loaded()
    assert not isinstance(found, str), found
    arguments = {
        "nonfinite": (c_int64, c_int64, c_void_p, c_int64, c_int32, c_int32, c_void_p),
        "smallest": (c_int64, c_void_p, c_int64, c_int64, c_void_p),
        "ranked": (c_int64, c_void_p, c_int64, c_void_p),
        "pick_runs": (POINTER(_Cut), c_int64, c_void_p, c_int64, c_void_p, c_void_p, c_void_p),
        "place_runs": (POINTER(_Cut), c_int64, c_int64, c_void_p, c_void_p, c_float, c_void_p),
        "pick_largest": (POINTER(_Cut), c_int64, c_void_p, c_int64, c_void_p, c_void_p, c_void_p),
        "place_largest": (POINTER(_Cut), c_int64, c_int64, c_void_p, c_void_p, c_int64, c_void_p),
    }
    for name, types in arguments.items():
        function = getattr(found, f"thinwire_{name}")
        function.restype, function.argtypes = c_int32, (c_int32, *types)
    return found


def _call(name: str, level: int | None, *arguments: object) -> None:
    fault = getattr(_library(), f"thinwire_{name}")(best() if level is None else level, *arguments)
    if fault:
        raise (MemoryError if fault == 2 else ValueError)(FAULTS[fault])


def _side_by_side(matrix: Tensor) -> Tensor:
    """The same matrix with its rows' elements side by side."""
    return matrix if matrix.stride(1) == 1 or matrix.shape[1] == 1 else matrix.contiguous()


def _here(tensor: Tensor, dtype: torch.dtype) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == dtype and tensor.ndim == 2


def takes_values(x: Tensor) -> bool:
    """Whether the library can look for what is not finite in them."""
    return x.device.type == "cpu" and x.ndim == 2 and x.shape[1] > 0 and x.dtype in INFINITE and available()


def takes_draws(stream: Tensor, keep: int, of: int) -> bool:
    """Whether the library can draw so many numbers."""
    return _here(stream, torch.int64) and stream.shape[1] == 4 and 0 < keep <= of <= MOST and available()


def takes_sum(values: Tensor, blocks: Blocks, keep: int, workers: int) -> bool:
    """Whether the library can place these values and sum them: it has one lane of `rank_sum`."""
    return takes_row(values, blocks, keep) and 0 < workers <= LANES and len(values) % workers == 0


def takes_row(x: Tensor, blocks: Blocks, keep: int) -> bool:
    """Whether the library can pick from these rows."""
    return _here(x, torch.float32) and blocks.d > 0 and keep > 0 and available()


def nonfinite(x: Tensor, level: int | None = None) -> Tensor:
    """`reference_sparse.nonfinite`."""
    x = _side_by_side(x.detach())
    bad = torch.empty(len(x), dtype=torch.bool)
    place = x.data_ptr(), x.stride(0), x.element_size(), INFINITE[x.dtype]
    _call("nonfinite", level, len(x), x.shape[1], *place, bad.data_ptr())
    return bad


def smallest_draws(stream: Tensor, count: int, of: int, level: int | None = None) -> Tensor:
    """`reference_sparse.smallest_draws`."""
    stream, out = stream.contiguous(), fresh(len(stream), count, torch.int64)
    _call("smallest", level, len(stream), stream.data_ptr(), count, of, out.data_ptr())
    return out


def ranked_draws(stream: Tensor, of: int, level: int | None = None) -> Tensor:
    """`reference_sparse.ranked_draws`."""
    stream, out = stream.contiguous(), fresh(len(stream), of, torch.int64)
    _call("ranked", level, len(stream), stream.data_ptr(), of, out.data_ptr())
    return out


def pick_runs(x: Tensor, which: Tensor, blocks: Blocks, level: int | None = None) -> tuple[Tensor, Tensor]:
    """`reference_sparse.pick_runs`."""
    x, which, keep = _side_by_side(x.detach()), which.contiguous(), which.shape[1]
    assert which.dtype == torch.int64
    assert x.shape == (len(which), blocks.d)
    values = fresh(len(x), keep * blocks.size, torch.float32)
    bad = torch.empty(len(x), dtype=torch.bool)
    cut = _Cut(blocks.d, blocks.count, blocks.size, keep)
    out = values.data_ptr(), bad.data_ptr()
    _call("pick_runs", level, cut, len(x), x.data_ptr(), x.stride(0), which.data_ptr(), *out)
    return values, bad


def place_runs(
    values: Tensor, which: Tensor, blocks: Blocks, scale: float, workers: int = 1, level: int | None = None
) -> Tensor:
    """`reference_sparse.place_runs`."""
    values, which, keep = values.contiguous(), which.contiguous(), which.shape[1]
    assert which.dtype == torch.int64
    assert values.shape == (len(which), keep * blocks.size)
    out = fresh(len(values) // workers, blocks.d, torch.float32)
    cut = _Cut(blocks.d, blocks.count, blocks.size, keep)
    _call("place_runs", level, cut, workers, len(out), values.data_ptr(), which.data_ptr(), scale, out.data_ptr())
    return out


def pick_largest(x: Tensor, blocks: Blocks, keep: int, level: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """`reference_sparse.pick_largest`."""
    x, bits = _side_by_side(x.detach()), index_bits(blocks)
    assert x.shape[1] == blocks.d
    values = fresh(len(x), blocks.count * keep, torch.float32)
    side = torch.empty(len(x), blocks.count * packed_size(keep, bits), dtype=torch.uint8)
    bad = torch.empty(len(x), dtype=torch.bool)
    cut = _Cut(blocks.d, blocks.count, blocks.size, keep, bits)
    out = values.data_ptr(), side.data_ptr(), bad.data_ptr()
    _call("pick_largest", level, cut, len(x), x.data_ptr(), x.stride(0), *out)
    return values, side, bad


def place_largest(
    values: Tensor, side: Tensor, blocks: Blocks, keep: int, workers: int = 1, level: int | None = None
) -> Tensor:
    """`reference_sparse.place_largest`."""
    values, side, bits = values.contiguous(), _side_by_side(side), index_bits(blocks)
    assert values.shape == (len(side), blocks.count * keep)
    assert side.dtype == torch.uint8
    assert side.shape[1] == blocks.count * packed_size(keep, bits)
    out = fresh(len(values) // workers, blocks.d, torch.float32)
    cut = _Cut(blocks.d, blocks.count, blocks.size, keep, bits)
    read = values.data_ptr(), side.data_ptr(), side.stride(0)
    _call("place_largest", level, cut, workers, len(out), *read, out.data_ptr())
    return out
