"""Which compressors each preset takes, what it says of the others, and how a link is shown."""

from __future__ import annotations

import re

import pytest

import thinwire as tw
from thinwire.presets import PRESETS

UNBIASED = [tw.RandK(0.01), tw.PermK(workers=4), tw.Ternary(), tw.RandK(0.1) >> tw.Natural()]
"""ω ≥ 1, so that they do not contract as they are."""
BIASED = [tw.TopK(0.01), tw.Sign(), tw.TopK(0.1) >> tw.Float16(), tw.Rotated(bits=1, scale="least-error")]
BOTH = [tw.Identity(), tw.Float16(), tw.Natural(), tw.Rotated(bits=1), tw.RandK(0.75)]
"""Unbiased, and ω < 1."""

FOR_UNBIASED = ["dcgd", "diana", "dasha", "marina", "rand_diana"]
FOR_CONTRACTIVE = ["ef21", "clag", "ef14"]


def test_every_preset_is_in_the_table() -> None:
    assert set(PRESETS) == {*FOR_UNBIASED, *FOR_CONTRACTIVE, "ef_bv", "lag"}


@pytest.mark.parametrize("name", FOR_UNBIASED)
@pytest.mark.parametrize("C", BIASED, ids=repr)
def test_biased_compressors_are_refused(name: str, C: tw.Compressor) -> None:
    message = (
        f"{name}({C!r}): {name} needs an unbiased compressor; {C!r} is biased. "
        f"Use ef21({C!r}), or Induced({C!r}, …) to make it unbiased."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PRESETS[name](C)


@pytest.mark.parametrize("name", FOR_CONTRACTIVE)
@pytest.mark.parametrize("C", UNBIASED, ids=repr)
def test_compressors_that_do_not_contract_are_refused(name: str, C: tw.Compressor) -> None:
    link = f"{name}({C!r}, zeta=2.0)" if name == "clag" else f"{name}({C!r})"
    rule = f"{link}: {name} needs a contractive compressor; at d = 65536 {C!r} is unbiased (ω = "
    way_out = f" ≥ 1). Use diana({C!r}), or ({C!r}).contractive()."
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}[0-9.e+]+{re.escape(way_out)}$"):
        PRESETS[name](C)
    assert PRESETS[name](C.contractive()).method == name, "the way out leads out"


@pytest.mark.parametrize("name", [*FOR_UNBIASED, "ef_bv"])
@pytest.mark.parametrize("C", [*UNBIASED, *BOTH], ids=repr)
def test_unbiased_compressors_are_taken(name: str, C: tw.Compressor) -> None:
    assert PRESETS[name](C).compressor == C


@pytest.mark.parametrize("name", [*FOR_CONTRACTIVE, "ef_bv"])
@pytest.mark.parametrize("C", [*BIASED, *BOTH], ids=repr)
def test_contractive_compressors_are_taken(name: str, C: tw.Compressor) -> None:
    assert PRESETS[name](C).compressor == C


@pytest.mark.parametrize("name", FOR_UNBIASED)
def test_the_way_out_of_a_biased_compressor(name: str) -> None:
    assert PRESETS[name](tw.Induced(tw.TopK(0.01), tw.RandK(0.01))).method == name


def test_a_compressor_is_judged_again_at_its_own_length() -> None:
    """Half of 65,536 + 1 coordinates contracts; one of 3 does not."""
    link = tw.ef21(tw.RandK(40_000))
    assert link.recursion(50_000, 2).lam == 1.0
    with pytest.raises(ValueError, match=r"at d = 90000 RandK\(k=40000\) is unbiased \(ω = 1.25 ≥ 1\)"):
        tw.Exchange(link, 90_000, tw.LocalGroup(2))


@pytest.mark.parametrize("zeta", [-1.0, float("nan")])
def test_zeta(zeta: float) -> None:
    with pytest.raises(ValueError, match=rf"^lag\(zeta={zeta}\): zeta must be at least 0; got {zeta}\.$"):
        tw.lag(zeta)
    with pytest.raises(ValueError, match="zeta must be at least 0"):
        tw.clag(tw.TopK(0.1), zeta=zeta)


def test_how_links_are_shown() -> None:
    assert repr(tw.diana(tw.RandK(0.1) >> tw.Dither(bits=4))) == "diana(RandK(k=0.1) >> Dither(bits=4))"
    assert repr(tw.lag(2.0)) == "lag(zeta=2.0)"
    assert repr(tw.clag(tw.TopK(0.1), 2.0)) == "clag(TopK(k=0.1), zeta=2.0)"


def test_numbers_come_from_omega() -> None:
    C, d = tw.RandK(0.25), 100  # ω = 3
    assert tw.dcgd(C).recursion(d, 4) == tw.Recursion()
    assert tw.diana(C).recursion(d, 4) == tw.Recursion(lam=0.25)
    assert tw.dasha(C).recursion(d, 4) == tw.Recursion(a=1 / 7, lam=1.0)
    assert tw.marina(C).recursion(d, 4) == tw.Recursion(a=0.0, lam=1.0, p=26 / 101)
    assert tw.rand_diana(C).recursion(d, 4) == tw.Recursion(p=0.25)
    assert tw.ef_bv(C).recursion(d, 4) == tw.Recursion(lam=0.25, nu=4 / 7)
    assert tw.ef_bv(tw.RandK(0.25, shared=True)).recursion(d, 4) == tw.Recursion(lam=0.25, nu=0.25)
    assert tw.ef14(tw.TopK(0.1)).recursion(d, 4) == tw.Recursion(cumulative=True)
    assert tw.clag(tw.TopK(0.1), 3.0).recursion(d, 4) == tw.Recursion(lam=1.0, zeta=3.0)
    assert tw.diana(tw.PermK()).recursion(d, 4) == tw.Recursion(lam=0.25), "a group binds n"
