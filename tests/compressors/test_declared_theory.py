"""The declared constants against Monte Carlo, on the vectors that are worst for one compressor or another.

`SAMPLES` independent messages of one vector are the rows of one matrix. A mean over them is compared with its
expectation up to 5 of its own standard errors, plus `GRAIN`: draws have 16 bits and arithmetic 24.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from thinwire import (
    Compressor,
    Dither,
    Key,
    Natural,
    NaturalDither,
    PermK,
    RandK,
    Rotated,
    Ternary,
)
from thinwire.compressors.code import GAUSSIAN_ERROR, dithering_omega

from .inputs import gaussian, unit
from .rows import Row

D, SAMPLES = 128, 512
GRAIN = 2.0**-15


def vectors(d: int = D) -> dict[str, Tensor]:
    ramp = torch.arange(1, d + 1) / d
    return {
        "dense": gaussian(d),
        "two equal": unit(d, 1, d // 2),
        "sparse": gaussian(d) * (gaussian(d, 2) > 1.2),
        "outlier": gaussian(d) + 20 * unit(d, 3),
        "ones": torch.ones(d),
        "e_i": unit(d, 5),
        "ternary's worst": torch.ones(d) + math.sqrt(d) * unit(d, 0),
        "natural's worst": torch.full((d,), 4 / 3),
        "nearest's worst": 0.5001 * torch.ones(d) + 0.4999 * unit(d, 0),
        "ramp": ramp,
    }


def messages(compressor: Compressor, x: Tensor, ranks: range = range(1), samples: int = SAMPLES) -> Tensor:
    """(ranks, samples, d) float64: independent messages of x (d,) or (ranks, d). Shares make even shared draws new."""
    wide = x.expand(len(ranks), -1) if x.ndim == 1 else x
    key = Key(seed=77, step=1, ranks=ranks, shares=range(samples))
    sent = compressor.encode(wide.repeat_interleave(samples, dim=0), key)
    return compressor.decode(sent).double().view(len(ranks), samples, -1)


def squares(errors: Tensor) -> tuple[float, float]:
    """The mean squared norm of the rows, and 5 standard errors of it."""
    each = errors.square().sum(dim=-1)
    return float(each.mean()), 5 * float(each.std()) / math.sqrt(len(each))


@dataclass(frozen=True)
class Measured:
    """What `SAMPLES` messages of x show: their mean, and squared errors about x and about it, each with its margin."""

    x: Tensor
    mean: Tensor
    deviation: Tensor
    largest: float
    error: tuple[float, float]
    spread: tuple[float, float]

    @property
    def norm(self) -> float:
        return float(self.x.norm())

    @property
    def noise(self) -> float:
        """Five standard errors of the mean, in norm, even if all of the variance is in one direction."""
        return 5 * math.sqrt(sum(self.spread) / SAMPLES)


@cache
def measured(compressor: Compressor) -> dict[str, Measured]:
    """Of each vector; several tests read it."""
    found = {}
    for name, x in vectors().items():
        received, exact = messages(compressor, x)[0], x.double()
        mean = received.mean(dim=0)
        largest, deviation = float(received.abs().max()), received.std(dim=0)
        found[name] = Measured(exact, mean, deviation, largest, squares(received - exact), squares(received - mean))
    return found


def test_the_mean_of_unbiased_messages_is_x(row: Row) -> None:
    if not row.compressor.unbiased:
        pytest.skip("biased")
    rounding = row.compressor.bias(D)
    for name, seen in measured(row.compressor).items():
        off = seen.mean - seen.x
        if row.residue and name != "dense":  # "unbiased" but for what its docstring admits
            assert off.norm() <= row.residue * seen.norm + seen.noise, name
            continue
        # Some coordinates move rarely: the empirical Bernstein bound (Maurer and Pontil, 2009) at 5 sigma, t = 12.5.
        rare = 7 * 12.5 / 3 * seen.largest / SAMPLES
        error = 5 * seen.deviation / math.sqrt(SAMPLES) + rare + (GRAIN + rounding) * seen.norm
        assert (off.abs() <= error).all(), (name, float((off.abs() - error).max()))


def test_the_variance_is_within_the_declared_omega(row: Row) -> None:
    omega = row.compressor.omega(D)
    if omega is None:
        pytest.skip("biased")
    declared = (math.sqrt(omega) + row.compressor.bias(D)) ** 2  # rounding to a float adds to a selection's error
    for name, seen in measured(row.compressor).items():
        error, margin = seen.error
        assert error <= (declared + GRAIN) * seen.norm**2 + margin, name


def test_the_error_is_within_the_declared_contraction(row: Row) -> None:
    delta = row.compressor.delta(D)
    if delta is None:
        pytest.skip("not contractive")
    for name, seen in measured(row.compressor).items():
        error, margin = seen.error
        assert error <= (1 - delta + GRAIN) * seen.norm**2 + margin, name


def test_bias_and_variance_are_within_the_declared_class(row: Row) -> None:
    """C(η, ω) of EF-BV: the deterministic part and the random part, each by itself."""
    eta, omega = row.compressor.bias(D) + row.residue, row.compressor.variance(D)
    for name, seen in measured(row.compressor).items():
        spread, margin = seen.spread
        assert spread <= (omega + GRAIN) * seen.norm**2 + margin, name
        assert float((seen.mean - seen.x).norm()) <= (eta + GRAIN) * seen.norm + seen.noise, name


def test_the_mean_of_workers_is_within_the_declared_average_variance(row: Row) -> None:
    compressor, workers = row.compressor.bind(4), 4
    each = torch.stack([gaussian(D, i) * (1 + i) for i in range(workers)])
    alike = gaussian(D).expand(workers, -1)
    for x in (each, alike, torch.ones(workers, D), torch.cat((torch.zeros(3, D), torch.ones(1, D)))):
        received = messages(compressor, x, range(workers), samples=256)
        mean = received.mean(dim=0)
        error, margin = squares(mean - received.mean(dim=(0, 1)))
        power = float(x.double().square().sum(dim=1).mean())
        assert error <= (compressor.mean_variance(D, workers) + GRAIN) * power + margin


TIGHT = {
    "ternary": (Ternary(), "ternary's worst"),
    "ternary l2": (Ternary(norm=2), "ones"),
    "natural": (Natural(), "natural's worst"),
    "randk": (RandK(0.25), "dense"),
    "randk runs": (RandK(0.25, block=8), "dense"),
    "permk": (PermK(workers=4), "dense"),
    "randk >> natural": (RandK(0.25) >> Natural(), "natural's worst"),
    "randk >> ternary l2": (RandK(0.25) >> Ternary(norm=2), "ones"),
}
"""Compressors whose ω is attained, and where."""


@pytest.mark.parametrize("name", TIGHT)
def test_omega_is_attained(name: str) -> None:
    compressor, where = TIGHT[name]
    x, omega = vectors()[where], compressor.omega(D)
    assert omega is not None
    error, margin = squares(messages(compressor, x)[0] - x.double())
    square = float(x.double().square().sum())
    assert abs(error - omega * square) <= margin + GRAIN * (1 + omega) * square


def grid(x: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """The levels below and above each value; `levels` ascend from 0 to the largest value or more."""
    above = torch.searchsorted(levels, x).clamp(1, len(levels) - 1)
    return levels[above - 1], levels[above]


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_dithering_has_exactly_the_variance_of_rounding(norm: float) -> None:
    """Σ (high − |x|)(|x| − low) over the levels around each value: for ternary codes ‖x‖₁‖x‖ − ‖x‖₂²."""
    codes = {
        Ternary(norm=norm): torch.tensor([0.0, 1.0]),
        Dither(bits=3, norm=norm): torch.arange(4) / 3,
        Dither(levels=10, norm=norm): torch.arange(11) / 10,
        NaturalDither(levels=4, norm=norm): torch.tensor([0, 0.125, 0.25, 0.5, 1.0]),
    }
    for compressor, levels in codes.items():
        for name, x in vectors().items():
            size = x.double().abs()
            low, high = grid(size, levels.double() * torch.linalg.vector_norm(size, norm))
            exact = float(((high - size) * (size - low)).sum())
            error, margin = squares(messages(compressor, x)[0] - x.double())
            assert abs(error - exact) <= margin + GRAIN * float(size.square().sum()), (compressor, name)


@pytest.mark.parametrize("bits", GAUSSIAN_ERROR)
@pytest.mark.parametrize("block", [128, 1024])
def test_rotated_omega_is_met_from_both_sides(bits: int, block: int) -> None:
    """Dense vectors come within 20 % of the declared ω, which has 16 / B (12.5 % at 128) to spare, and stay below."""
    compressor = Rotated(bits=bits, block=block)
    omega = compressor.omega(block)
    assert omega is not None
    for x in (gaussian(block), torch.ones(block), gaussian(block) ** 3):
        error, margin = squares(messages(compressor, x, samples=400)[0] - x.double())
        power = float(x.double().square().sum())
        assert 0.8 * omega * power - margin <= error <= omega * power + margin


@pytest.mark.parametrize("bits", GAUSSIAN_ERROR)
def test_gaussian_errors_are_those_of_the_centroids(bits: int) -> None:
    """E (|z| − c(|z|))² = 1 − E c², since each centroid is the mean of its cell. 1e-9: the constants' own digits."""
    from scipy.stats import norm  # type: ignore[import-untyped]  # scipy has no types

    from thinwire.kernels.rotate import CENTROIDS

    c = torch.tensor(CENTROIDS[bits], dtype=torch.float64).numpy()
    edges = [0.0, *((c[1:] + c[:-1]) / 2), math.inf]
    mass = 2 * (norm.cdf(edges[1:]) - norm.cdf(edges[:-1]))
    assert GAUSSIAN_ERROR[bits] == pytest.approx(1 - float((mass * c**2).sum()), abs=1e-9)


def test_the_residue_of_rotation_is_what_the_docstring_admits() -> None:
    """Two equal elements and nothing else: 0.1‖x‖ on blocks of 128, 0.03‖x‖ on blocks of 1024."""
    for block, admitted in ((128, 0.1), (1024, 0.03)):
        for bits in GAUSSIAN_ERROR:
            for x in (unit(block, 0, 1), unit(block, 3, block // 2), unit(block, 0, 1) - 0.01 * unit(block, 1)):
                received = messages(Rotated(bits=bits, block=block), x, samples=1000)[0]
                noise = squares(received - received.mean(dim=0))[0] / 1000
                bias = math.sqrt(max(0.0, float((received.mean(dim=0) - x).square().sum()) - noise))
                # The noise of ‖mean‖² itself: 5 sigma is 5 √(2 / block) of its expectation.
                assert bias <= admitted * float(x.norm()) + math.sqrt(5 * math.sqrt(2 / block) * noise), (block, bits)


@pytest.mark.parametrize("d, workers", [(12, 3), (12, 5), (7, 3), (5, 5), (1, 1)])
def test_permk_is_exact_on_equal_vectors_and_has_a_equal_to_b(d: int, workers: int) -> None:
    """E‖mean − x̄‖² = mean‖x_i‖² − ‖x̄‖²: with A = B = 1 it is an equality where each coordinate has one owner."""
    compressor = PermK(workers=workers)
    alike = gaussian(d).expand(workers, -1)
    different = torch.stack([gaussian(d, i) for i in range(workers)])
    errors, singles = [], []
    for step in range(150):
        key = Key(step=step, ranks=range(workers))
        # The factor n is exact, the sum of n − 1 zeros too; the division by n rounds once, as the product did.
        exact = compressor.decode(compressor.encode(alike, key)).mean(dim=0)
        torch.testing.assert_close(exact, alike[0], rtol=2**-22, atol=0)
        received = compressor.decode(compressor.encode(different, key)).double()
        assert ((received != 0).sum(dim=0) <= 1).all()
        errors.append(received.mean(dim=0) - different.double().mean(dim=0))
        singles.append(received[0])
    error, margin = squares(torch.stack(errors))
    exact_error = float(different.double().square().sum(dim=1).mean() - different.double().mean(dim=0).square().sum())
    assert abs(error - exact_error) <= margin + 1e-12
    first = torch.stack(singles)
    standard = 5 * first.std(dim=0) / math.sqrt(len(first)) if workers > 1 else torch.full((d,), 1e-7)
    assert ((first.mean(dim=0) - different[0]).abs() <= standard).all(), "one worker's messages are biased"


@pytest.mark.parametrize("d, workers", [(4, 12), (4, 6), (3, 10)])
def test_permk_with_more_workers_than_coordinates(d: int, workers: int) -> None:
    compressor = PermK(workers=workers)
    x = torch.stack([gaussian(d, i) for i in range(workers)])
    errors = []
    for step in range(150):
        key = Key(step=step, ranks=range(workers))
        received = compressor.decode(compressor.encode(x, key))
        owners = (received != 0).sum(dim=0)
        assert owners.sum() == workers
        assert workers // d <= owners.min() <= owners.max() <= -(-workers // d)
        errors.append((received - x).double().mean(dim=0))
    stacked = torch.stack(errors)
    error, margin = squares(stacked)
    power = float(x.double().square().sum(dim=1).mean())
    assert error <= compressor.mean_variance(d, workers) * power + margin
    assert (stacked.mean(dim=0).abs() <= 5 * stacked.std(dim=0) / math.sqrt(len(stacked))).all()
    assert compressor.omega(d) == d - 1


def test_composition_takes_omega_at_the_survivors_dimension() -> None:
    """1 + ω = (d / k)(1 + ω_Q(k)): Ternary ℓ∞ (d / k)(1 + √k) / 2, ℓ2 (d / k)√k, Natural (9 / 8)(d / k)."""
    d, k = 1000, 100
    assert (RandK(k) >> Ternary()).omega(d) == pytest.approx(10 * (1 + math.sqrt(k)) / 2 - 1)
    assert (RandK(k) >> Ternary(norm=2)).omega(d) == pytest.approx(10 * math.sqrt(k) - 1)
    assert (RandK(k) >> Natural()).omega(d) == pytest.approx(10 * 9 / 8 - 1)
    assert (RandK(k) >> Dither(bits=4)).omega(d) == pytest.approx(10 * (1 + dithering_omega(k, 7)) - 1)
    assert (RandK(0.5, shared=True) >> Dither()).mean_variance(d, 10) == pytest.approx(
        1 + 2 * dithering_omega(500, 7) / 10
    )
