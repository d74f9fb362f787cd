"""The compiled make of the codes, for tensors in a CPU's memory: bit for bit what `reference` gives, many times faster.

The sources are in `native/`; installing the package compiles them into one library of several builds, and the best one
that the processor can run is taken. Calls run in the caller's thread and without the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import warnings
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from thinwire.kernels.format import Format, Kind

ABI = 1
SOURCES = Path(__file__).parent / "native"
LIBRARY = Path(__file__).parent / f"libthinwire{'.dylib' if sys.platform == 'darwin' else '.so'}"

KINDS = (Kind.DITHER, Kind.SIGN, Kind.NATURAL, Kind.NATURAL_DITHER, Kind.ROTATED)
"""In the order of the library's numbers."""
FAULTS = {1: "the library refuses the format", 2: "no memory"}


class _Format(ctypes.Structure):
    """`Format` of native/format.h."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "bits", "levels", "euclidean", "nearest", "least_error")),
        *((name, c_int64) for name in ("d", "count", "size", "body", "nbytes")),
    )


def digest() -> str:
    """What identifies the sources: the library carries it, and is taken only for those."""
    parts = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cpp"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:16]


@lru_cache(maxsize=1)
def loaded() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    if not LIBRARY.is_file():
        return "was installed without its compiled kernels (there was no C++ compiler)"
    try:
        found = ctypes.CDLL(str(LIBRARY))
        found.thinwire_abi.restype, found.thinwire_sources.restype = c_int32, c_char_p
        if (found.thinwire_abi(), found.thinwire_sources()) != (ABI, digest().encode()):
            return "has compiled kernels that were not made from its present sources"
    except (OSError, AttributeError) as error:
        return f"cannot load its compiled kernels ({error})"
    head, tail = (c_int32, POINTER(_Format), c_int64, c_void_p, c_int64), (c_void_p, c_int64)
    found.thinwire_level.restype = c_int32
    found.thinwire_encode.restype = found.thinwire_decode.restype = c_int32
    found.thinwire_encode.argtypes = (*head, c_void_p, *tail)
    found.thinwire_decode.argtypes = (*head, c_void_p, *tail)
    return found


@lru_cache(maxsize=1)
def best() -> int:
    """The build for this processor: 0 for its baseline, 1 for x86-64-v3 (AVX2), 2 for x86-64-v4 (AVX-512)."""
    found = loaded()
    assert not isinstance(found, str), found
    return int(found.thinwire_level())


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether the compiled kernels can be used; the first call warns if they cannot."""
    found = loaded()
    if isinstance(found, str):
        warnings.warn(
            f"thinwire {found}. Codes run in plain torch, with the same results at a fraction of the speed. "
            "With a C++ compiler (g++ or clang++), reinstall it: pip install --force-reinstall --no-deps, "
            "or pip install -e . in a checkout.",
            RuntimeWarning,
            stacklevel=3,
        )
    return not isinstance(found, str)


def takes(fmt: Format, values: Tensor, d: int, stream: Tensor) -> bool:
    """Whether the library can encode (float32) or decode (bytes) these rows; where not, or not sound, the reference."""
    width = {torch.float32: d, torch.uint8: fmt.nbytes(d)}.get(values.dtype)
    return (
        d > 0
        and (fmt.kind is not Kind.ROTATED or (fmt.block >= 128 and fmt.block & fmt.block - 1 == 0))
        and values.device.type == stream.device.type == "cpu"
        and values.shape == (len(stream), width)
        and stream.shape[1:] == (4,)
        and stream.dtype == torch.int64
    )


@lru_cache(maxsize=256)
def _described(fmt: Format, d: int) -> _Format:
    blocks = fmt.blocks(d)
    return _Format(
        *(KINDS.index(fmt.kind), fmt.bits, fmt.levels, fmt.euclidean, fmt.nearest, fmt.least_error),
        *(d, blocks.count, blocks.size, fmt.body(blocks.size), fmt.nbytes(d)),
    )


def _rows(values: Tensor) -> Tensor:
    """The same matrix with its rows' elements side by side."""
    return values if values.stride(1) == 1 or values.shape[1] == 1 else values.contiguous()


def _checked(fault: int) -> None:
    if fault:
        raise (MemoryError if fault == 2 else ValueError)(FAULTS[fault])


def encode(fmt: Format, x: Tensor, stream: Tensor, level: int | None = None) -> Tensor:
    """`reference.encode`, for arguments that `takes` approves; `level` chooses a build below `best`."""
    x, stream, described = _rows(x.detach()), stream.contiguous(), _described(fmt, x.shape[1])
    data = torch.empty(len(x), described.nbytes, dtype=torch.uint8)
    done = loaded().thinwire_encode(  # type: ignore[union-attr]
        best() if level is None else level,
        *(described, len(x), x.data_ptr(), x.stride(0), stream.data_ptr(), data.data_ptr(), data.stride(0)),
    )
    _checked(done)
    return data


def decode(fmt: Format, data: Tensor, d: int, stream: Tensor, level: int | None = None) -> Tensor:
    """`reference.decode`, for arguments that `takes` approves; `level` chooses a build below `best`."""
    data, stream, described = _rows(data), stream.contiguous(), _described(fmt, d)
    assert data.shape[1] == described.nbytes
    out = torch.empty(len(data), d, dtype=torch.float32)
    done = loaded().thinwire_decode(  # type: ignore[union-attr]
        best() if level is None else level,
        *(described, len(data), data.data_ptr(), data.stride(0), stream.data_ptr(), out.data_ptr(), out.stride(0)),
    )
    _checked(done)
    return out
