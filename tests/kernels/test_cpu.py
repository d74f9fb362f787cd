"""The compiled codes are the reference's, bit for bit: every format, every build that runs here, any bytes."""

from __future__ import annotations

import threading
import warnings
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinwire import kernels
from thinwire.kernels import cpu, dispatch, reference
from thinwire.kernels.format import Format, Kind
from thinwire.kernels.pack import pack
from thinwire.keys import Key, Purpose

BOTH = (False, True)
ROTATED = [
    Format(Kind.ROTATED, bits, block, least_error=least_error)
    for bits, block, least_error in product((1, 2, 3, 4), (128, 256, 512, 1024, 2048, 8192, 65536), (False, True))
]
DITHERED = [
    Format(Kind.DITHER, (2 * levels).bit_length(), block, levels, euclidean=euclidean, nearest=nearest)
    for levels, block, euclidean, nearest in product(
        (1, 3, 7, 20, 127), (1, 99, 256, 1024), (False, True), (False, True)
    )
]
TERNARY = [
    Format(Kind.DITHER, 0, block, 1, euclidean=euclidean)
    for block, euclidean in product((5, 99, 1280, 65536), (False, True))
]
NATURAL_DITHER = [
    Format(Kind.NATURAL_DITHER, 1 + levels.bit_length(), block, levels, euclidean=euclidean)
    for levels, block, euclidean in product((1, 2, 7, 125), (100, 1024), (False, True))
]
PLAIN = [Format(kind, bits, block) for kind, bits in ((Kind.SIGN, 1), (Kind.NATURAL, 9)) for block in (1, 100, 1024)]
FORMATS = [*ROTATED, *DITHERED, *TERNARY, *NATURAL_DITHER, *PLAIN]
SAMPLE = FORMATS[::5]
SIZES = (1, 7, 127, 128, 1000, 1024, 1025, 5000)

needs_library = pytest.mark.skipif(isinstance(cpu.loaded(), str), reason=f"thinwire {cpu.loaded()}")
pytestmark = needs_library
LEVELS = () if isinstance(cpu.loaded(), str) else range(cpu.best() + 1)


def named(fmt: Format) -> str:
    flags = [flag for flag in ("euclidean", "nearest", "least_error") if getattr(fmt, flag)]
    return " ".join([fmt.kind.value, f"{fmt.bits}b", f"{fmt.levels}l", f"of {fmt.block}", *flags])


def stream(rows: int) -> Tensor:
    return Key(seed=0xFEED_0123456789, step=7, ranks=range(rows)).stream(Purpose.CODE)


def data(name: str, rows: int, d: int) -> Tensor:
    """Reproducible rows of one character."""
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(d))
    match name:
        case "heavy":
            x = x**9
        case "sparse":
            x[torch.arange(rows * d).view(rows, d) % 97 > 0] = 0
        case "zeros":
            x = torch.zeros(rows, d)
            x[:, ::2] = -0.0
        case "tiny":
            x = x * 2.0**-101
        case "denormal":
            x = x * 1e-41
        case "huge":
            x = x.clamp(-1, 1) * 3.4e38
        case "bad":
            x[0, d // 2] = float("nan")
            x[-1, d // 3] = -float("inf")
        case "mixed":
            x[:, ::3] *= 1e-39
            x[:, 1::3] *= 1e30
    return x


CHARACTERS = ("gauss", "heavy", "sparse", "zeros", "tiny", "denormal", "huge", "bad", "mixed")


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def check(fmt: Format, x: Tensor, sent: Tensor | None = None) -> None:
    """Encode x, decode that (or `sent`), by the reference and by every build."""
    keys, d = stream(len(x)), x.shape[1]
    expected = reference.encode(fmt, x, keys)
    sent = expected if sent is None else sent
    received = reference.decode(fmt, sent, d, keys)
    for level in LEVELS:
        assert torch.equal(cpu.encode(fmt, x, keys, level=level), expected), (d, level)
        assert same_bits(cpu.decode(fmt, sent, d, keys, level=level), received), (d, level)


@pytest.mark.parametrize("fmt", FORMATS, ids=named)
def test_every_format_gives_the_same_bits_at_every_size(fmt: Format) -> None:
    for d in SIZES:
        check(fmt, data("gauss", 2, d))


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_and_for_every_character_of_data(fmt: Format, character: str) -> None:
    for rows, d in ((1, 1), (3, 129), (2, 2049)):
        check(fmt, data(character, rows, d))


@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_and_at_length(fmt: Format) -> None:
    check(fmt, data("heavy", 1, 100_003))


@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_any_bytes_are_decoded_alike(fmt: Format) -> None:
    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(st.integers(1, 2100), st.integers(0, 2**32))
    def run(d: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        sent = torch.randint(0, 256, (2, fmt.nbytes(d)), dtype=torch.uint8, generator=generator)
        check(fmt, data("gauss", 2, d), sent)

    run()


def test_every_quotient_of_dithering_is_rounded_as_a_division() -> None:
    """The library multiplies by two parts of 1 / s: all codes of all s, those that no sender makes too."""
    for levels in range(1, 128):
        fmt = Format(Kind.DITHER, (2 * levels).bit_length(), 256, levels)
        codes = torch.arange(256).remainder(1 << fmt.bits)[:, None]
        sent = torch.cat((torch.tensor([0.7]).view(torch.uint8), pack(codes, fmt.bits)[:, 0], torch.zeros(1).byte()))
        check(fmt, data("gauss", 1, 256), sent[None])


@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_memory_layout_does_not_matter(fmt: Format) -> None:
    x = data("gauss", 4, 1026)
    for view in (data("gauss", 1026, 3).t(), x[:, ::2], x[:, 1:], x[1::2, 3:-5], x[:1].expand(3, -1)):
        keys, d = stream(len(view)), view.shape[1]
        sent = reference.encode(fmt, view.clone(), keys)
        assert torch.equal(cpu.encode(fmt, view, keys), sent)
        shifted = torch.cat((sent.new_zeros(len(sent), 3), sent), dim=1)[:, 3:]
        for moved in (shifted, sent.t().contiguous().t()):
            assert same_bits(cpu.decode(fmt, moved, d, keys), reference.decode(fmt, sent, d, keys))


def test_nothing_is_written_into_what_is_read() -> None:
    for fmt in SAMPLE:
        x, keys = data("mixed", 2, 1500), stream(2)
        kept = x.clone(), keys.clone()
        sent = cpu.encode(fmt, x, keys)
        before = sent.clone()
        cpu.decode(fmt, sent, 1500, keys)
        assert torch.equal(x, kept[0])
        assert torch.equal(keys, kept[1])
        assert torch.equal(sent, before)


def test_threads_do_not_disturb_each_other() -> None:
    jobs = [(fmt, data("gauss", 2, 3000 + i), stream(2)) for i, fmt in enumerate(SAMPLE)]
    expected = [reference.encode(*job) for job in jobs]
    wrong: list[str] = []

    def work(start: int) -> None:
        for i in range(4 * len(jobs)):
            at = (start + i) % len(jobs)
            if not torch.equal(cpu.encode(*jobs[at]), expected[at]):
                wrong.append(named(jobs[at][0]))

    threads = [threading.Thread(target=work, args=(5 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_seam_takes_the_compiled_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reference, "encode")
    monkeypatch.delattr(reference, "decode")
    for fmt in FORMATS:
        x, keys = data("gauss", 2, 300), stream(2)
        assert kernels.decode(fmt, kernels.encode(fmt, x, keys), 300, keys).shape == x.shape


def test_what_the_library_does_not_take_is_the_references() -> None:
    fmt, keys = Format(Kind.ROTATED, 2, 64), stream(2)
    assert not cpu.takes(fmt, data("gauss", 2, 10), 10, keys)  # no rotation is so small
    fmt = Format(Kind.SIGN, 1, 64)
    for x in (
        data("gauss", 2, 10).half(),
        data("gauss", 3, 10),
        data("gauss", 2, 11),
        torch.empty(2, 10, device="meta"),
    ):
        assert not cpu.takes(fmt, x, 10, keys)
    assert dispatch.encode(fmt, torch.empty(0, 10), stream(2)[:0]).shape == (0, fmt.nbytes(10))
    assert dispatch.encode(fmt, torch.empty(2, 0), keys).tolist() == [[0], [0]]


def test_the_library_refuses_what_does_not_fit_together() -> None:
    x, keys = data("gauss", 1, 10), stream(1)
    for fmt in (Format(Kind.DITHER, 9, 64, 7), Format(Kind.NATURAL_DITHER, 8, 64, 126), Format(Kind.ROTATED, 5, 128)):
        with pytest.raises(ValueError, match="refuses the format"):
            cpu.encode(fmt, x, keys)
    with pytest.raises(ValueError, match="refuses"):
        cpu.encode(FORMATS[0], x, keys, level=3)


@pytest.fixture
def fresh() -> object:
    """The library is looked for anew, before and after."""
    caches = (cpu.loaded, cpu.available)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_a_library_of_other_sources_is_refused_aloud_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "digest", lambda: "0" * 16)
    x, keys = data("gauss", 1, 10), stream(1)
    with pytest.warns(RuntimeWarning, match=r"not made from its present sources.*pip install"):
        first = kernels.encode(FORMATS[0], x, keys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(kernels.encode(FORMATS[0], x, keys), first)


@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_torch_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "LIBRARY", tmp_path / "absent.so")
    with pytest.warns(RuntimeWarning, match=r"no C\+\+ compiler.*reinstall"):
        assert not cpu.available()
