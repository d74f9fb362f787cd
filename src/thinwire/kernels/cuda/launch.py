"""The calls of the seam, for arguments that `takes` approves: outputs, strides, and one program for each block."""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from thinwire.kernels.cuda.device import blocks
from thinwire.kernels.cuda.plan import Plan, plan
from thinwire.kernels.format import Format

CHUNK = 4096
"""Bytes of a flagged row that one program zeroes."""


UNFUSED = {"enable_fp_fusion": False}
"""No fused multiply-add: it would round once where the format rounds twice."""


def _options(chosen: Plan) -> dict[str, Any]:
    return {"P": chosen, "num_warps": chosen.warps, "num_stages": 1, **UNFUSED}


def _at(x: Tensor) -> AbstractContextManager[object]:
    """Launch on the GPU that x is on."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _rows(x: Tensor) -> Tensor:
    """The same matrix with its rows' elements side by side."""
    return x if x.stride(1) == 1 or x.shape[1] == 1 else x.contiguous()


def _step(x: Tensor) -> int:
    """From one row to the next; of a single row 0, which lets the compiler see that it is aligned."""
    return x.stride(0) if len(x) > 1 else 0


def _bits(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _sizes(fmt: Format, d: int) -> tuple[int, int, int, int]:
    """d, how many blocks, their size, and the bytes of the codes of one."""
    cut = fmt.blocks(d)
    return d, cut.count, cut.size, fmt.body(cut.size)


def _target(given: Tensor | None, rows: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where results go: the tensor that was given, if the kernels can write it, or a new one."""
    fits = given is not None and given.dtype == dtype and (given.stride(1) == 1 or width == 1)
    return given if given is not None and fits else torch.empty(rows, width, dtype=dtype, device=device)


def _done(target: Tensor, given: Tensor | None) -> Tensor:
    return target if given is None or given is target else given.copy_(target)


def _send(
    fmt: Format, x: Tensor, shift: Tensor | None, after: Tensor, lam: float, stream: Tensor, out: Tensor | None
) -> Tensor:
    rows, d = x.shape
    nbytes = fmt.nbytes(d)
    data = _target(out, rows, nbytes, torch.uint8, x.device)
    data[:, -1] = 0
    chunks = -(-nbytes // CHUNK)
    minus = x if shift is None else shift
    with _at(x):
        blocks.encode[(rows * fmt.blocks(d).count,)](
            *(x, minus, after, data, stream.contiguous()),
            *(_step(x), _step(minus), _step(after), data.stride(0), nbytes, *_sizes(fmt, d), _bits(lam)),
            MOVE=shift is not None,
            **_options(plan(fmt, d)),
        )
        blocks.blank[(rows * chunks,)](data, data.stride(0), nbytes, chunks, CHUNK=CHUNK, **UNFUSED)
    return _done(data, out)


def encode(fmt: Format, x: Tensor, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """`reference.encode`."""
    x = _rows(x)
    return _send(fmt, x, None, x, 0.0, stream, out)


def encode_difference(
    fmt: Format,
    x: Tensor,
    shift: Tensor,
    lam: float,
    stream: Tensor,
    after: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference.encode_difference` in one pass, for a shift like x."""
    moved = _target(after, len(x), x.shape[1], x.dtype, x.device)
    return _send(fmt, _rows(x), _rows(shift), moved, lam, stream, out), _done(moved, after)


def decode(fmt: Format, data: Tensor, d: int, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """`reference.decode`."""
    data = _rows(data)
    said = _target(out, len(data), d, torch.float32, data.device)
    with _at(data):
        blocks.decode[(len(data) * fmt.blocks(d).count,)](
            *(data, stream.contiguous(), said, _step(data), _step(said), *_sizes(fmt, d)), **_options(plan(fmt, d))
        )
    return _done(said, out)


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
    """`reference.decode_mean` in one pass, for a base of that dtype."""
    data, groups = _rows(data), len(data) // workers
    estimate = _target(out, groups, d, dtype, data.device)
    moved = estimate if base is None else _target(after, groups, d, dtype, data.device)
    old = estimate if base is None else _rows(base)
    with _at(data):
        blocks.decode_mean[(groups * fmt.blocks(d).count,)](
            *(data, stream.contiguous(), old, estimate, moved),
            *(_step(data), _step(old), _step(estimate), _step(moved), groups, workers),
            *(*_sizes(fmt, d), _bits(nu), _bits(lam)),
            BASED=base is not None,
            **_options(plan(fmt, d)),
        )
    return _done(estimate, out), None if base is None else _done(moved, after)
