"""The real keys, draws and codes against their float64 twins, draw by draw.

Float32 and float64 disagree on a code only where |x| · s / scale + u falls within rounding error of a whole number.
With u uniform that has probability 2 · error, and error is at most s · R · 2^-24 after R roundings of relative size
2^-24; so of n elements about λ = 2 n s R 2^-24 may differ, and 1 + λ + 5√λ is beyond five sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard as sylvester  # type: ignore[import-untyped]  # scipy has no types

from thinwire import (
    Compressor,
    Dither,
    Key,
    Natural,
    NaturalDither,
    PermK,
    RandK,
    Rotated,
    Sign,
    Ternary,
    TopK,
)
from thinwire.kernels import draws
from thinwire.kernels.arith import hadamard, root, tree_sum
from thinwire.kernels.rotate import CENTROIDS
from thinwire.keys import SHARED, Purpose, philox

from ..reference import compressors as twin

VECTORS = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
"""The known answers for philox4x32-10 that Random123 is tested with."""


@pytest.mark.parametrize(("counter", "key", "answer"), VECTORS)
def test_philox_gives_the_known_answers(
    counter: twin.Stream, key: tuple[int, int], answer: tuple[int, int, int, int]
) -> None:
    assert twin.philox(counter, key) == answer
    assert tuple(philox(np.array(counter, np.uint64), np.array(key, np.uint64)).tolist()) == answer
    words = draws.philox(*(torch.tensor(word) for word in (*counter, *key)))
    assert tuple(int(word) for word in words) == answer


def test_streams_are_philox_of_the_counter() -> None:
    key = Key(seed=2**64 - 12345, step=7, tensor=9, ranks=range(2, 9, 3), shares=range(1, 7, 2), level=3)
    rows = [(rank, share) for rank in (2, 5, 8) for share in (1, 3, 5)]
    for purpose in Purpose:
        own = [twin.stream(key.seed, 7, 9, rank, share, 3, purpose) for rank, share in rows]
        assert key.stream(purpose).tolist() == [list(words) for words in own]
        alike = [twin.stream(key.seed, 7, 9, SHARED, share, 3, purpose) for _, share in rows]
        assert key.stream(purpose, shared=True).tolist() == [list(words) for words in alike]
    assert key.uniform(Purpose.COIN) == twin.stream(key.seed, 7, 9, SHARED, 0, 3, twin.COIN)[0] / 2**32


@pytest.mark.parametrize("size", [1, 7, 8, 9, 128, 129, 1000])
def test_draws_are_in_planes(size: int) -> None:
    key = Key(seed=11, step=5, ranks=range(3))
    real = draws.Draws(key.stream(Purpose.CODE), torch.tensor([0, 4, 9]))
    for row, block in enumerate((0, 4, 9)):
        words = twin.stream(11, 5, 0, row)
        assert real.halves(size)[:, row].tolist() == twin.draws(words, block, size, 16).tolist()
        assert real.words(size)[:, row].tolist() == twin.draws(words, block, size, 32).tolist()
        for part in (0, 1):
            signs = (real.sign_bits(size, part)[:, row] < 0).to(torch.int64)
            assert signs.tolist() == twin.draws(words, block, size, 1, part).tolist()


def test_roots_are_correctly_rounded() -> None:
    """In whole numbers: from 2^46 to 2^47 a root r has units of 1, and is the nearest if (2r − 1)² ≤ 4x ≤ (2r + 1)²."""
    mantissas = torch.randint(1 << 23, 1 << 24, (20_000,), generator=torch.Generator().manual_seed(0))
    for square, r in zip((mantissas << 23).tolist(), root((mantissas << 23).float()).tolist(), strict=True):
        assert (2 * int(r) - 1) ** 2 <= 4 * square <= (2 * int(r) + 1) ** 2


@pytest.mark.parametrize("size", [1, 2, 5, 8, 100])
def test_sums_are_trees(size: int) -> None:
    values = torch.randn(size, 2, generator=torch.Generator().manual_seed(size))
    column = [np.float32(value) for value in values[:, 1].tolist()]
    column += [np.float32(0)] * ((1 << (size - 1).bit_length()) - size)
    while len(column) > 1:
        half = len(column) // 2
        column = [column[i] + column[i + half] for i in range(half)]
    assert tree_sum(values)[1] == float(column[0])


@pytest.mark.parametrize("size", [2, 8, 128, 1024])
def test_transforms_are_those_of_sylvester(size: int) -> None:
    """Whole numbers, so that every order of additions gives the same."""
    values = torch.randint(-99, 100, (size, 3), generator=torch.Generator().manual_seed(size)).float()
    wanted = sylvester(size) @ values.numpy()
    assert np.array_equal(hadamard(values.clone()).numpy(), wanted)


Coder = Callable[[twin.Floats, twin.Ints], twin.Floats]

CODERS: dict[str, tuple[Compressor, Coder, float]] = {
    "dither": (Dither(bits=4), lambda x, u: twin.dither(x, 7, np.inf, u), 7),
    "dither 8": (Dither(bits=8, block=100), lambda x, u: twin.dither(x, 127, np.inf, u), 127),
    "dither l2": (Dither(levels=20, norm=2), lambda x, u: twin.dither(x, 20, 2, u), 20),
    "nearest": (Dither(bits=3, rounding="nearest"), lambda x, u: twin.dither(x, 3, np.inf, None), 3),
    "ternary": (Ternary(), lambda x, u: twin.dither(x, 1, np.inf, u), 1),
    "ternary l2": (Ternary(norm=2, block=99), lambda x, u: twin.dither(x, 1, 2, u), 1),
    "natural": (Natural(), lambda x, u: twin.natural(x, u), 0),
    "natural dither": (NaturalDither(), lambda x, u: twin.natural_dither(x, 7, np.inf, u), 1),
    "natural dither l2": (
        NaturalDither(levels=12, norm=2, block=128),
        lambda x, u: twin.natural_dither(x, 12, 2, u),
        1,
    ),
    "sign": (Sign(block=300), lambda x, u: twin.sign(x), 0),
}
"""A code, its twin for one block, and the s of the bound above (for natural dithering every interval is one level)."""


def blockwise(x: twin.Floats, block: int, coder: Coder, words: twin.Stream) -> twin.Floats:
    """Draws are for a whole block, although the last one's end is not the vector's own."""
    parts = twin.cut(len(x), block)
    drawn = [twin.draws(words, b, part.stop - part.start, 16) for b, part in enumerate(parts)]
    return np.concatenate([coder(x[part], u[: len(x[part])]) for part, u in zip(parts, drawn, strict=True)])


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("d", [1, 7, 129, 1000, 2500])
def test_codes_are_those_of_the_definition(name: str, d: int) -> None:
    compressor, coder, levels = CODERS[name]
    x = np.random.default_rng(d).standard_t(3, (3, d)).astype(np.float32)
    x[0, ::3] = 0
    key = Key(seed=5, step=8, ranks=range(3))
    real = compressor.decode(compressor.encode(torch.from_numpy(x), key)).double().numpy()
    block = compressor.block  # type: ignore[attr-defined]  # all of the table have one
    wanted = np.stack(
        [blockwise(row.astype(np.float64), block, coder, twin.stream(5, 8, 0, i)) for i, row in enumerate(x)]
    )
    # Values: a scale is off by at most half a unit for each level of its sum and the root, a value by 3 more.
    roundings = 5 + math.log2(max(d, 2))
    off = abs(real - wanted) > roundings * 2.0**-24 * abs(wanted)
    expected = 2 * x.size * levels * roundings * 2.0**-24
    allowed = (1 + expected + 5 * math.sqrt(expected)) if levels else 0
    assert off.sum() <= allowed


@pytest.mark.parametrize("bits", CENTROIDS)
def test_centroids_are_those_of_lloyd_and_max(bits: int) -> None:
    """1e-11: the constants have 14 to 17 digits; a threshold's float32 has 8."""
    np.testing.assert_allclose(CENTROIDS[bits], twin.lloyd_max(bits), rtol=0, atol=1e-11)


@pytest.mark.parametrize("bits", CENTROIDS)
@pytest.mark.parametrize("least_error", [False, True])
def test_rotated_codes_are_those_of_a_dense_rotation(bits: int, least_error: bool) -> None:
    compressor = Rotated(bits=bits, block=256, scale="least-error" if least_error else "unbiased")
    key = Key(seed=5, step=8, ranks=range(2, 4))
    for d in (1, 7, 128, 129, 256, 257, 600):
        x = np.random.default_rng(d).standard_t(3, (2, d)).astype(np.float32)
        real = compressor.decode(compressor.encode(torch.from_numpy(x), key)).double().numpy()
        parts = twin.cut(d, 256, rotated=True)
        for row in (0, 1):
            padded = np.concatenate((x[row].astype(np.float64), np.zeros(parts[-1].stop - d)))
            words = twin.stream(5, 8, 0, 2 + row)
            wanted = np.concatenate(
                [twin.rotated(padded[part], bits, words, b, least_error) for b, part in enumerate(parts)]
            )[:d]
            # 2 log2 B + 8 roundings of 2^-24 relative to the block's norm in each direction, no code flipped: an
            # element is that near to one of 2^b thresholds with probability below 1e-5, and seeds are fixed.
            error = 2 * (2 * math.log2(256) + 8) * 2.0**-24 * np.linalg.norm(x[row])
            assert abs(real[row] - wanted).max() <= error, (d, row)


@pytest.mark.parametrize("d", [1, 2, 7, 100, 1024, 2050])
def test_selections_are_those_of_the_definition(d: int) -> None:
    x = np.random.default_rng(d).standard_normal((3, d)).astype(np.float32)
    key = Key(seed=5, step=8, tensor=1, ranks=range(3))
    keep, runs = max(1, round(0.25 * d)), max(1, round(0.5 * -(-d // 8)))
    run = -(-d // -(-d // 8))

    def received(compressor: Compressor) -> twin.Floats:
        back: twin.Floats = compressor.decode(compressor.encode(torch.from_numpy(x), key)).double().numpy()
        return back

    alike = twin.stream(5, 8, 1, SHARED, purpose=twin.SELECT)
    turn = twin.stream(5, 8, 1, SHARED, purpose=twin.OWNER)[0] / 2**32
    for i in range(3):
        own = twin.stream(5, 8, 1, i, purpose=twin.SELECT)
        row = x[i].astype(np.float64)
        for real, wanted in (
            (received(RandK(0.25)), twin.randk(row, keep, 1, own)),
            (received(RandK(0.25, shared=True)), twin.randk(row, keep, 1, alike)),
            (received(RandK(0.5, block=8)), twin.randk(row, runs, run, own)),
            (received(PermK(workers=3)), twin.permk(row, 3, i, alike, turn)),
            (received(PermK(workers=90)), twin.permk(row, 90, i, alike, turn)),
            (received(TopK(min(3, d))), twin.topk(row, min(3, d))),
        ):
            # The factor d / k and the product are rounded once each.
            np.testing.assert_allclose(real[i], wanted, rtol=2 * 2.0**-24, atol=0)
