"""Plain torch, any device: the oracle of the kernels, and what runs where no faster make is at hand.

It walks over the blocks in chunks that stay in a core's cache, and lays the blocks of a chunk side by side, (size, c):
then every plane, every butterfly and every half of a sum is contiguous memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from thinwire.kernels import codes, pack, rotate
from thinwire.kernels.arith import INFINITE, rank_mean
from thinwire.kernels.draws import Draws
from thinwire.kernels.format import Blocks, Format, Kind

CHUNK = 1 << 16
"""Elements worked on at a time: 256 KiB of float32."""

Encoder = Callable[[Format, Tensor, Draws, Tensor], codes.Coded]
Decoder = Callable[[Format, Tensor | None, Tensor, Draws], Tensor]

CODERS: dict[Kind, tuple[Encoder, Decoder]] = {
    Kind.DITHER: (codes.dither, codes.undither),
    Kind.SIGN: (codes.sign, codes.unsign),
    Kind.NATURAL: (codes.natural, codes.unnatural),
    Kind.NATURAL_DITHER: (codes.natural_dither, codes.unnatural_dither),
    Kind.ROTATED: (rotate.rotated, rotate.unrotated),
}


def nonfinite(x: Tensor) -> Tensor:
    """(rows,) bool: which rows of a float32 matrix hold a NaN or an Inf."""
    if x.shape[1] == 0:
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    return (x.view(torch.int32) & 0x7FFFFFFF).amax(dim=1) >= INFINITE


def _chunks(fmt: Format, rows: int, blocks: Blocks, stream: Tensor) -> Iterator[tuple[slice, Draws, Tensor]]:
    """Slices of the rows · count blocks, with the draws and the number of real elements of each block."""
    at_once = max(1, CHUNK // max(blocks.size, 1))
    block = torch.arange(blocks.count, device=stream.device).repeat(rows)
    real = torch.where(block == blocks.count - 1, blocks.size - blocks.padding, blocks.size)
    draws = Draws(stream.repeat_interleave(blocks.count, dim=0), block)
    if fmt.kind is Kind.ROTATED:  # few enough to be drawn all at once
        draws = replace(draws, signs=draws.sign_words(blocks.size))
    for start in range(0, rows * blocks.count, at_once):
        part = slice(start, min(start + at_once, rows * blocks.count))
        yield part, draws.part(part), real[part]


def encode(fmt: Format, x: Tensor, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """(rows, d) float32 -> (rows, fmt.nbytes(d)) uint8: scales, codes, flag; zeros but for the flag if it is set.

    float64 is rounded to float32. `out`, if it is given, takes the bytes and is the result.
    """
    rows, d = x.shape
    blocks = fmt.blocks(d)
    x = x.to(torch.float32)
    data = torch.empty(rows, fmt.nbytes(d), dtype=torch.uint8, device=x.device) if out is None else out
    bad = nonfinite(x)
    if d:
        if blocks.padding:
            x = torch.nn.functional.pad(x, (0, blocks.padding))
        cut = x.contiguous().view(-1, blocks.size)
        head = torch.empty(len(cut), dtype=torch.float32, device=x.device)
        body = torch.empty(len(cut), fmt.body(blocks.size), dtype=torch.uint8, device=x.device)
        coder = CODERS[fmt.kind][0]
        for part, draws, real in _chunks(fmt, rows, blocks, stream):
            scale, code = coder(fmt, cut[part].t().contiguous(), draws, real)
            if scale is not None:
                head[part] = scale
            body[part] = (pack.pack(code, fmt.bits) if fmt.bits else pack.pack_trits(code)).t()
        split = 4 * blocks.count * fmt.scaled
        if fmt.scaled:
            head = head.view(rows, blocks.count)
            bad = bad | nonfinite(head)
            data[:, :split] = head.view(torch.uint8)
        data[:, split:-1] = body.view(rows, blocks.count * body.shape[1])
        data.masked_fill_(bad[:, None], 0)
    data[:, -1] = bad
    return data


def decode(fmt: Format, data: Tensor, d: int, stream: Tensor, out: Tensor | None = None) -> Tensor:
    """The (rows, d) float32 that `encode` meant, in `out` if it is given."""
    rows = len(data)
    blocks = fmt.blocks(d)
    if not d:
        return torch.zeros(rows, 0, dtype=torch.float32, device=data.device) if out is None else out
    split = 4 * blocks.count * fmt.scaled
    # a copy, since the memory of bytes from elsewhere need not be aligned
    head = data[:, :split].clone(memory_format=torch.contiguous_format).view(torch.float32) if fmt.scaled else None
    body = data[:, split:-1].reshape(rows * blocks.count, fmt.body(blocks.size))
    said = torch.empty(rows * blocks.count, blocks.size, dtype=torch.float32, device=data.device)
    coder = CODERS[fmt.kind][1]
    for part, draws, _ in _chunks(fmt, rows, blocks, stream):
        piece = body[part].t().contiguous()
        code = pack.unpack(piece, blocks.size, fmt.bits) if fmt.bits else pack.unpack_trits(piece, blocks.size)
        said[part] = coder(fmt, None if head is None else head.view(-1)[part], code, draws).t()
    said = said.view(rows, blocks.count * blocks.size)[:, :d]
    return said if out is None else out.copy_(said)


def encode_difference(
    fmt: Format,
    x: Tensor,
    shift: Tensor,
    lam: float,
    stream: Tensor,
    after: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(`encode` of x − shift, shift + lam · what that says): a sender's step of the recursion.

    x and shift are float32 or float64, (rows, d); the difference is taken in their precision, then rounded to float32,
    and lam · said is rounded before it is added. The bytes are written to `out`, the second result to `after`, where
    they are given; `after` may be x, not shift. Of a row whose flag is set it is unspecified.
    """
    data = encode(fmt, x - shift, stream, out)
    said = decode(fmt, data, x.shape[1], stream).to(shift.dtype)
    moved = shift + said.mul_(lam)
    return data, moved if after is None else after.copy_(moved)


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
    """The mean over `workers` of what (workers · groups) rows say, row w · groups + g being worker w's for group g.

    Sums are taken in rank order in `dtype` (`rank_sum`) and divided by `workers`. Gives (groups, d), base + nu · mean
    (nu · mean without a base), and base + lam · mean (None without): a receiver's step of the recursion. Products are
    rounded before they are added. Flags are not looked at. The results are written to `out` and `after` where they are
    given; one of them may be base, and they must not be each other.
    """
    said = decode(fmt, data, d, stream).to(dtype)
    mean = rank_mean(said.view(workers, -1, d))
    if base is None:
        return torch.mul(mean, nu, out=out), None
    moved = base + mean * lam
    return torch.add(base, mean * nu, out=out), moved if after is None else after.copy_(moved)
