"""From records to factors, sentences, curves and a page."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from thinwire.report.html import Page, render
from thinwire.report.metrics import Point, Record, Results, Spread, Transport, reached
from thinwire.report.plots import bytes_view, draw, seconds_view
from thinwire.report.verdict import verdict

LAB = Transport(hosts=4, rate=100_000_000)
LOOPBACK = Transport(hosts=4, rate=100_000_000, modelled=True, why="no <tc> here")
ROWS = {"ddp": ("PyTorch DDP", 0.5, 6e6, False), "mine": ("thinwire <3 bits>", 0.1, 6e5, True)}


def record(name: str, seed: int = 0, loss: float = 2.5, seconds: float | None = None) -> Record:
    label, usual, sent, ours = ROWS[name]
    step = usual if seconds is None else seconds
    points = tuple(Point(k, k * step, k * sent, 5.5 - k * (5.5 - loss) / 30) for k in range(0, 31, 10))
    return Record(name, label, seed, ours, points, (9.0,) * 10 + (step,) * 20, untimed=10)


def results(transport: Transport = LAB, **changed: float) -> Results:
    return Results(transport, "ddp", (record("mine", **changed), record("ddp")))  # type: ignore[arg-type]


def test_factors_are_against_the_baseline_and_leave_the_first_steps_out() -> None:
    ddp, mine = results().summaries(["ddp", "mine"])
    assert (ddp.seconds.mean, mine.seconds.mean) == (0.5, 0.1)
    assert ddp.speed_up == Spread(1.0, 0.0, 1)
    assert mine.speed_up is not None
    assert mine.speed_up.mean == pytest.approx(5)
    assert mine.fewer_bytes is not None
    assert mine.fewer_bytes.mean == pytest.approx(10)


def test_factors_are_taken_seed_by_seed() -> None:
    records = (record("ddp", 0), record("ddp", 1, seconds=1.0), record("mine", 0), record("mine", 1, seconds=0.2))
    mine = Results(LAB, "ddp", records).summaries(["mine"])[0]
    assert mine.speed_up is not None
    assert mine.speed_up.mean == pytest.approx(5)
    assert mine.speed_up.deviation == pytest.approx(0, abs=1e-12)
    assert mine.seconds.deviation > 0


def test_modelled_times_add_bytes_over_rate() -> None:
    ddp = results(LOOPBACK).summaries(["ddp"])[0]
    assert ddp.seconds.mean == pytest.approx(0.5 + 6e6 * 8 / 1e8)


def test_a_row_without_baseline_has_no_factors() -> None:
    alone = Results(LAB, "ddp", (record("mine"),))
    assert alone.summaries()[0].speed_up is None
    assert "nothing to compare" in verdict(alone)


def test_the_verdict_says_what_was_saved() -> None:
    text = verdict(results())
    assert "10.0 times fewer bytes than PyTorch DDP" in text
    assert "5.0 times faster" in text
    assert "the same final held-out loss (2.50 against 2.50)" in text
    assert "one seed" in text


def test_the_verdict_says_where_nothing_was_gained() -> None:
    text = verdict(results(seconds=0.55, loss=2.8))
    assert "did not pay in time" in text
    assert "a higher final held-out loss (2.80 against 2.50)" in text


@pytest.mark.parametrize("transport", [LAB, LOOPBACK])
def test_the_page_is_whole_and_says_modelled_only_where_it_is_so(transport: Transport) -> None:
    page = Page("A <title>", "and more", ["ddp", "mine"], {"mine": "ours"}, [("Command", "x --y")], ["Beware."])
    html = render(results(transport), page)
    for text in ("A &lt;title&gt;", "PyTorch DDP", "thinwire &lt;3 bits&gt;", "<code>x --y</code>", "Beware.", "10.0×"):
        assert text in html
    assert ("modelled" in html) == transport.modelled
    assert html.count("<svg") == 2
    assert "$" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']https?:""", html)


def test_failed_runs_stay_in_the_page() -> None:
    broken = replace(record("mine"), failure="rank 2 of 4 ended with code 1", log=("[rank 2] a < b",))
    html = render(Results(LAB, "ddp", (broken, record("ddp"))), Page("t", "s", ["ddp", "mine"]))
    assert "failed, see below" in html
    assert "[rank 2] a &lt; b" in html


@pytest.mark.parametrize("view", [seconds_view, bytes_view])
def test_drawings_are_valid_and_deterministic(view: type) -> None:
    found = results()
    first = draw(found, view(found), ["ddp", "mine"])
    assert first == draw(found, view(found), ["ddp", "mine"])
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_reached_interpolates_and_knows_never() -> None:
    curve = record("ddp").points
    assert reached(curve, 4.0) == Point(15, pytest.approx(7.5), pytest.approx(9e7), 4.0)  # type: ignore[arg-type]
    assert reached(curve, 1.0) is None
