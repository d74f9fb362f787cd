"""Codecs: every row runs, a floor moves the bytes that it says, and a failure is a result."""

from __future__ import annotations

import json

import pytest
import torch

import thinwire as tw
from thinwire.advisor.calibration import RECEIVED
from thinwire.bench.codec import ROWS, Bench, choose, measure_limits, measure_row
from thinwire.compressors.code import BlockCode
from thinwire.probing import timing


@pytest.mark.parametrize("text", ROWS)
def test_every_row_runs(text: str) -> None:
    row = measure_row(Bench(3000), text, rounds=2)
    assert row["failure"] is None
    compressor = tw.parse_compressor(text).bind(RECEIVED)
    fused = isinstance(compressor, BlockCode)
    kernels = {"decode_kept", "encode_difference"} if fused else set()
    assert set(row["calls"]) == {"encode", "decode", "decode_mean"} | kernels
    assert row["nbytes"] == compressor.nbytes(3000)
    for told in row["calls"].values():
        assert told["seconds"]["count"] == told["floor_seconds"]["count"] == 2
    json.dumps(row, allow_nan=False)


def test_every_compressor_has_a_row() -> None:
    named = {type(tw.parse_compressor(text)) for text in ROWS}
    assert set(tw.spec.COMPRESSORS.values()) <= named


def test_a_floor_reads_and_writes_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PIECE", 1000)
    source, target = torch.ones(70_001), torch.zeros(70_001)
    timing.floor([torch.zeros(10), source], [target])()  # what is written is what was read last
    assert torch.equal(source, torch.ones(70_001))
    assert bool((target == 1).all())


def test_limits_and_threads() -> None:
    for threads, clock in ((1, "CPU time of the thread"), (2, "wall time")):
        bench = Bench(1000, threads)
        assert clock in bench.clock
        assert len(measure_limits(bench, rounds=1)) == 4


def test_a_compressor_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(tw.Sign, "pack", fail)
    assert measure_row(Bench(100), "sign()", rounds=1)["failure"] == "MemoryError: no memory"


def test_names_that_match_nothing_are_refused_with_those_that_exist() -> None:
    assert choose("rotated") == [text for text in ROWS if text.startswith("rotated")]
    with pytest.raises(ValueError, match="no row has this in its name; got 'huffman'"):
        choose("huffman")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_cuda_is_refused() -> None:
    with pytest.raises(ValueError, match="torch sees no CUDA device here"):
        Bench(100, device="cuda")
