"""Signal, noise and heterogeneity of gradients whose G, Σ and H are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.reference import gradients as reference
from thinwire.probing.gradients import Scatter
from thinwire.probing.sample import Sample

N, D = 4, 4096


def drawn(steps: int, *, signal: float, sigma: float, own: float, seed: int = 0) -> torch.Tensor:
    """(T, n, D): ‖G‖² = signal · D, tr Σ = sigma² · D, mean_i ‖G_i − G‖² = own · D exactly."""
    generator = torch.Generator().manual_seed(0)
    common, shifts = torch.randn(D, generator=generator), torch.randn(N, D, generator=generator)
    shifts = shifts - shifts.mean(0)
    shifts *= math.sqrt(own * D * N) / shifts.norm()
    common *= math.sqrt(signal * D) / common.norm()
    return common + shifts + sigma * torch.randn(steps, N, D, generator=generator.manual_seed(1 + seed))


def sample() -> Sample:
    return Sample.of({"w": (64, 64)}, D)


@pytest.mark.parametrize("signal,sigma,own", [(1.0, 1.0, 0.0), (0.01, 3.0, 0.0), (0.5, 2.0, 1.0), (1.0, 0.0, 2.0)])
def test_known_gradients_are_found_out(signal: float, sigma: float, own: float) -> None:
    steps = 20
    scatter = Scatter(sample(), N)
    for gradients in drawn(steps, signal=signal, sigma=sigma, own=own):
        scatter.add(gradients)
    found = scatter.found()
    trace = sigma**2
    # sums of D normal squares: of (n − 1)(T − 1) D for the noise; what H and ‖G‖² take from noise and its products
    # with G and the shifts is in standard deviations √(2 / D) tr Σ / T and 2 √(trace · size / (n T D)); 5 σ each
    noise = 5 * trace * math.sqrt(2 / ((N - 1) * (steps - 1) * D))
    apart = 5 * (trace / steps * math.sqrt(2 / D) + 2 * math.sqrt(trace * own / (steps * D)))
    size = 5 * (trace / (N * math.sqrt(steps)) * math.sqrt(2 / D) + 2 * math.sqrt(trace * signal / (N * steps * D)))
    exact = 1e-5  # float32
    assert found.noise / D == pytest.approx(trace, abs=noise + exact)
    assert found.own / D == pytest.approx(own, abs=apart + exact)
    assert found.signal / D == pytest.approx(signal, abs=size + exact)
    assert found.steps == steps


def test_the_analysis_of_variance_is_the_twins_products_of_different_steps() -> None:
    steps = drawn(7, signal=0.3, sigma=1.0, own=0.5)
    scatter = Scatter(sample(), N)
    for gradients in steps:
        scatter.add(gradients)
    found = scatter.found()
    assert (found.signal, found.noise, found.own) == pytest.approx(reference.scatter(steps.double().numpy()), rel=1e-9)
    assert found.heterogeneity == pytest.approx(found.own / found.signal)


def test_the_standard_error_is_how_much_estimates_differ() -> None:
    estimates, errors = [], []
    for seed in range(40):
        scatter = Scatter(Sample.of({"w": (256,)}, 256), N)
        for gradients in drawn(8, signal=0.2, sigma=1.0, own=0.0, seed=seed)[:, :, :256]:
            scatter.add(gradients)
        found = scatter.found()
        estimates.append(found.share)
        errors.append(found.share_error)
    # of 40 normals the spread is known to 11 %; 5 σ
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.56)


def test_whole_norms_take_the_samples_place() -> None:
    """Of a gradient of which a quarter is sampled, all norms are four times those of the sample."""
    steps = drawn(9, signal=0.5, sigma=1.0, own=0.5)
    alone, told = Scatter(sample(), N), Scatter(sample(), N)
    for gradients in steps:
        alone.add(gradients)
        own = 4 * gradients.double().square().sum(1)
        told.add(gradients, own=own, mean=4 * float(gradients.double().mean(0).square().sum()))
    less, more = alone.found(), told.found()
    assert (more.signal, more.noise, more.own) == pytest.approx(
        (4 * less.signal, 4 * less.noise, 4 * less.own), rel=1e-6
    )


def test_what_noise_hides_is_said() -> None:
    scatter = Scatter(sample(), N)
    for gradients in drawn(5, signal=0.0, sigma=1.0, own=0.0):
        scatter.add(gradients)
    assert not scatter.found().clear
    scatter = Scatter(sample(), N)
    for gradients in drawn(5, signal=1.0, sigma=1.0, own=0.0):
        scatter.add(gradients)
    assert scatter.found().clear


def test_steps_that_are_not_finite_do_not_count() -> None:
    steps = drawn(4, signal=1.0, sigma=1.0, own=0.0)
    bad = steps[0].clone()
    bad[0, 0] = float("inf")
    scatter, other = Scatter(sample(), N), Scatter(sample(), N)
    for gradients in (*steps, bad):
        scatter.add(gradients)
    for gradients in steps:
        other.add(gradients)
    other.add(steps[0], own=torch.full((N,), math.inf), mean=1.0)
    assert scatter.found() == other.found()


def test_what_cannot_be_told_is_an_error() -> None:
    with pytest.raises(ValueError, match="with one worker noise cannot be told from a gradient that moves; got 1"):
        Scatter(sample(), 1)
    scatter = Scatter(sample(), N)
    scatter.add(torch.randn(N, D))
    with pytest.raises(ValueError, match="at least two steps were finite"):
        scatter.found()
