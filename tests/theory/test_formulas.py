"""The plans' numbers where they can be worked out by hand, in their limits, and the errors where they have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from thinwire import theory
from thinwire.theory import Constants, Plan

CONVEX = Constants(smoothness=4.0, workers=(3.0, 5.0) * 4, samples=9.0, strong=0.01, m=10)
SMOOTH = replace(CONVEX, strong=0.0, convex=False)
PL = replace(CONVEX, convex=False)

WITHOUT_COMPRESSION: dict[str, Callable[[Constants], Plan]] = {
    "dcgd": lambda c: theory.dcgd(c, 0.0),
    "diana": lambda c: theory.diana(c, 0.0),
    "diana_nonconvex": lambda c: theory.diana_nonconvex(c, 0.0),
    "rand_diana": lambda c: theory.rand_diana(c, 0.0),
    "marina": lambda c: theory.marina(c, 0.0, 0.1),
    "marina, p = 1": lambda c: theory.marina(c, 7.0, 1.0),
    "dasha": lambda c: theory.dasha(c, 0.0),
    "ef21": lambda c: theory.ef21(c, 1.0),
    "ef21_pp": lambda c: theory.ef21_pp(c, 1.0, 1.0),
    "clag": lambda c: theory.clag(c, 1.0, 0.0),
    "ef_bv": lambda c: theory.ef_bv(c, 0.0, 0.0),
    "vr_marina, p = 1": lambda c: theory.vr_marina(c, 7.0, 1, p=1.0),
    "pp_marina, all, p = 1": lambda c: theory.pp_marina(c, 0.0, 8),
    "mcm": lambda c: theory.mcm(c, 0.0, 0.0),
    "dasha_pp, all": lambda c: theory.dasha_pp(c, 0.0, 1.0),
}

STRONGLY_CONVEX: dict[str, Callable[[Constants], Plan]] = {
    "nesterov": theory.nesterov,
    "heavy_ball": theory.heavy_ball,
    "diana": lambda c: theory.diana(c, 1.0),
    "diana_balanced": lambda c: theory.diana_balanced(c, 1.0),
    "diana_original": lambda c: theory.diana_original(c, 1.0),
    "rand_diana": lambda c: theory.rand_diana(c, 1.0),
    "sgd_diana": lambda c: theory.sgd_diana(c, 1.0, 1),
    "adiana": lambda c: theory.adiana(c, 1.0),
    "adiana_refined": lambda c: theory.adiana_refined(c, 1.0),
    "scaffnew": theory.scaffnew,
    "locodl": lambda c: theory.locodl(c, 1.0),
    "dore": lambda c: theory.dore(c, 1.0, 1.0),
    "mcm": lambda c: theory.mcm(c, 1.0, 1.0),
    "ef21p_diana": lambda c: theory.ef21p_diana(c, 1.0, 0.5),
}

MERELY_CONVEX: dict[str, Callable[[Constants], Plan]] = {
    "fista": theory.fista,
    "dcgd": lambda c: theory.dcgd(c, 1.0),
    "diana_convex": lambda c: theory.diana_convex(c, 1.0),
    "vr_diana": lambda c: theory.vr_diana(c, 1.0, 1),
}

SMOOTH_ALONE: dict[str, Callable[[Constants], Plan]] = {
    "gradient_descent": theory.gradient_descent,
    "diana_nonconvex": lambda c: theory.diana_nonconvex(c, 1.0),
    "ef21": lambda c: theory.ef21(c, 0.5),
    "ef21, prox": lambda c: theory.ef21(c, 0.5, prox=True),
    "ef_bv": lambda c: theory.ef_bv(c, 0.3, 1.0),
    "clag": lambda c: theory.clag(c, 0.5, 1.0),
    "marina": lambda c: theory.marina(c, 1.0, 0.5),
    "dasha": lambda c: theory.dasha(c, 1.0),
    "vr_marina": lambda c: theory.vr_marina(c, 1.0, 1),
    "dasha_page": lambda c: theory.dasha_page(c, 1.0, 1),
    "ef21_pp": lambda c: theory.ef21_pp(c, 0.5, 0.5),
    "pp_marina": lambda c: theory.pp_marina(c, 1.0, 2),
    "dasha_pp": lambda c: theory.dasha_pp(c, 1.0, 0.5),
    "intsgd": theory.intsgd,
    "intdiana": theory.intdiana,
}


@pytest.mark.parametrize("name", WITHOUT_COMPRESSION)
def test_no_compression_is_gradient_descent_with_the_step_1_over_L(name: str) -> None:
    assert math.isclose(WITHOUT_COMPRESSION[name](CONVEX).step, 0.25)


def test_infinitely_many_workers_compress_for_free() -> None:
    many = 1e-12  # ω_av = ω/n
    plans = theory.dasha(SMOOTH, 9.0, many), theory.marina(SMOOTH, 9.0, 0.1, many), theory.diana(CONVEX, 4.0, many)
    assert all(math.isclose(plan.step, 0.25, rel_tol=1e-4) for plan in plans)


def test_relations_between_theorems() -> None:
    for delta in (0.01, 0.5, 0.99):
        ef21 = theory.ef21(SMOOTH, delta).step
        assert math.isclose(theory.clag(SMOOTH, delta, 0.0).step, ef21)
        # η = √(1 − δ): r = 1 − δ, and s* = √((2 − δ)/(2 − 2δ)) − 1 pays for PL's factor 2
        assert ef21 / 4 < theory.ef_bv(SMOOTH, math.sqrt(1 - delta), 0.0).step < ef21
    unbiased, bv = theory.diana_nonconvex(PL, 3.0), theory.ef_bv(PL, 0.0, 3.0)
    assert unbiased.more["lam"] == bv.more["lam"]
    flat = replace(CONVEX, strong=1e-5)
    assert theory.diana_balanced(flat, 3.0).step > theory.diana_original(flat, 3.0).step
    steep = replace(CONVEX, strong=4.0)  # t = 1/2
    assert theory.diana_balanced(steep, 3.0).step == theory.diana_original(steep, 3.0).step
    assert theory.diana_convex(CONVEX, 1.0).step == theory.diana(CONVEX, 1.0).step / 2
    assert math.isclose(theory.saga_probability(CONVEX, 1), theory.lsvrg_probability(CONVEX, 1))


def test_dcgd_and_diana_pay_for_shared_coordinates() -> None:
    """One mask for all: ω_av = ω, without the 1/n."""
    for plan in (theory.dcgd, theory.diana, theory.diana_original, theory.diana_nonconvex, theory.dasha):
        assert plan(CONVEX, 1.0, 1.0).step < plan(CONVEX, 1.0).step == plan(CONVEX, 1.0, 1 / 8).step


def test_scaffnew_s_rate_is_for_communications() -> None:
    plan = theory.scaffnew(CONVEX)
    assert math.isclose(plan.more["p"], math.sqrt(0.01 / 5))
    assert 0.8 * math.sqrt(0.01 / 5) < (plan.rate or 0) <= math.sqrt(0.01 / 5)


def test_adiana_without_compression_is_accelerated() -> None:
    for condition in (1e2, 1e4, 1e6):
        c = Constants(1.0, (1.0,), 1.0, 1 / condition, 1)
        rate = theory.adiana(c, 0.0).rate
        assert rate is not None
        assert 0.1 / math.sqrt(condition) < rate < 1 / math.sqrt(condition)


def test_dore_always_promises_something() -> None:
    for omega in (0.0, 0.01, 1.0, 100.0):
        for down in (0.0, 0.01, 1.0, 100.0):
            for strong in (1e-6, 0.1, 4.0):
                plan = theory.dore(replace(CONVEX, strong=strong), omega, down)
                assert 0 < (plan.rate or 0) < 1


@pytest.mark.parametrize("name", STRONGLY_CONVEX)
def test_strong_convexity_is_asked_for(name: str) -> None:
    plan = STRONGLY_CONVEX[name](CONVEX)
    assert plan.regime == "strongly convex"
    assert plan.step > 0
    assert 0 < (plan.rate or 0) < 1
    for constants in (replace(CONVEX, strong=0.0), PL):
        with pytest.raises(ValueError, match=rf"^{name}: .*convex.*\. (Use|Add) .*\.$"):
            STRONGLY_CONVEX[name](constants)


@pytest.mark.parametrize("name", MERELY_CONVEX)
def test_convexity_is_asked_for(name: str) -> None:
    plan = MERELY_CONVEX[name](replace(CONVEX, strong=0.0))
    assert plan.regime == "convex"
    assert plan.rate is None
    assert plan.rounds(0.5) is None
    with pytest.raises(ValueError, match=rf"^{name}: every f_i must be convex"):
        MERELY_CONVEX[name](SMOOTH)


@pytest.mark.parametrize("name", SMOOTH_ALONE)
def test_smoothness_is_enough(name: str) -> None:
    plan = SMOOTH_ALONE[name](SMOOTH)
    assert plan.regime == "nonconvex"
    assert plan.rate is None
    linear = SMOOTH_ALONE[name](PL)
    assert linear.regime == "PL"
    assert 0 < linear.step <= plan.step
    assert 0 < (linear.rate or 0) < 1


def test_constants_of_compressors_are_checked() -> None:
    with pytest.raises(ValueError, match=r"ω must be at least 0 and finite; got inf. Use an unbiased"):
        theory.diana(CONVEX, math.inf)
    with pytest.raises(ValueError, match=r"ω_av must be 0 to ω = 1; got 2.0"):
        theory.diana(CONVEX, 1.0, mean_variance=2.0)
    with pytest.raises(ValueError, match=r"ef21: δ must be above 0 and at most 1; got 0.0. Use a contractive"):
        theory.ef21(SMOOTH, 0.0)
    with pytest.raises(ValueError, match=r"the bias η must be 0 to below 1"):
        theory.ef_bv(SMOOTH, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"ζ must be"):
        theory.clag(SMOOTH, 0.5, -1.0)
    with pytest.raises(ValueError, match=r"marina: p must be above 0"):
        theory.marina(SMOOTH, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"dasha_pp: the probability of taking part"):
        theory.dasha_pp(SMOOTH, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"clients of a round must be 1 to n = 8; got 9"):
        theory.pp_marina(SMOOTH, 1.0, 9)
    with pytest.raises(ValueError, match=r"batch must be 1 to m = 10; got 11"):
        theory.vr_diana(CONVEX, 1.0, 11)
    with pytest.raises(ValueError, match=r"β, of the running average"):
        theory.intsgd(CONVEX, beta=1.0)


def test_constants_of_problems_are_checked() -> None:
    with pytest.raises(ValueError, match=r"μ must be 0 to L; got 5.0. Count a strongly convex penalty"):
        replace(CONVEX, strong=5.0)
    with pytest.raises(ValueError, match=r"must be positive and finite; got nan"):
        replace(CONVEX, smoothness=math.nan)
    with pytest.raises(ValueError, match=r"there must be a worker"):
        replace(CONVEX, workers=())
    with pytest.raises(ValueError, match=r"accuracy"):
        theory.gradient_descent(CONVEX).rounds(1.0)
    assert theory.gradient_descent(replace(CONVEX, strong=4.0)).rounds(1e-9) == 1.0
