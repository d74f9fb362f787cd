"""Every preset, iterate by iterate, against its twin from the paper's pseudo-code.

Tolerance: twin and link hand the compressor the same float64 vectors but for the last bits, and both decode the same
float32 values; means are taken in float64. What differs is 1e-16 relative a step, unless such a difference flips the
rounding of a value to float32, which is then worth 6e-8 of that message. 1e-6 leaves room for both over 25 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import thinwire as tw

from ..reference import methods as twin
from .quadratics import Array, Quadratics, coin, compress, run

PROBLEM = Quadratics.drawn(n=6, d=12)
STEPS = 25
GAMMA = 1 / 64
"""A power of two, so that ef14's memory in units of γ g (the paper) and of g (here) round alike."""

UNBIASED = [tw.RandK(0.25), tw.RandK(3, shared=True), tw.PermK(), tw.Ternary(), tw.Rotated(bits=2), tw.Natural()]
CONTRACTIVE = [tw.TopK(0.25), tw.Sign(), tw.RandK(0.25).contractive(), tw.TopK(0.5) >> tw.Float16()]

Twin = Callable[..., list[Array]]


def check(link: tw.Link, reference: Twin, **numbers: object) -> None:
    xs, _ = run(PROBLEM, link, GAMMA, STEPS)
    expected = reference(PROBLEM.grads, x=PROBLEM.start, gamma=GAMMA, steps=STEPS, **numbers)
    assert len(xs) == len(expected) == STEPS
    np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=1e-6, atol=1e-6)


def real(compressor: tw.Compressor) -> twin.Compress:
    return partial(compress, compressor, PROBLEM.n)


@pytest.mark.parametrize("C", UNBIASED, ids=repr)
class TestUnbiased:
    def test_dcgd(self, C: tw.Compressor) -> None:
        check(tw.dcgd(C), twin.dcgd, C=real(C))

    def test_diana(self, C: tw.Compressor) -> None:
        omega = C.bind(PROBLEM.n).omega(12)
        assert omega is not None
        check(tw.diana(C), twin.diana, C=real(C), alpha=1 / (1 + omega))

    def test_diana_in_a_geometry(self, C: tw.Compressor) -> None:
        omega = C.bind(PROBLEM.n).omega(12)
        assert omega is not None
        xs, _ = run(PROBLEM, tw.diana(C), GAMMA, STEPS, geometry=0.9)
        expected = twin.diana_scaled(
            PROBLEM.grads, real(C), PROBLEM.start, GAMMA, STEPS, alpha=1 / (1 + omega), beta2=0.9
        )
        np.testing.assert_allclose(np.stack(xs), np.stack(expected), rtol=1e-6, atol=1e-6)

    def test_dasha(self, C: tw.Compressor) -> None:
        omega = C.bind(PROBLEM.n).omega(12)
        assert omega is not None
        check(tw.dasha(C), twin.dasha, C=real(C), a=1 / (2 * omega + 1))

    def test_marina(self, C: tw.Compressor) -> None:
        bound = C.bind(PROBLEM.n)
        p = min(1.0, bound.nbytes(12) / 52)  # 12 float32 values and the flag
        check(tw.marina(C), twin.marina, C=real(C), p=p, coin=coin)

    def test_rand_diana(self, C: tw.Compressor) -> None:
        omega = C.bind(PROBLEM.n).omega(12)
        assert omega is not None
        check(tw.rand_diana(C), twin.rand_diana, C=real(C), p=1 / (1 + omega), coin=coin)


@pytest.mark.parametrize("C", CONTRACTIVE, ids=repr)
class TestContractive:
    def test_ef21(self, C: tw.Compressor) -> None:
        check(tw.ef21(C), twin.ef21, C=real(C))

    @pytest.mark.parametrize("zeta", [0.0, 0.5, 20.0])
    def test_clag(self, C: tw.Compressor, zeta: float) -> None:
        check(tw.clag(C, zeta=zeta), twin.clag, C=real(C), zeta=zeta)

    def test_ef14(self, C: tw.Compressor) -> None:
        check(tw.ef14(C), twin.ef14, C=real(C))


@pytest.mark.parametrize("C", [*UNBIASED, *CONTRACTIVE], ids=repr)
def test_ef_bv(C: tw.Compressor) -> None:
    bound = C.bind(PROBLEM.n)
    eta = bound.bias(12)
    lam, nu = (
        min(1.0, (1 - eta) / ((1 - eta) ** 2 + variance))
        for variance in (bound.variance(12), bound.mean_variance(12, PROBLEM.n))
    )
    check(tw.ef_bv(C), twin.ef_bv, C=real(C), lam=lam, nu=nu)


@pytest.mark.parametrize("zeta", [0.0, 0.5, 20.0])
def test_lag(zeta: float) -> None:
    """Not at ζ = 1, where the step after a message is a tie, ‖v − h‖ = ‖v − v_prev‖, that rounding decides."""
    check(tw.lag(zeta), twin.clag, C=real(tw.Identity()), zeta=zeta)


def test_lag_is_clag_without_a_compressor() -> None:
    exact = twin.lag(PROBLEM.grads, PROBLEM.start, GAMMA, STEPS, 0.5)
    xs, _ = run(PROBLEM, tw.clag(tw.Identity(bits=64), 0.5), GAMMA, STEPS)
    np.testing.assert_allclose(np.stack(xs), np.stack(exact), rtol=1e-13, atol=1e-13)  # float64: 25 steps of 2e-16


def test_the_trigger_mutes_some_and_not_all() -> None:
    """The rows above are worth something: at ζ = 20, who never mutes and who always does end elsewhere."""
    muted = run(PROBLEM, tw.lag(20.0), GAMMA, STEPS)[0]
    never = run(PROBLEM, tw.lag(0.0), GAMMA, STEPS)[0]
    assert np.abs(muted[-1] - never[-1]).max() > 1e-4
    assert np.abs(muted[-1] - muted[-2]).max() > 0
    always = PROBLEM.start - GAMMA * STEPS * PROBLEM.grads(PROBLEM.start).mean(0)
    assert np.abs(muted[-1] - always).max() > 1e-2
