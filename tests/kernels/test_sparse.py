"""The compiled selections are the reference's, bit for bit, in every build that runs here; and no bytes lead astray."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinwire import kernels
from thinwire.compressors.select import equal_blocks
from thinwire.kernels import cpu, cpu_sparse, reference_sparse
from thinwire.kernels.arith import rank_sum
from thinwire.kernels.format import Blocks
from thinwire.keys import Key, Purpose

from .test_cpu import CHARACTERS, LEVELS, data, needs_library

pytestmark = needs_library
SIZES = ((1, 1), (1, 4096), (2, 1), (7, 3), (64, 64), (1000, 300), (4097, 4096), (5000, 256), (70_000, 65_536))
"""(d, block)"""


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal in shape and in every bit."""
    return a.shape == b.shape and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def stream(rows: int, *, shared: bool = False) -> Tensor:
    return Key(seed=0xFEED_0123456789, step=7, ranks=range(rows)).stream(Purpose.SELECT, shared=shared)


def rows_of(character: str, rows: int, d: int) -> Tensor:
    """The characters of the codes' tests, and those that a selection by thresholds may stumble over."""
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(d))
    match character:
        case "equal":
            return torch.full((rows, d), -2.5)
        case "two values":
            return torch.where(x > 1, 3.0, -1.0)
        case "ties":
            return (x * 2).round()
        case "falling":
            return torch.arange(d, 0, -1.0).expand(rows, -1).clone()
        case "loud end":
            x[:, -1] = 1e38
            return x
        case "growing":
            return x * torch.logspace(-38, 38, d)
        case "nan":
            return torch.full((rows, d), float("nan"))
    return data(character, rows, d)


KINDS = (*CHARACTERS, "equal", "two values", "ties", "falling", "loud end", "growing", "nan")


def check_largest(x: Tensor, blocks: Blocks, keep: int) -> None:
    values, side, bad = reference_sparse.pick_largest(x, blocks, keep)
    back = reference_sparse.place_largest(values, side, blocks, keep)
    for level in LEVELS:
        found = cpu_sparse.pick_largest(x, blocks, keep, level)
        assert all(map(same_bits, found, (values, side, bad))), (blocks, keep, level)
        assert same_bits(cpu_sparse.place_largest(values, side, blocks, keep, level=level), back), (blocks, keep, level)


@pytest.mark.parametrize("character", KINDS)
def test_the_largest_are_the_same_and_return_to_their_places(character: str) -> None:
    for d, block in SIZES:
        blocks, x = equal_blocks(d, block), rows_of(character, 2, d)
        for keep in {1, 2, max(blocks.size // 100, 1), blocks.size // 3 + 1, max(blocks.size - 1, 1), blocks.size}:
            if keep <= blocks.size:
                check_largest(x, blocks, keep)


def test_one_block_after_another_of_very_different_scale() -> None:
    """The threshold of one block is where that of the next is looked for."""
    scales = torch.tensor([1.0, 1e-30, 0.0, 1e30, -0.0, 1e-42, 1.0, float("inf"), 2.0]).repeat_interleave(500)
    x = torch.randn(1, 4500, generator=torch.Generator().manual_seed(1)) * scales
    for keep in (1, 5, 100, 400):
        check_largest(x, equal_blocks(4500, 500), keep)


@given(st.integers(1, 3000), st.integers(1, 500), st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_largest_of_any_blocks(d: int, block: int, draw: st.DataObject) -> None:
    blocks = equal_blocks(d, block)
    keep = draw.draw(st.integers(1, blocks.size))
    character = draw.draw(st.sampled_from(KINDS))
    check_largest(rows_of(character, 1, d), blocks, keep)


@given(st.integers(1, 300), st.integers(1, 100), st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_side_bytes_lead_to_places_in_the_row(d: int, block: int, draw: st.DataObject) -> None:
    """Where several indices are the same, the reference leaves open whose value stays: it is one of theirs."""
    blocks = equal_blocks(d, block)
    keep = draw.draw(st.integers(1, blocks.size))
    bytes_ = blocks.count * reference_sparse.packed_size(keep, reference_sparse.index_bits(blocks))
    generator = torch.Generator().manual_seed(draw.draw(st.integers(0, 2**32)))
    side = torch.randint(0, 256, (1, bytes_), dtype=torch.uint8, generator=generator)
    ones = torch.ones(1, blocks.count * keep)
    expected = reference_sparse.place_largest(ones, side, blocks, keep)
    numbers = torch.arange(1.0, 1 + ones.numel())[None]
    for level in LEVELS:
        assert torch.equal(cpu_sparse.place_largest(ones, side, blocks, keep, level=level), expected)
        placed = cpu_sparse.place_largest(numbers, side, blocks, keep, level=level)
        assert torch.equal(placed != 0, expected != 0)


@pytest.mark.parametrize("of", [1, 2, 5, 1000, 1023, 1024, 1025, 5000, 100_003])
def test_draws_choose_and_order_the_same_numbers(of: int) -> None:
    keys = torch.cat((stream(3), stream(2, shared=True)))
    order = reference_sparse.ranked_draws(keys, of)
    for level in LEVELS:
        assert torch.equal(cpu_sparse.ranked_draws(keys, of, level), order), level
        for count in {1, of // 100 + 1, of // 2 + 1, max(of - 1, 1), of}:
            chosen = order[:, :count].sort(dim=1).values
            assert torch.equal(cpu_sparse.smallest_draws(keys, count, of, level), chosen), (count, level)


def test_a_guess_that_was_too_low_is_mended() -> None:
    """The compiled make guesses a limit three standard deviations up: some of the rows have fewer draws below it."""
    keys, of, keep = stream(3000), 3000, 20
    chosen = reference_sparse.ranked_draws(keys, of)[:, :keep].sort(dim=1).values
    for level in LEVELS:
        assert torch.equal(cpu_sparse.smallest_draws(keys, keep, of, level), chosen), level


@pytest.mark.parametrize("character", CHARACTERS)
def test_runs_are_taken_and_returned_alike(character: str) -> None:
    for d, block in SIZES:
        blocks, x = equal_blocks(d, block), rows_of(character, 2, d)
        for keep in {1, blocks.count // 3 + 1, blocks.count}:
            which = reference_sparse.smallest_draws(stream(2), keep, blocks.count)
            values, bad = reference_sparse.pick_runs(x, which, blocks)
            scale = blocks.count / keep
            back = reference_sparse.place_runs(values, which, blocks, scale)
            for level in LEVELS:
                assert all(map(same_bits, cpu_sparse.pick_runs(x, which, blocks, level), (values, bad)))
                assert same_bits(cpu_sparse.place_runs(values, which, blocks, scale, level=level), back)


@pytest.mark.parametrize(("workers", "groups"), [(1, 3), (2, 1), (3, 2), (64, 1), (65, 1)])
def test_the_sum_over_workers_is_that_of_their_rows_in_rank_order(workers: int, groups: int) -> None:
    """By the seam, since the library leaves more than 64 workers to the reference. A sum of -0 and 0 is 0."""
    rows = workers * groups
    for character in ("heavy", "zeros"):
        for d, block in ((1, 1), (300, 7), (20_000, 256)):
            blocks, x = equal_blocks(d, block), rows_of(character, rows, d)
            keep = blocks.size // 2 + 1
            values, side, _ = reference_sparse.pick_largest(x, blocks, keep)
            expected = rank_sum(reference_sparse.place_largest(values, side, blocks, keep).view(workers, groups, d))
            assert same_bits(kernels.place_largest(values, side, blocks, keep, workers), expected)
            keep = blocks.count // 2 + 1
            which = reference_sparse.smallest_draws(stream(rows), keep, blocks.count)
            values, _ = reference_sparse.pick_runs(x, which, blocks)
            expected = rank_sum(reference_sparse.place_runs(values, which, blocks, 3.7).view(workers, groups, d))
            assert same_bits(kernels.place_runs(values, which, blocks, 3.7, workers), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_not_finite_is_found_wherever_it_is(dtype: torch.dtype) -> None:
    for n in (1, 2, 63, 64, 65, 1000):
        x = torch.full((3, n), torch.finfo(dtype).max, dtype=dtype)
        x[2] = -x[2]
        for value in (float("nan"), float("inf"), -float("inf")):
            for where in {0, n // 2, n - 1}:
                broken = x.clone()
                broken[1, where] = value
                for level in LEVELS:
                    assert cpu_sparse.nonfinite(broken, level).tolist() == [False, True, False], (n, where, level)


def test_memory_layout_does_not_matter_and_nothing_is_written_into_what_is_read() -> None:
    wide = rows_of("ties", 4, 1026)
    for x in (rows_of("ties", 1026, 3).t(), wide[:, ::2], wide[:, 1:], wide[1::2, 3:-5], wide[:1].expand(3, -1)):
        blocks, kept = equal_blocks(x.shape[1], 100), x.clone()
        which = reference_sparse.smallest_draws(stream(len(x)), 3, blocks.count)
        values, side, bad = cpu_sparse.pick_largest(x, blocks, 7)
        assert all(map(same_bits, (values, side, bad), reference_sparse.pick_largest(kept, blocks, 7)))
        runs = cpu_sparse.pick_runs(x, which, blocks)
        assert all(map(same_bits, runs, reference_sparse.pick_runs(kept, which, blocks)))
        assert torch.equal(cpu_sparse.nonfinite(x), bad)
        assert torch.equal(x, kept)
        moved = torch.cat((side[:, :3], side), dim=1)[:, 3:]
        back = reference_sparse.place_largest(values, side, blocks, 7)
        assert same_bits(cpu_sparse.place_largest(values, moved, blocks, 7), back)
        columns = values.t().contiguous().t()
        assert same_bits(cpu_sparse.place_largest(columns, side, blocks, 7), back)


def test_the_seam_takes_the_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "nonfinite", "ranked_draws", "pick_runs", "place_runs", "pick_largest", "place_largest", "smallest_draws"
    for name in names:
        monkeypatch.delattr(reference_sparse, name)
    x, blocks = rows_of("ties", 2, 300), Blocks(300, 100, 3)
    which = kernels.smallest_draws(stream(2), 10, 100)
    assert kernels.place_runs(kernels.pick_runs(x, which, blocks)[0], which, blocks, 10.0).shape == x.shape
    assert kernels.place_largest(*kernels.pick_largest(x, blocks, 2)[:2], blocks, 2).shape == x.shape
    assert kernels.ranked_draws(stream(2), 10).shape == (2, 10)
    assert not kernels.nonfinite(x).any()


def test_what_the_library_does_not_take_is_the_references() -> None:
    x, blocks = rows_of("ties", 2, 300).double(), equal_blocks(300, 100)
    assert not cpu_sparse.takes_row(x, blocks, 2)
    assert kernels.pick_largest(x, blocks, 2)[0].dtype == torch.float64
    assert kernels.nonfinite(torch.tensor([[1e300], [float("inf")]], dtype=torch.float64)).tolist() == [False, True]
    assert kernels.nonfinite(torch.empty(2, 0)).tolist() == [False, False]
    assert kernels.smallest_draws(stream(2), 0, 0).shape == (2, 0)
    assert not cpu_sparse.takes_draws(stream(2), 1, 2**31)


def test_the_library_refuses_what_does_not_fit_together() -> None:
    x, blocks = rows_of("ties", 1, 30), Blocks(30, 10, 3)
    values = torch.zeros(1, 6)
    for which in ([[3, 1]], [[1, 10]], [[-1, 1]], [[1, 1]]):
        with pytest.raises(ValueError, match="refuses"):
            cpu_sparse.pick_runs(x, torch.tensor(which), blocks)
        with pytest.raises(ValueError, match="refuses"):
            cpu_sparse.place_runs(values, torch.tensor(which), blocks, 1.0)
    for wrong in (Blocks(30, 9, 3), Blocks(30, 11, 3)):
        with pytest.raises(ValueError, match="refuses"):
            cpu_sparse.pick_largest(x, wrong, 2)
    with pytest.raises(ValueError, match="refuses"):
        cpu_sparse.pick_largest(x, blocks, 4)
    with pytest.raises(ValueError, match="refuses"):
        cpu_sparse.ranked_draws(stream(1), 5, level=cpu.best() + 1)
