"""What every compressor promises, whatever it is: one suite over the table of rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinwire import Compressor, Key, Payload

from .rows import DIMENSIONS, KEY, ROWS, Row

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
BAD = (float("nan"), float("inf"), float("-inf"))


def normal(rows: int, d: int, seed: int = 0) -> Tensor:
    """Reproducible Gaussians, without the global generator."""
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed))


def pass_through(compressor: Compressor, x: Tensor, key: Key = KEY) -> Tensor:
    return compressor.decode(compressor.encode(x, key))


def same(a: Tensor, b: Tensor) -> bool:
    """Equal values, NaN being equal to NaN and -0 to 0."""
    return a.shape == b.shape and bool(torch.isclose(a, b, rtol=0, atol=0, equal_nan=True).all())


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_shape_comes_back_in_the_bytes_that_were_promised(row: Row, rows: int) -> None:
    key = KEY.of(range(rows))
    for d in DIMENSIONS:
        payload = row.compressor.encode(normal(rows, d), key)
        assert payload.data.shape == (rows, row.compressor.nbytes(d)), d
        assert payload.data.dtype == torch.uint8
        assert payload.data.is_contiguous()
        back = row.compressor.decode(payload)
        assert back.shape == (rows, d), d
        assert back.isfinite().all(), d


def test_every_dtype_is_read_and_float32_is_what_travels(row: Row) -> None:
    for d in (1, 129):
        for dtype in DTYPES:
            x = normal(3, d).to(dtype)
            payload = row.compressor.encode(x, KEY)
            assert torch.equal(payload.data, row.compressor.encode(x.double(), KEY).data)
            assert row.compressor.decode(payload).dtype in (torch.float32, torch.float64)


def test_a_payload_is_a_pure_function_of_x_and_key(row: Row) -> None:
    x = normal(3, 1025)
    before, kept = torch.get_rng_state(), x.clone()
    payload = row.compressor.encode(x, KEY)
    sent = payload.data.clone()
    first, second = row.compressor.decode(payload), row.compressor.decode(payload)
    assert torch.equal(row.compressor.encode(x, KEY).data, sent)
    assert same(first, second)
    assert torch.equal(payload.data, sent), "decoding wrote into the payload"
    assert torch.equal(x, kept), "encoding wrote into x"
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_layout_does_not_matter(row: Row) -> None:
    x = normal(3, 258)
    for view in (normal(258, 3).t(), x[:, ::2], x[:, 1:], x[:1].expand(3, -1)):
        assert torch.equal(row.compressor.encode(view, KEY).data, row.compressor.encode(view.clone(), KEY).data)
    key = KEY.of(range(1))
    payload = row.compressor.encode(x[:1], key)
    for offset in (1, 2, 3):  # bytes from a socket need not be aligned
        moved = torch.cat((torch.zeros(1, offset, dtype=torch.uint8), payload.data), dim=1)[:, offset:]
        assert same(row.compressor.decode(Payload(moved, 258, key)), row.compressor.decode(payload))


def test_rows_do_not_know_of_each_other(row: Row) -> None:
    for d in (7, 1025):
        x = normal(6, d)
        key = replace(KEY, ranks=range(1, 4), shares=range(4, 6))
        together = row.compressor.encode(x, key).data
        for i in range(6):
            alone = key.of(range(1 + i // 2, 2 + i // 2)).cut(range(4 + i % 2, 5 + i % 2))
            assert torch.equal(row.compressor.encode(x[i : i + 1], alone).data[0], together[i]), (d, i)


def test_zero_is_sent_as_zero(row: Row) -> None:
    for d in (1, 129, 2000):
        assert (pass_through(row.compressor, torch.zeros(3, d)) == 0).all()


def test_scaling_by_powers_of_two_is_exact(row: Row) -> None:
    """All arithmetic is relative to a block's scale: 2^-80 and 2^100 keep every intermediate inside float32."""
    x = normal(3, 1025)
    for exponent in (-80, -1, 1, 100):
        scaled = pass_through(row.compressor, x * 2.0**exponent)
        assert same(scaled, pass_through(row.compressor, x) * 2.0**exponent) == row.scales or exponent in (-1, 1)


def test_huge_and_tiny_values_are_sent_or_flagged(row: Row) -> None:
    """1e30 and 1e-30 leave the range of float16 and of nothing else."""
    x = normal(3, 300)
    huge, tiny = pass_through(row.compressor, x * 1e30), pass_through(row.compressor, x * 1e-30)
    if row.scales:
        assert huge.isfinite().all()
        assert (huge.abs().amax(dim=1) > 1e29).all()
        assert (tiny.abs().amax(dim=1) > 1e-31).all()
    else:
        assert huge.isnan().all()
        assert (tiny == 0).all()


def test_the_largest_float32_is_sent_or_flagged(row: Row) -> None:
    """Where a norm overflows the row is flagged, where a rescaling does it is infinite: NaN comes from flags only."""
    x = torch.full((3, 40), torch.finfo(torch.float32).max)
    payload = row.compressor.encode(x, KEY)
    assert row.compressor.decode(payload).isnan().any(dim=1).tolist() == row.compressor.flags(payload.data, 40).tolist()


def test_a_row_that_is_not_finite_is_flagged_and_the_others_are_unharmed(row: Row) -> None:
    for d in (1, 7, 129, 1500):
        x = normal(3, d)
        clean = pass_through(row.compressor, x)
        for where in {0, d // 2, d - 1}:
            for value in BAD:
                broken = x.clone()
                broken[1, where] = value
                payload = row.compressor.encode(broken, KEY)
                assert row.compressor.flags(payload.data, d).tolist() == [False, True, False], (d, where, value)
                back = row.compressor.decode(payload)
                assert back[1].isnan().all(), (d, where, value)
                assert same(back[::2], clean[::2]), (d, where, value)


def test_a_float64_beyond_float32_is_flagged_unless_float64_travels(row: Row) -> None:
    x = normal(3, 9).double()
    x[2, 4] = 1e300
    back = pass_through(row.compressor, x)
    assert bool(back[2].isfinite().all()) == (row.compressor.element == torch.float64)
    assert back[:2].isfinite().all()


def test_flags_can_be_raised_later(row: Row) -> None:
    data = row.compressor.encode(normal(3, 20), KEY).data
    row.compressor.raise_flags(data, 20, torch.tensor([True, False, True]))
    assert row.compressor.flags(data, 20).tolist() == [True, False, True]


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(d=st.integers(0, 6000), rank=st.integers(0, 3), step=st.integers(0, 2**32 - 1))
def test_bytes_are_known_beforehand(name: str, d: int, rank: int, step: int) -> None:
    compressor, key = ROWS[name].compressor, Key(step=step, ranks=range(rank, rank + 1))
    payload = compressor.encode(normal(1, d, seed=step % 1000), key)
    assert payload.nbytes == compressor.nbytes(d)
    assert compressor.decode(payload).shape == (1, d)


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data(), d=st.sampled_from(DIMENSIONS))
def test_any_bytes_decode_to_something_of_the_right_shape(name: str, data: st.DataObject, d: int) -> None:
    compressor = ROWS[name].compressor
    size = compressor.nbytes(d)
    pattern = data.draw(st.binary(min_size=1, max_size=64))
    for raw in (pattern * (size // len(pattern) + 1), b"\xff" * size):
        payload = Payload(torch.frombuffer(bytearray(raw[:size]), dtype=torch.uint8).view(1, -1), d, KEY.of(range(1)))
        assert compressor.decode(payload).shape == (1, d)


def test_a_payload_of_the_wrong_size_is_refused(row: Row) -> None:
    payload = row.compressor.encode(normal(3, 50), KEY)
    longer = torch.nn.functional.pad(payload.data, (0, 1))
    for wrong in (payload.data[:, :-1], longer, payload.data[:2], payload.data[:, :0], payload.data.to(torch.int8)):
        with pytest.raises(ValueError, match=r"decode: the payload of 3 vectors of length 50 is uint8 of shape"):
            row.compressor.decode(Payload(wrong, 50, KEY))


def test_what_cannot_be_encoded_is_refused(row: Row) -> None:
    for x in (normal(1, 5)[0], normal(2, 5), torch.ones(3, 5, dtype=torch.int64)):
        with pytest.raises(
            ValueError, match=r"encode: x must be floating, of shape \(rows, d\), with the key's 3 rows"
        ):
            row.compressor.encode(x, KEY)


def test_summable_payloads_decode_to_the_sum() -> None:
    summable = {name: row.compressor for name, row in ROWS.items() if row.compressor.summable}
    assert set(summable) == {
        "identity", "identity 64", "float16", "bfloat16", "randk shared", "randk shared >> bfloat16",
    }  # fmt: skip
    x = (4 * normal(3, 100)).round()  # small whole numbers: no format rounds their sums
    for name, compressor in summable.items():
        payload = compressor.encode(x, KEY)
        elements = payload.data.view(compressor.element)
        total = Payload(elements.sum(dim=0, keepdim=True).view(torch.uint8), 100, KEY.of(range(1)))
        assert same(compressor.decode(total)[0], compressor.decode(payload).sum(dim=0)), name
        x_bad = x.clone()
        x_bad[1, 3] = float("nan")
        elements = compressor.encode(x_bad, KEY).data.view(compressor.element)
        total = Payload(elements.sum(dim=0, keepdim=True).view(torch.uint8), 100, KEY.of(range(1)))
        assert compressor.decode(total).isnan().all(), f"{name}: a flag did not survive the sum"


def test_the_declared_numbers_are_numbers_of_their_classes(row: Row) -> None:
    compressor = row.compressor
    for d in DIMENSIONS:
        omega, delta = compressor.omega(d), compressor.delta(d)
        assert compressor.unbiased == (omega is not None)
        assert omega is None or omega >= 0
        assert delta is None or 0 < delta <= 1
        assert 0 <= compressor.bias(d) <= 1
        assert compressor.variance(d) >= 0
        assert 0 <= compressor.mean_variance(d, 4) <= 1 + compressor.variance(d)
        contraction = compressor.contractive()
        assert contraction.delta(d) is not None or not compressor.unbiased
        if omega is not None:
            assert contraction.delta(d) == pytest.approx(1 / (1 + omega), rel=1e-15)
