"""What Triton's kernels must hold: the reference's bytes and values, bit for bit. `test_cuda.py` runs this file twice.

With TRITON_INTERPRET=1 the kernels run in Triton's interpreter, on CPU tensors, and without it on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kernels.test_cpu import BOTH, CHARACTERS, data, named, stream
from thinwire import kernels
from thinwire.kernels import cpu, cuda, reference
from thinwire.kernels.format import Format, Kind

pytest.importorskip("triton", reason="Triton is not installed", exc_type=ImportError)
from thinwire.kernels.cuda import launch

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"

KINDS = [
    Format(Kind.ROTATED, 3, 1024),
    Format(Kind.DITHER, 3, 1024, 3),
    Format(Kind.DITHER, 0, 1280, 1, euclidean=True),
    Format(Kind.NATURAL_DITHER, 4, 1024, 7),
    Format(Kind.SIGN, 1, 1024),
    Format(Kind.NATURAL, 9, 1024),
]
"""One of each kind."""
FORMATS = [
    *KINDS,
    *(Format(Kind.ROTATED, bits, 128, least_error=least) for bits, least in product((1, 2, 3, 4), BOTH)),
    *(Format(Kind.DITHER, 4, 512, 7, euclidean=e, nearest=n) for e, n in product(BOTH, BOTH)),
    *(Format(Kind.DITHER, (2 * levels).bit_length(), 256, levels) for levels in (1, 20, 50, 127)),
    *(Format(Kind.DITHER, 0, 200, 1), Format(Kind.SIGN, 1, 200)),
    *(Format(Kind.NATURAL_DITHER, 1 + s.bit_length(), 512, s, euclidean=True) for s in (1, 125)),
]
DTYPES = (torch.float32, torch.float64)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The interpreter computes what it then masks out, and NumPy would warn of that."""
    with np.errstate(all="ignore"):
        yield


def on(x: Tensor) -> Tensor:
    return x.to(DEVICE)


def bits(x: Tensor) -> Tensor:
    """The bits of each element, all NaN alike."""
    x = torch.where(x.isnan(), torch.nan, x.cpu()).contiguous()
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int64)


def same(given: Tensor | None, expected: Tensor | None) -> bool:
    if given is None or expected is None:
        return given is expected
    return given.dtype == expected.dtype and torch.equal(bits(given), bits(expected.cpu()))


def check(fmt: Format, x: Tensor) -> None:
    keys, d = stream(len(x)), x.shape[1]
    expected = reference.encode(fmt, x, keys)
    assert torch.equal(launch.encode(fmt, on(x), on(keys)).cpu(), expected), d
    assert same(launch.decode(fmt, on(expected), d, on(keys)), reference.decode(fmt, expected, d, keys)), d


@pytest.mark.parametrize("fmt", FORMATS, ids=named)
def test_every_format(fmt: Format) -> None:
    check(fmt, data("gauss", 1, 7))
    check(fmt, data("gauss", 2, 300))


@pytest.mark.parametrize("fmt", KINDS, ids=named)
def test_every_size(fmt: Format) -> None:
    for rows, d in ((3, 1), (2, 100), (2, 1024), (1, 1500)):
        check(fmt, data("heavy", rows, d))
    check(fmt, data("gauss", 1, 5000).double())


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("fmt", KINDS, ids=named)
def test_every_character_of_data(fmt: Format, character: str) -> None:
    check(fmt, data(character, 3, 140))


def test_a_scale_that_overflows_flags_its_row_and_no_other() -> None:
    fmt = Format(Kind.DITHER, 4, 128, 7, euclidean=True)
    x = data("gauss", 3, 300)
    x[1, 200:] = 3e38
    check(fmt, x)
    assert launch.encode(fmt, on(x), on(stream(3)))[:, -1].tolist() == [0, 1, 0]


@pytest.mark.parametrize("fmt", FORMATS, ids=named)
def test_any_bytes_are_decoded_alike(fmt: Format) -> None:
    sent = torch.randint(0, 256, (2, fmt.nbytes(210)), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    keys = stream(2)
    assert same(launch.decode(fmt, on(sent), 210, on(keys)), reference.decode(fmt, sent, 210, keys))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fmt", KINDS, ids=named)
def test_a_senders_step(fmt: Format, dtype: torch.dtype) -> None:
    d, lam, keys = 1100, 0.3, stream(2)
    x = data("heavy", 2, d).to(dtype) / 3
    shift = data("gauss", 2, d).to(dtype).flip(1) / 7
    x[1] = shift[1]  # nothing to say
    sent, after = reference.encode_difference(fmt, x, shift, lam, keys)
    given = on(x.clone())
    for target in (None, given):  # x itself may take the result
        told, moved = launch.encode_difference(fmt, given, on(shift), lam, on(keys), target)
        assert torch.equal(told.cpu(), sent)
        assert same(moved, after)
    assert moved is given


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fmt", KINDS, ids=named)
def test_a_receivers_step(fmt: Format, dtype: torch.dtype) -> None:
    d, groups, workers = 300, 2, 3
    rows = workers * groups
    keys = stream(rows)
    x = data("gauss", rows, d)
    x[:, :9] = -0.0
    sent = reference.encode(fmt, x, keys)
    base = data("heavy", groups, d).to(dtype)
    for old in (None, base):
        expected = reference.decode_mean(fmt, sent, d, keys, workers, dtype, old, 0.7, 0.3)
        given = None if old is None else on(old.clone())
        for out in (None, given):  # the base itself may take a result
            found = launch.decode_mean(fmt, on(sent), d, on(keys), workers, dtype, given, 0.7, 0.3, out=out)
            assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_more_workers_than_lanes() -> None:
    fmt, workers, d = KINDS[-1], 131, 50
    keys = stream(workers)
    sent = reference.encode(fmt, data("gauss", workers, d), keys)
    expected = reference.decode_mean(fmt, sent, d, keys, workers)[0]
    assert same(launch.decode_mean(fmt, on(sent), d, on(keys), workers)[0], expected)


@pytest.mark.parametrize("fmt", [KINDS[0], KINDS[-1]], ids=named)
def test_memory_layout_does_not_matter(fmt: Format) -> None:
    x, shift = data("gauss", 3, 141)[:, 1:], data("heavy", 140, 3).t()
    keys, d = stream(3), 140
    sent, after = reference.encode_difference(fmt, x, shift, 0.5, keys)
    for room in (torch.empty(3, 2 * d).to(DEVICE)[:, ::2], torch.empty(3, d + 5).to(DEVICE)[:, 2:-3]):
        out = torch.empty(3, sent.shape[1] + 3, dtype=torch.uint8, device=DEVICE)[:, 1:-2]
        told, moved = launch.encode_difference(fmt, on(x), on(shift), 0.5, on(keys), room, out)
        assert told is out
        assert moved is room
        assert torch.equal(told.cpu(), sent)
        assert same(moved, after)
        said = launch.decode(fmt, told, d, on(keys), room)
        assert said is room
        assert same(said, reference.decode(fmt, sent, d, keys))


def test_the_seam_takes_these_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE == "cpu":
        monkeypatch.setattr(cuda, "DEVICE", "cpu")
        monkeypatch.setattr(cuda, "available", lambda: True)
        monkeypatch.setattr(cpu, "takes", lambda *_: False)
    for name in ("encode", "decode", "encode_difference", "decode_mean"):
        monkeypatch.delattr(reference, name)
    fmt, x, keys = KINDS[0], on(data("gauss", 2, 100)), on(stream(2))
    sent = kernels.encode(fmt, x, keys)
    assert torch.equal(kernels.encode_difference(fmt, x, torch.zeros_like(x), 1.0, keys)[0], sent)
    said = kernels.decode(fmt, sent, 100, keys)
    assert torch.equal(kernels.decode_mean(fmt, sent, 100, keys, 2)[0][0], (said[0] + said[1]) / 2)
