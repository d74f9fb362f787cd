"""The calls that do a sender's or a receiver's step in one pass: bit for bit the reference's, in anyone's memory."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from tests.kernels.test_cpu import CHARACTERS, LEVELS, SAMPLE, data, named, needs_library, same_bits, stream
from thinwire import kernels
from thinwire.kernels import cpu, dispatch, reference
from thinwire.kernels.format import Format, Kind

pytestmark = needs_library
DTYPES = (torch.float32, torch.float64)
LAM, NU = 0.3, 0.7
DITHER, TERNARY, ROTATED = (
    Format(Kind.DITHER, 4, 1024, 7),
    Format(Kind.DITHER, 0, 1280, 1),
    Format(Kind.ROTATED, 1, 1024),
)


def vectors(rows: int, d: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x and a shift that is near it."""
    generator = torch.Generator().manual_seed(d)
    x = torch.randn(rows, d, generator=generator, dtype=dtype)
    return x, x + 0.1 * torch.randn(rows, d, generator=generator, dtype=dtype)


def equal(a: Tensor, b: Tensor) -> bool:
    """The same values, a NaN being a NaN."""
    return a.dtype == b.dtype and torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_a_senders_step_is_the_references(fmt: Format, dtype: torch.dtype) -> None:
    for rows, d in ((1, 1), (2, 127), (3, 1000), (1, 5000)):
        x, shift = vectors(rows, d, dtype)
        expected = reference.encode_difference(fmt, x, shift, LAM, stream(rows))
        for level in LEVELS:
            sent, moved = cpu.encode_difference(fmt, x, shift, LAM, stream(rows), level=level)
            assert torch.equal(sent, expected[0]), (d, level)
            assert equal(moved, expected[1]), (d, level)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fmt", SAMPLE, ids=named)
def test_a_receivers_step_is_the_references(fmt: Format, dtype: torch.dtype) -> None:
    for workers, groups, d in ((1, 2, 1000), (4, 1, 1), (3, 2, 1025), (3, 1, 5000)):
        keys = stream(workers * groups)
        sent = reference.encode(fmt, data("gauss", workers * groups, d), keys)
        base = vectors(groups, d, dtype)[0]
        for given, nu in ((base, NU), (None, NU), (None, 1.0)):
            expected = reference.decode_mean(fmt, sent, d, keys, workers, dtype, given, nu, LAM)
            for level in LEVELS:
                estimate, moved = cpu.decode_mean(fmt, sent, d, keys, workers, dtype, given, nu, LAM, level=level)
                assert equal(estimate, expected[0]), (d, level)
                assert (moved is None) == (expected[1] is None)
                assert moved is None or equal(moved, expected[1]), (d, level)


@pytest.mark.parametrize("workers", [63, 64, 65, 130])
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_workers_are_added_in_lanes(workers: int, dtype: torch.dtype) -> None:
    for fmt in (DITHER, ROTATED):
        keys = stream(2 * workers)
        sent = reference.encode(fmt, data("heavy", 2 * workers, 300), keys)
        expected = reference.decode_mean(fmt, sent, 300, keys, workers, dtype)[0]
        for level in LEVELS:
            assert equal(cpu.decode_mean(fmt, sent, 300, keys, workers, dtype, level=level)[0], expected)


@pytest.mark.parametrize("character", CHARACTERS)
def test_every_character_of_data(character: str) -> None:
    for fmt in SAMPLE[::3]:
        x, keys = data(character, 3, 2049), stream(3)
        for wide in (x, x.double() * 1e3):
            shift = torch.zeros_like(wide)
            expected = reference.encode_difference(fmt, wide, shift, LAM, keys)
            for level in LEVELS:
                assert torch.equal(cpu.encode(fmt, wide, keys, level=level), expected[0])
                sent, moved = cpu.encode_difference(fmt, wide, shift, LAM, keys, level=level)
                assert torch.equal(sent, expected[0])
                sound = sent[:, -1] == 0  # of other rows nothing is promised
                assert equal(moved[sound], expected[1][sound])
        sent = reference.encode(fmt, x, keys)
        mean = reference.decode_mean(fmt, sent, 2049, keys, 3)[0]
        assert equal(cpu.decode_mean(fmt, sent, 2049, keys, 3)[0], mean)


def test_any_bytes_are_averaged_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    for fmt in SAMPLE:
        sent = torch.randint(0, 256, (4, fmt.nbytes(1500)), dtype=torch.uint8, generator=generator)
        expected = reference.decode_mean(fmt, sent, 1500, stream(4), 2)[0]
        for level in LEVELS:
            assert equal(cpu.decode_mean(fmt, sent, 1500, stream(4), 2, level=level)[0], expected), named(fmt)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [cpu, reference, dispatch])
def test_results_go_where_they_are_wanted(make: object, dtype: torch.dtype) -> None:
    assert make in (cpu, reference, dispatch)
    d, rows, keys = 2500, 2, stream(2)
    x, shift = vectors(rows, d, dtype)
    for fmt in (DITHER, TERNARY, ROTATED):
        sent, moved = reference.encode_difference(fmt, x, shift, LAM, keys)
        out = torch.empty(rows, fmt.nbytes(d), dtype=torch.uint8)
        assert make.encode(fmt, x, keys, out) is out  # type: ignore[attr-defined]
        assert torch.equal(out, reference.encode(fmt, x, keys))
        after = x.clone()  # after may be x
        given = make.encode_difference(fmt, after, shift, LAM, keys, after, out)  # type: ignore[attr-defined]
        assert given[0] is out
        assert given[1] is after
        assert torch.equal(out, sent)
        assert torch.equal(after, moved)

        said = torch.empty(rows, d)
        assert make.decode(fmt, sent, d, keys, said) is said  # type: ignore[attr-defined]
        assert same_bits(said, reference.decode(fmt, sent, d, keys))
        expected = reference.decode_mean(fmt, sent, d, keys, 1, dtype, shift, NU, LAM)
        for alias in (None, "out", "after"):  # either may be base
            base, estimate, moved_mean = shift.clone(), torch.empty_like(shift), torch.empty_like(shift)
            estimate = base if alias == "out" else estimate
            moved_mean = base if alias == "after" else moved_mean
            got = make.decode_mean(fmt, sent, d, keys, 1, dtype, base, NU, LAM, estimate, moved_mean)  # type: ignore[attr-defined]
            assert got[0] is estimate
            assert got[1] is moved_mean
            assert torch.equal(estimate, expected[0])
            assert torch.equal(moved_mean, expected[1])


def test_memory_layout_does_not_matter() -> None:
    d, keys = 1500, stream(2)
    x, shift = vectors(2, d, torch.float32)
    wide = torch.empty(2, 2 * d + 8)
    for fmt in (DITHER, TERNARY, ROTATED):
        sent, moved = reference.encode_difference(fmt, x, shift, LAM, keys)
        for view in (wide[:, 3 : d + 3], wide[:, : 2 * d : 2], torch.empty(d, 2).t()):
            got = cpu.encode_difference(fmt, view.copy_(x), shift.t().contiguous().t(), LAM, keys, view)
            assert torch.equal(got[0], sent)
            assert torch.equal(view, moved)
            after = cpu.decode_mean(fmt, sent, d, keys, 2, base=view[:1], nu=NU, lam=LAM, after=view[:1])[1]
            assert torch.equal(after, reference.decode_mean(fmt, sent, d, keys, 2, base=moved[:1], nu=NU, lam=LAM)[1])


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    for fmt in SAMPLE[::3]:
        for rows, d in ((1, 20_000), (3, 5001)):
            x, shift = vectors(rows, d, torch.float32)
            keys = stream(rows)
            one = cpu.encode_difference(fmt, x, shift, LAM, keys, by=1)
            mean = cpu.decode_mean(fmt, one[0], d, keys, rows, base=shift[:1], nu=NU, lam=LAM, by=1)
            for by in (2, 3):
                more = cpu.encode_difference(fmt, x, shift, LAM, keys, by=by)
                assert torch.equal(more[0], one[0])
                assert torch.equal(more[1], one[1])
                again = cpu.decode_mean(fmt, one[0], d, keys, rows, base=shift[:1], nu=NU, lam=LAM, by=by)
                assert all(
                    torch.equal(a, b) for a, b in zip(mean, again, strict=True) if a is not None and b is not None
                )
            x[-1, d // 2] = float("inf")
            assert torch.equal(cpu.encode(fmt, x, keys, by=3), reference.encode(fmt, x, keys))


def test_results_written_past_the_caches_are_the_same() -> None:
    """Large ones in aligned memory are; those that begin one element later cannot be."""
    d, keys = (1 << 22) + 1025, stream(2)
    base = data("gauss", 1, d)
    sent = cpu.encode(DITHER, data("gauss", 2, d), keys)
    shifted = torch.empty(2, d + 1)[:, 1:]
    for level in LEVELS:
        for workers, given in ((2, base), (2, None)):
            expected = cpu.decode_mean(
                DITHER, sent, d, keys, workers, torch.float32, given, NU, LAM, shifted[:1], shifted[1:], level=level
            )
            got = cpu.decode_mean(DITHER, sent, d, keys, workers, torch.float32, given, NU, LAM, level=level)
            assert torch.equal(got[0], expected[0])
            assert given is None or torch.equal(got[1], expected[1])


def test_a_thread_can_ask_for_no_others() -> None:
    assert cpu.threads(cpu.SHARED - 1) == 1
    assert cpu.threads(cpu.SHARED) == torch.get_num_threads()
    counts: list[int] = []

    def work() -> None:
        kernels.single_thread()
        counts.append(cpu.threads(cpu.SHARED))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counts == [1]
    assert cpu.threads(cpu.SHARED) == torch.get_num_threads()  # this one has not asked


def test_what_the_library_does_not_take_is_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    x, shift = vectors(2, 100, torch.float32)
    keys = stream(2)
    sent, moved = kernels.encode_difference(DITHER, x, shift.double(), LAM, keys)  # of two widths
    assert moved.dtype == torch.float64
    assert kernels.decode_mean(DITHER, sent, 100, keys, 2, torch.float16)[0].dtype == torch.float16
    assert kernels.encode_difference(DITHER, x[:, :0], shift[:, :0], LAM, keys)[0].tolist() == [[0], [0]]
    monkeypatch.delattr(reference, "encode_difference")
    monkeypatch.delattr(reference, "decode_mean")
    kernels.decode_mean(DITHER, kernels.encode_difference(DITHER, x, shift, LAM, keys)[0], 100, keys, 2, base=x[:1])
