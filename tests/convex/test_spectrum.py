"""Bounds of spectra: on the safe side, tight, and each row's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire.convex import spectrum
from thinwire.convex.spectrum import largest, smallest

RTOL = 1e-10
quick = settings(max_examples=50, deadline=None)
always = settings(max_examples=50, deadline=None, derandomize=True)  # a bound holds but for one start in thousands


def symmetric(spectra: Any, seed: int) -> Any:
    """(rows, d, d) with these eigenvalues, in random bases."""
    spectra = np.atleast_2d(spectra)
    rows, d = spectra.shape
    turns = np.linalg.qr(np.random.default_rng(seed).normal(size=(rows, d, d))).Q
    made = (turns * spectra[:, None, :]) @ turns.transpose(0, 2, 1)
    return (made + made.transpose(0, 2, 1)) / 2


def by(H: Any) -> Any:
    """(rows, d) -> (rows, d), one product of BLAS for each row."""
    return lambda V: (H @ V[:, :, None])[:, :, 0]


def check(H: Any) -> None:
    """Between the truth and 2 rtol above it, up to the roundings of eigvalsh, d · eps of the norm."""
    truth = np.linalg.eigvalsh(H)[:, -1]
    bound = largest(by(H), len(H), H.shape[1])
    rounding = H.shape[1] * np.finfo(float).eps * np.maximum(truth, np.abs(H).max(axis=(1, 2)))
    assert np.all(bound >= truth - rounding)
    assert np.all(bound <= truth * (1 + 2 * RTOL) + rounding)


@st.composite
def spectra(draw: Any) -> Any:
    """Eigenvalues with repetitions, zeros and tiny gaps, of several rows."""
    d, rows = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    value = st.one_of(st.sampled_from([0.0, 1.0, 1 - 1e-9, 1 - 1e-5, 3.0]), st.floats(0, 3), st.floats(1e-9, 1e-3))
    return np.array(draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=rows, max_size=rows)))


@always
@given(values=spectra(), seed=st.integers(0, 999), scale=st.sampled_from([1e-12, 1.0, 1e9]))
def test_the_largest_is_bounded_tightly_from_above(values: Any, seed: int, scale: float) -> None:
    check(symmetric(values * scale, seed))


@pytest.mark.parametrize(
    "values",
    [
        np.ones(300),
        np.linspace(0, 1, 300),
        np.geomspace(1e-12, 1, 300),
        np.r_[np.linspace(0, 0.9, 298), 1 - 1e-7, 1],
        np.r_[np.zeros(299), 2],
        np.r_[np.zeros(290), np.ones(10)],
        np.cos(np.linspace(0, np.pi, 300)) + 1,
    ],
    ids=["repeated", "even", "geometric", "tiny gap", "rank one", "rank ten", "dense at the end"],
)
def test_spectra_of_many_kinds(values: Any) -> None:
    check(symmetric(values, 0))


@pytest.mark.parametrize("turned", [False, True])
def test_eigenvectors_along_the_axes_and_patterns(turned: bool) -> None:
    """Diagonal operators, and circulant ones, whose eigenvectors are waves."""
    d = 256
    values = np.random.default_rng(0).uniform(size=d)
    if turned:
        wave = np.fft.fft(np.eye(d), norm="ortho")
        values[1:] = (values[1:] + values[:0:-1]) / 2
        check(np.real(wave.conj().T @ np.diag(values) @ wave)[None])
    else:
        check(np.diag(values)[None])


@quick
@given(values=spectra(), seed=st.integers(0, 999))
def test_rows_alone_have_the_same_bits(values: Any, seed: int) -> None:
    H = symmetric(values, seed)
    together = largest(by(H), *values.shape)
    alone = [largest(by(H[row : row + 1]), 1, values.shape[1])[0] for row in range(len(H))]
    assert together.tolist() == alone


def test_rows_that_are_done_come_as_zeros() -> None:
    """The identity is done after one product; the other row goes on alone."""
    H = symmetric(np.stack([np.ones(50), np.linspace(0, 1, 50)]), 0)
    seen = []

    def apply(V: Any) -> Any:
        seen.append(np.abs(V).sum(axis=1) > 0)
        return by(H)(V)

    largest(apply, 2, 50)
    assert seen[0].all()
    assert not np.any([first for first, _ in seen[1:]])
    assert np.all([second for _, second in seen])


def test_one_dimension_and_zero_operators() -> None:
    assert largest(lambda V: V * np.array([[3.0], [0.0]]), 2, 1) == pytest.approx([3, 0], rel=2 * RTOL)
    assert largest(lambda V: 0 * V, 3, 7).tolist() == [0, 0, 0]


@pytest.mark.parametrize("power", [1, 2, 4])
def test_beyond_the_memory_it_is_still_a_bound(power: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever more eigenvalues near the end, and too few vectors to converge to 1e-10."""
    monkeypatch.setattr(spectrum, "ITERATIONS", 40)
    values = 1 - (np.arange(600) / 600) ** power
    assert 1 + 2 * RTOL < largest(lambda V: V * values, 1, 600)[0] <= 1.01


@quick
@given(values=spectra(), seed=st.integers(0, 999))
def test_the_smallest_is_bounded_tightly_from_below(values: Any, seed: int) -> None:
    """At most d roundings of the norm are given away, and eigvalsh may be off by as many again."""
    H = symmetric(values[:1], seed)
    truth, top = np.linalg.eigvalsh(H)[0, [0, -1]]
    rounding = values.shape[1] * np.finfo(float).eps * max(top, 1e-300)
    bound = smallest(lambda V: V @ H[0], values.shape[1], top)
    assert bound <= max(truth, values.min()) + rounding
    assert bound >= 0
    assert bound >= truth - 3 * rounding


@pytest.mark.parametrize("low", [0.0, 1e-3, 0.5])
def test_the_smallest_by_lanczos(low: float) -> None:
    values = np.r_[low, np.linspace(low + 0.01, 1, 1499)]
    top = largest(lambda V: V * values, 1, 1500)[0]
    assert low - 1e-9 <= smallest(lambda V: V * values, 1500, top) <= low


def test_lanczos_and_dense_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    A = np.random.default_rng(0).normal(size=(200, 60))
    H = A.T @ A / 200
    top = largest(lambda V: V @ H, 1, 60)[0]
    dense = smallest(lambda V: V @ H, 60, top)
    monkeypatch.setattr(spectrum, "DENSE", 10)
    assert smallest(lambda V: V @ H, 60, top) == pytest.approx(dense, abs=2 * RTOL * top)


def test_float32_operators_are_taken() -> None:
    H = symmetric(np.linspace(0, 1, 20), 0).astype(np.float32)
    assert largest(lambda V: by(H)(V.astype(np.float32)), 1, 20)[0] == pytest.approx(1, abs=20 * 2**-23)


@pytest.mark.parametrize(
    "bound", [lambda f: largest(f, 2, 3), lambda f: smallest(f, 3, 1.0)], ids=["largest", "smallest"]
)
def test_an_operator_that_is_not_finite_is_refused(bound: Any) -> None:
    with pytest.raises(ValueError, match=r"the operator must give finite numbers\. Are the data finite"):
        bound(lambda V: V * np.nan)
