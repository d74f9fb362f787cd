"""Arguments, messages, and compressors as text."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire import (
    Compressor,
    Dither,
    Identity,
    Induced,
    Key,
    NaturalDither,
    PermK,
    RandK,
    Rotated,
    Sign,
    Ternary,
    TopK,
    parse_compressor,
    parse_link,
    to_text,
)
from thinwire.presets import PRESETS
from thinwire.spec import COMPRESSORS

from .rows import Row

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "bits": (lambda: Dither(bits=9), "Dither(bits=9): bits must be a whole number, 2 to 8; got 9."),
    "bits, fraction": (lambda: Dither(bits=2.5), "Dither(bits=2.5): bits must be a whole number, 2 to 8; got 2.5."),  # type: ignore[arg-type]
    "levels": (lambda: Dither(levels=0), "Dither(levels=0): levels must be a whole number, 1 to 127; got 0."),
    "both": (
        lambda: Dither(bits=4, levels=7),
        "Dither(bits=4, levels=7): bits and levels say the same thing. Give one of them.",
    ),
    "norm": (lambda: Dither(norm=1), "Dither(norm=1): norm must be one of 2.0, inf; got 1."),
    "norm, ternary": (lambda: Ternary(norm=3), "Ternary(norm=3): norm must be one of 2.0, inf; got 3."),
    "rounding": (
        lambda: Dither(rounding="neerest"),
        "Dither(rounding='neerest'): rounding must be one of 'stochastic', 'nearest'; got 'neerest'. "
        "Did you mean 'nearest'?",
    ),
    "block": (lambda: Sign(block=0), "Sign(block=0): block must be a whole number, 1 to 65536; got 0."),
    "natural levels": (
        lambda: NaturalDither(levels=126),
        "NaturalDither(levels=126): levels must be a whole number, 1 to 125; got 126.",
    ),
    "rotated bits": (lambda: Rotated(bits=5), "Rotated(bits=5): bits must be a whole number, 1 to 4; got 5."),
    "scale": (
        lambda: Rotated(scale="least"),
        "Rotated(scale='least'): scale must be one of 'unbiased', 'least-error'; got 'least'.",
    ),
    "identity": (lambda: Identity(bits=16), "Identity(bits=16): bits must be one of 32, 64; got 16."),
    "no coordinates": (
        lambda: RandK(0),
        "RandK(k=0): k is a positive number of coordinates, or a fraction in (0, 1]; got 0.",
    ),
    "k above 1": (
        lambda: TopK(1.5),
        "TopK(k=1.5): k is a positive number of coordinates, or a fraction in (0, 1]; got 1.5.",
    ),
    "k true": (
        lambda: RandK(True),
        "RandK(k=True): k is a positive number of coordinates, or a fraction in (0, 1]; got True.",
    ),
    "k nan": (
        lambda: RandK(math.nan),
        "RandK(k=nan): k is a positive number of coordinates, or a fraction in (0, 1]; got nan.",
    ),
    "workers": (
        lambda: PermK(workers=0),
        "PermK(workers=0): workers must be a whole number, 1 to 8388608; got 0.",
    ),
    "nobody's workers": (
        lambda: PermK().nbytes(3),
        "PermK(): it needs the number of workers. A group fills it in; or PermK(workers=n).",
    ),
    "seed": (lambda: Key(seed=-1), "Key(seed=-1): seed must fit in 64 bits, unsigned; got -1."),
    "level": (lambda: Key(level=32), "Key(level=32): level must fit in 5 bits, unsigned; got 32."),
    "ranks": (
        lambda: Key(ranks=range(2**24)),
        "Key(ranks=range(0, 16777216)): ranks must be 0 to 16777214; got range(0, 16777216).",
    ),
    "shares": (
        lambda: Key(shares=range(-1, 1)),
        "Key(shares=range(-1, 1)): shares must be 0 to 4294967295; got range(-1, 1).",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_argument_is_named_with_its_rule(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).startswith(message)


COMBINED: dict[str, tuple[Callable[[], object], str]] = {
    "code first": (lambda: Dither() >> RandK(0.1), "Dither() >> RandK(k=0.1): the left side selects coordinates;"),
    "two selectors": (lambda: RandK(0.1) >> TopK(0.1), "RandK(k=0.1) >> TopK(k=0.1): the right side is a code;"),
    "induced, unbiased first": (
        lambda: Induced(RandK(0.1), RandK(0.1)),
        "Induced(biased=RandK(k=0.1), remainder=RandK(k=0.1)): the first part is contractive and biased;",
    ),
    "induced, biased second": (
        lambda: Induced(TopK(0.1), TopK(0.1)),
        "Induced(biased=TopK(k=0.1), remainder=TopK(k=0.1)): the second part is unbiased;",
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_what_cannot_be_combined_says_why(name: str) -> None:
    make, message = COMBINED[name]
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_only_permk_needs_the_number_of_workers() -> None:
    bound = PermK().bind(5)
    assert bound == PermK(workers=5)
    assert (PermK() >> Dither()).bind(5) == PermK(workers=5) >> Dither()
    assert PermK().contractive().bind(5) == PermK(workers=5).contractive()
    assert Induced(Sign(), PermK()).bind(5) == Induced(Sign(), PermK(workers=5))
    assert Dither().bind(5) is not None


def test_every_row_survives_text(row: Row) -> None:
    text = to_text(row.compressor)
    assert parse_compressor(text) == row.compressor, text
    assert to_text(parse_compressor(text)) == text
    assert hash(parse_compressor(text)) == hash(row.compressor)


def test_every_row_is_shown_as_it_is_made(row: Row) -> None:
    """What `repr` prints, evaluated with the names of the package, is the object."""
    import thinwire

    assert eval(repr(row.compressor), {**vars(thinwire), "inf": math.inf}) == row.compressor


FRACTIONS = st.floats(1e-6, 1.0, exclude_min=True)
CODES: st.SearchStrategy[Compressor] = st.one_of(
    st.builds(Dither, bits=st.integers(2, 8), norm=st.sampled_from([2.0, math.inf]), block=st.integers(1, 1 << 16)),
    st.builds(Dither, levels=st.integers(1, 127), rounding=st.sampled_from(["stochastic", "nearest"])),
    st.builds(Ternary, norm=st.sampled_from([2.0, math.inf]), block=st.integers(1, 1 << 16)),
    st.builds(NaturalDither, levels=st.integers(1, 125)),
    st.builds(Rotated, bits=st.integers(1, 4), block=st.sampled_from([128, 4096])),
    st.builds(Identity, bits=st.sampled_from([32, 64])),
    st.builds(Sign, block=st.integers(1, 1 << 16)),
)
SELECTORS = st.one_of(
    st.builds(RandK, FRACTIONS | st.integers(1, 10**6), block=st.integers(1, 1 << 16), shared=st.booleans()),
    st.builds(TopK, FRACTIONS | st.integers(1, 10**6), block=st.integers(1, 1 << 16)),
    st.builds(PermK, workers=st.none() | st.integers(1, 1000)),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(select=st.none() | SELECTORS, code=CODES, scaled=st.booleans())
def test_anything_that_can_be_made_survives_text(select: Compressor | None, code: Compressor, scaled: bool) -> None:
    compressor = code if select is None else select >> code
    if scaled:
        compressor = compressor.contractive()
    assert parse_compressor(to_text(compressor)) == compressor


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_survives_text(name: str) -> None:
    contractive = name in ("ef21", "clag", "ef14", "ef_bv")
    inner = "" if name == "lag" else "topk(0.1)" if contractive else "randk(0.25) >> dither(bits=4)"
    link = parse_link(f"{name}({inner})")
    assert parse_link(to_text(link)) == link


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(max_size=40) | st.text("randktopiher()=,.0123456789>> '\"_[]*", max_size=40))
def test_any_text_is_a_compressor_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):  # and no other error
        assert isinstance(parse_compressor(text), Compressor)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "__import__('os').system('true')", "eval('1')", "randk.__class__", "randk(0.1).nbytes(3)",
        "[randk(0.1)]", "lambda: randk(0.1)", "randk(0.1) if 1 else topk(0.1)", "randk(*[0.1])", "randk(**{'k': 0.1})",
        "randk(0.1 + 0.1)", "f'{randk(0.1)}'", "(x := randk(0.1))", "randk(0.1) << sign()", "", "  ", "1", "'sign'",
        "randk", "topk()", "randk(k=0.1, k=0.2)", "randk(0.1, banana=1)", "dither(bits='4')", "dither(bits=99)",
        "dither() >> randk(0.1)", "induced(randk(0.1), topk(0.1))", "randk(0.1", "randk(0.1))", "\0",
        "(" * 500, "-" * 5000 + "1",
        "sign().contractive(1)", "induced(1, 2)", "diana(randk(0.1))",
    ],
)  # fmt: skip
def test_nothing_is_evaluated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_compressor(text)
    assert repr(text.strip())[1:20] in str(caught.value) or "must" in str(caught.value)


def test_an_unknown_name_lists_what_exists_and_guesses() -> None:
    with pytest.raises(ValueError) as caught:
        parse_compressor("rnadk(0.1)")
    message = str(caught.value)
    assert "this name does not exist; got 'rnadk'. Did you mean 'randk'?" in message
    assert all(name in message for name in (*COMPRESSORS, *PRESETS))


def test_an_unknown_argument_shows_the_signature() -> None:
    with pytest.raises(ValueError) as caught:
        parse_compressor("dither(bit=4)")
    assert "It is dither(bits=None, levels=None, norm=inf, block=1024, rounding='stochastic')." in str(caught.value)
