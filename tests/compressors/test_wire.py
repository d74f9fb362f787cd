"""The bytes themselves: golden vectors, packing, and docs/wire-format.md against the code."""

from __future__ import annotations

import doctest
import json
import re
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire import Dither, Key, RandK, TopK
from thinwire.kernels.format import Format, Kind
from thinwire.kernels.pack import fields, pack, pack_trits, packed_size, unpack, unpack_trits
from thinwire.kernels.rotate import CENTROIDS, _thresholds
from thinwire.payload import Payload, view

from . import golden
from .rows import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "wire-format.md"


@pytest.mark.parametrize("name", ROWS)
def test_bytes_are_those_of_the_golden_file(name: str) -> None:
    """A change here is a change of the format's version; see golden.py."""
    recorded = json.loads(golden.FILE.read_text())
    assert set(recorded) == set(ROWS)
    assert golden.encoded(ROWS[name].compressor) == recorded[name]


def test_the_page_gives_what_the_code_gives() -> None:
    """Its examples run, and its worked bytes are a golden vector."""
    text = PAGE.read_text()
    examples = doctest.DocTestParser().get_doctest(re.sub("^```.*$", "", text, flags=re.M), {}, PAGE.name, None, 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner().run(examples).failed == 0
    recorded: str = json.loads(golden.FILE.read_text())["dither 4 bits"]["payload"]
    assert f"'{recorded}'" in text
    spelled = re.search(r"```\n((?:[0-9a-f]{2} +)+[0-9a-f]{2})\n```", text)
    assert spelled is not None
    assert spelled[1].replace(" ", "") == recorded


def test_the_worked_table_is_what_the_twin_gives() -> None:
    from ..reference import compressors as twin

    def line(name: str) -> list[str]:
        cells = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
        assert cells is not None
        return [cell.strip().replace("−", "-") for cell in cells[1].split("|")]

    words = twin.stream(golden.KEY.seed, golden.KEY.step, golden.KEY.tensor, golden.KEY.ranks[0])
    halves = twin.draws(words, 0, len(golden.X), 16)
    assert line("r") == [f"{half:04x}" for half in halves]
    assert line("u") == [f"{(half + 0.5) / 65536:.3f}" for half in halves]
    assert [float(cell) for cell in line("x")] == golden.X
    q = [min(int(abs(x) + (half + 0.5) / 65536), 7) for x, half in zip(golden.X, halves, strict=True)]
    assert line("q") == [str(value) for value in q]
    assert line("code") == [str(7 + (value if x > 0 else -value)) for x, value in zip(golden.X, q, strict=True)]
    counters = [twin.philox((t, 0, *words[2:]), words[:2]) for t in range(2)]
    shown = [f"{counters[t][word]:08x}" for word in range(4) for t in range(2)]
    assert f"| {' | '.join(shown)} |" in PAGE.read_text()


def test_the_page_has_the_centroids_and_thresholds_of_the_code() -> None:
    def spelled(values: list[float] | tuple[float, ...]) -> str:
        return " ".join(struct.pack(">f", value).hex() for value in values)

    for bits, levels in CENTROIDS.items():
        thresholds = spelled(_thresholds(bits))
        assert f"| {bits} | {spelled(levels)} | {thresholds + ' ' if thresholds else ''}|" in PAGE.read_text()


def test_the_page_names_no_link_that_is_missing() -> None:
    text = PAGE.read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


@pytest.mark.parametrize("bits", range(1, 17))
@settings(max_examples=20, deadline=None, derandomize=True)
@given(size=st.integers(0, 70), seed=st.integers(0, 99))
def test_packing_is_planar_by_fields(bits: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (size, 2), generator=generator, dtype=torch.int32)
    packed = pack(codes, bits)
    assert packed.shape == (packed_size(size, bits), 2)
    assert torch.equal(unpack(packed, size, bits), codes)
    wanted, shift = [], 0
    for field in (8, 8, 4, 2, 1):  # the definition: byte i has element i + p · n in its p-th field
        if field > bits - shift or field not in fields(bits):
            continue
        planes, n = 8 // field, -(-size // (8 // field))
        column = [int(code) >> shift & 2**field - 1 for code in codes[:, 1]] + [0] * (planes * n - size)
        wanted += [sum(column[i + p * n] << field * p for p in range(planes)) for i in range(n)]
        shift += field
    assert shift == bits
    assert packed[:, 1].tolist() == wanted


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(0, 70), seed=st.integers(0, 99))
def test_base_three_packs_five_digits(size: int, seed: int) -> None:
    digits = torch.randint(0, 3, (size, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    packed = pack_trits(digits)
    n = -(-size // 5)
    column = digits[:, 0].tolist() + [0] * (5 * n - size)
    assert packed[:, 0].tolist() == [sum(3**p * column[i + p * n] for p in range(5)) for i in range(n)]
    assert torch.equal(unpack_trits(packed, size), digits)
    assert (unpack_trits(torch.arange(256, dtype=torch.uint8)[:, None], 1280) < 3).all()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(d=st.integers(0, 10**7), block=st.integers(1, 1 << 16), kind=st.sampled_from(Kind))
def test_blocks_are_equal_and_none_is_empty(d: int, block: int, kind: Kind) -> None:
    if kind is Kind.ROTATED:
        block = max(128, 1 << block.bit_length() - 1)
    blocks = Format(kind, 1, block).blocks(d)
    assert blocks.count == -(-d // block)
    assert 0 <= blocks.size <= block
    assert blocks.count == 0 or 0 <= blocks.padding < blocks.size
    if kind is Kind.ROTATED:
        assert blocks.size & blocks.size - 1 == 0
    elif blocks.count > 1:
        assert blocks.size % 8 == 0 or blocks.size == block


@pytest.mark.parametrize("offset", range(9))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_views_of_unaligned_bytes(offset: int, dtype: torch.dtype) -> None:
    values = torch.arange(6, dtype=torch.float64).to(dtype).view(2, 3)
    raw = values.view(torch.uint8)
    moved = torch.cat((torch.zeros(2, offset, dtype=torch.uint8), raw), dim=1)[:, offset:]
    assert torch.equal(view(moved, dtype), values)
    assert torch.equal(view(moved[:1], dtype), values[:1])


def test_a_flagged_block_code_is_zero_but_for_its_flag() -> None:
    x = torch.ones(2, 300)
    x[1, 299] = float("inf")
    key = Key(ranks=range(2))
    for row in ROWS.values():
        if hasattr(row.compressor, "format"):
            data = row.compressor.encode(x, key).data
            assert data[1].tolist() == [0] * (data.shape[1] - 1) + [1]


def test_a_flag_may_be_any_value_but_zero() -> None:
    payload = Dither().encode(torch.ones(1, 4), Key())
    payload.data[0, -1] = 128
    assert Dither().decode(payload).isnan().all()


def test_sizes_of_the_page() -> None:
    assert RandK(100).nbytes(10_000) == 4 * 100 + 4
    assert (RandK(100) >> Dither(bits=4)).nbytes(10_000) == 4 + 50 + 1
    # 3 blocks of 3334, ⌈100 / 3⌉ = 34 each, indices of 12 bits: 34 bytes and 17 bytes
    assert TopK(100).nbytes(10_000) == 4 * 102 + 4 + 3 * (34 + 17)


def test_a_payload_says_its_size() -> None:
    payload = Payload(torch.zeros(2, 5, dtype=torch.uint8), 3, Key(ranks=range(2)))
    assert payload.nbytes == 5
    assert payload.sized(5, "Someone") is payload
