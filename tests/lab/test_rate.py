"""Rates as text, and the buckets they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.lab import format_rate, parse_rate
from thinwire.lab.network import Bucket
from thinwire.lab.rate import HIGHEST, LOWEST

rates = st.integers(LOWEST, HIGHEST)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100mbit", 100_000_000),
        ("1gbit", 1_000_000_000),
        ("2.5gbit", 2_500_000_000),
        ("500kbit", 500_000),
        (" 10 Mbit ", 10_000_000),
        (".5mbit", 500_000),
        ("none", None),
        ("None", None),
    ],
)
def test_forms(text: str, rate: int | None) -> None:
    assert parse_rate(text) == rate


@given(rates)
def test_what_is_written_reads_back(rate: int) -> None:
    # exact: at most 12 significant digits, below the 15 that a float keeps
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "100", "100MB", "-1mbit", "1e3mbit", "1mbit/s", "0mbit", "1000gbit", "nan"]
)
def test_errors_say_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=r"kbit.*gbit.*none|1kbit to 100gbit"):
        parse_rate(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError:
        return
    assert rate is None or LOWEST <= rate <= HIGHEST


@given(rates)
def test_bucket_holds_a_frame_and_its_queue_holds_the_bucket(rate: int) -> None:
    bucket = Bucket.of(rate)
    assert bucket.burst >= 1514  # an Ethernet frame: tbf drops what does not fit
    assert bucket.burst >= rate / 8 / 1000 - 1  # 1 ms: below it TCP collapses
    assert bucket.limit > bucket.burst
