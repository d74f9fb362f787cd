"""The compiled make of the codes, for tensors in a CPU's memory: bit for bit what `reference` gives, many times faster.

The sources are in `native/`; installing the package compiles them into one library of several builds, and the best one
that the processor can run is taken. Calls run without the interpreter's lock, long ones in as many threads as torch's
own operations, unless the calling thread has asked for one (`single_thread`). Bytes do not depend on their number.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
import warnings
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from thinwire.kernels.format import Format, Kind

ABI = 2
SOURCES = Path(__file__).parent / "native"
LIBRARY = Path(__file__).parent / f"libthinwire{'.dylib' if sys.platform == 'darwin' else '.so'}"

KINDS = (Kind.DITHER, Kind.SIGN, Kind.NATURAL, Kind.NATURAL_DITHER, Kind.ROTATED)
"""In the order of the library's numbers."""
FAULTS = {1: "the library refuses the format", 2: "no memory"}

SHARED = 1 << 18
"""Elements from which on a call is shared out among threads: a megabyte of float32."""
_asked = threading.local()


class _Format(ctypes.Structure):
    """`Format` of native/format.h."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "bits", "levels", "euclidean", "nearest", "least_error")),
        *((name, c_int64) for name in ("d", "count", "size", "body", "nbytes")),
    )


class _Sending(ctypes.Structure):
    """`Sending` of native/format.h."""

    _fields_ = (
        ("format", c_void_p),
        ("rows", c_int64),
        *((name, c_void_p) for name in ("x", "shift", "after")),
        *((name, c_int64) for name in ("x_stride", "shift_stride", "after_stride")),
        *(("stream", c_void_p), ("data", c_void_p), ("data_stride", c_int64)),
        *(("lam", c_double), ("wide", c_int32), ("threads", c_int32)),
    )


class _Receiving(ctypes.Structure):
    """`Receiving` of native/format.h."""

    _fields_ = (
        ("format", c_void_p),
        *(("workers", c_int64), ("groups", c_int64)),
        *(("data", c_void_p), ("data_stride", c_int64), ("stream", c_void_p)),
        *((name, c_void_p) for name in ("base", "out", "after")),
        *((name, c_int64) for name in ("base_stride", "out_stride", "after_stride")),
        *(("nu", c_double), ("lam", c_double), ("wide", c_int32), ("threads", c_int32)),
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
    found.thinwire_level.restype = found.thinwire_encode.restype = found.thinwire_decode.restype = c_int32
    found.thinwire_encode.argtypes = (c_int32, POINTER(_Sending))
    found.thinwire_decode.argtypes = (c_int32, POINTER(_Receiving))
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


def single_thread() -> None:
    """From now on, calls from the present thread use no other: for one that works beside the others, as it should."""
    _asked.single = True


def threads(elements: int) -> int:
    """How many threads a call on so many elements uses."""
    return 1 if elements < SHARED or getattr(_asked, "single", False) else torch.get_num_threads()


WIDE = {torch.float32: 0, torch.float64: 1}


def takes(fmt: Format, values: Tensor, d: int, stream: Tensor) -> bool:
    """Whether the library can encode (floats) or decode (bytes) these rows; where not, or not sound, the reference."""
    width = fmt.nbytes(d) if values.dtype == torch.uint8 else d
    return (
        d > 0
        and (fmt.kind is not Kind.ROTATED or (fmt.block >= 128 and fmt.block & fmt.block - 1 == 0))
        and (values.dtype == torch.uint8 or values.dtype in WIDE)
        and values.device.type == stream.device.type == "cpu"
        and values.shape == (len(stream), width)
        and stream.shape[1:] == (4,)
        and stream.dtype == torch.int64
    )


def matches(values: Tensor | None, rows: int, d: int, dtype: torch.dtype) -> bool:
    """Whether these values can go with those of a call that the library takes: (rows, d) of that width, or none."""
    fits = values is None or (values.shape == (rows, d) and values.dtype == dtype and values.device.type == "cpu")
    return fits and dtype in WIDE


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


class _Target:
    """Where results go: the tensor that was given, if its rows are as the library wants them, or a new one."""

    def __init__(self, given: Tensor | None, rows: int, width: int, dtype: torch.dtype) -> None:
        if given is not None:
            assert (given.shape, given.dtype) == ((rows, width), dtype), "results of another form"
            assert given.device.type == "cpu"
        fits = given is not None and (given.stride(1) == 1 or width == 1)
        self._given = given
        self.rows = given.detach() if given is not None and fits else torch.empty(rows, width, dtype=dtype)

    def done(self) -> Tensor:
        if self._given is None or self._given.data_ptr() == self.rows.data_ptr():
            return self.rows if self._given is None else self._given
        return self._given.copy_(self.rows)


def _at(values: Tensor | None, name: str) -> dict[str, int]:
    """The fields `name` and `name`_stride of a call."""
    return {} if values is None else {name: values.data_ptr(), f"{name}_stride": values.stride(0)}


def _checked(fault: int) -> None:
    if fault:
        raise (MemoryError if fault == 2 else ValueError)(FAULTS[fault])


def encode(
    fmt: Format,
    x: Tensor,
    stream: Tensor,
    out: Tensor | None = None,
    *,
    level: int | None = None,
    by: int | None = None,
) -> Tensor:
    """`reference.encode`, for arguments that `takes` approves; `level` chooses a build below `best`, `by` threads."""
    return _send(fmt, x, None, 0.0, stream, None, out, level, by)


def encode_difference(
    fmt: Format,
    x: Tensor,
    shift: Tensor,
    lam: float,
    stream: Tensor,
    after: Tensor | None = None,
    out: Tensor | None = None,
    *,
    level: int | None = None,
    by: int | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference.encode_difference` in one pass, where `takes` approves of x and the others are like x."""
    moved = _Target(after, len(x), x.shape[1], x.dtype)
    data = _send(fmt, x, _rows(shift.detach()), lam, stream, moved.rows, out, level, by)
    return data, moved.done()


def _send(
    fmt: Format,
    x: Tensor,
    shift: Tensor | None,
    lam: float,
    stream: Tensor,
    after: Tensor | None,
    out: Tensor | None,
    level: int | None,
    by: int | None,
) -> Tensor:
    x, stream, described = _rows(x.detach()), stream.contiguous(), _described(fmt, x.shape[1])
    data = _Target(out, len(x), described.nbytes, torch.uint8)
    call = _Sending(
        format=ctypes.addressof(described),
        rows=len(x),
        stream=stream.data_ptr(),
        lam=lam,
        wide=WIDE[x.dtype],
        threads=threads(x.numel()) if by is None else by,
        **(_at(x, "x") | _at(shift, "shift") | _at(after, "after") | _at(data.rows, "data")),
    )
    _checked(loaded().thinwire_encode(best() if level is None else level, call))  # type: ignore[union-attr]
    return data.done()


def decode(
    fmt: Format,
    data: Tensor,
    d: int,
    stream: Tensor,
    out: Tensor | None = None,
    *,
    level: int | None = None,
    by: int | None = None,
) -> Tensor:
    """`reference.decode`, for arguments that `takes` approves; `level` chooses a build below `best`, `by` threads."""
    return decode_mean(fmt, data, d, stream, 1, out=out, level=level, by=by)[0]


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
    *,
    level: int | None = None,
    by: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`reference.decode_mean` in one pass, where `takes` approves of the data and the others are of that dtype."""
    data, stream, described = _rows(data), stream.contiguous(), _described(fmt, d)
    assert data.shape[1] == described.nbytes
    assert len(data) == len(stream)
    groups = len(data) // workers
    base = None if base is None else _rows(base.detach())
    estimate = _Target(out, groups, d, dtype)
    moved = None if base is None else _Target(after, groups, d, dtype)
    call = _Receiving(
        format=ctypes.addressof(described),
        workers=workers,
        groups=groups,
        stream=stream.data_ptr(),
        nu=nu,
        lam=lam,
        wide=WIDE[dtype],
        threads=threads(len(data) * d) if by is None else by,
        **(_at(data, "data") | _at(base, "base") | _at(estimate.rows, "out")),
        **_at(None if moved is None else moved.rows, "after"),
    )
    _checked(loaded().thinwire_decode(best() if level is None else level, call))  # type: ignore[union-attr]
    return estimate.done(), None if moved is None else moved.done()
