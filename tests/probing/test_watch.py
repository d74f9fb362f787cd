"""A training that is watched: what is found is what it was, on all workers, and the training stays what it is."""

from __future__ import annotations

import math

import pytest

from tests.reference import gradients as reference
from thinwire.probing.clock import Lap
from thinwire.probing.sample import LEAST, Sample
from thinwire.probing.watch import FEWEST, GATHERED

from ..training.fleet import Fleet
from . import watching

WARMUP, STEPS, MORE = 2, 4, 9


@pytest.mark.parametrize("quiet", [0, 3])
def test_what_is_found_is_what_the_training_was(pair: Fleet, quiet: int) -> None:
    made = pair.run(watching.watched, quiet, 0)
    assert made[0]["found"] == made[1]["found"]
    found, total = made[0]["found"], WARMUP + STEPS + (WARMUP + quiet) * bool(quiet)
    assert made[0]["seen"] == list(range(1, total + 1))
    workload, names = found["workload"], found["names"]
    assert names == ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias")
    assert workload["shapes"] == ((64, 32), (64,), (32, 64), (32,), (8, 32), (8,))
    ready = dict(zip(names, workload["ready"], strict=True))
    assert 0 < ready["4.weight"] < ready["2.weight"] < ready["0.weight"] < workload["compute"]
    assert workload["on_host"]
    assert found["gradients"]["steps"] == STEPS
    assert found["gradients"]["samples"] == 16
    assert found["gradients"]["values"] == sum(math.prod(shape) for shape in workload["shapes"])
    exact, coarse, low = found["gradients"]["candidates"]
    assert exact["error"] < 1e-12
    assert coarse["link"] == "dcgd(rotated(bits=1))"
    assert 0.05 < coarse["error"] < 2
    assert set(coarse["layers"]) == set(names)
    assert coarse["layers"]["0.bias"] < 1e-12 < coarse["layers"]["0.weight"]
    assert 0 < low["error"] < 1


def test_the_gradients_are_those_of_the_steps_that_were_looked_at(pair: Fleet) -> None:
    found = pair.run(watching.watched, 0, 0)[0]["found"]["gradients"]
    g = watching.gradients(0, 2, WARMUP, STEPS).double().numpy()
    signal, noise, own = reference.scatter(g)
    # float32 gradients of a training whose sums run in another order
    assert (found["signal"], found["noise"]) == pytest.approx((signal, noise), rel=1e-3)
    assert found["heterogeneity"] == pytest.approx(max(0.0, own / signal), rel=1e-3, abs=1e-3)


def test_averaged_steps_leave_the_training_as_it_is(pair: Fleet) -> None:
    made, expected = pair.run(watching.watched, 0, MORE), pair.run(watching.plain, MORE)
    for rank in range(2):
        assert bool((made[rank]["weights"] == expected[rank]).all())


def test_replicas_stay_equal_and_still_in_quiet_steps(pair: Fleet) -> None:
    quiet = 3
    first, second = (made["during"] for made in pair.run(watching.watched, quiet, 0))
    assert bool((first == second).all())
    still = WARMUP + quiet
    start = watching.weights(watching.net())
    assert bool((first[:still] == start).all())
    assert bool((first[still:] != first[still - 1 : -1]).any(dim=1).all())


def test_backward_passes_add_up_to_a_step_and_unused_parameters_are_zero(pair: Fleet) -> None:
    made = pair.run(watching.accumulating)[0]
    assert made["steps"] == made["total"]
    found = made["found"]
    ready = dict(zip(found["names"], found["workload"]["ready"], strict=True))
    assert max(ready.values()) <= found["workload"]["compute"]
    assert "unused" in ready
    layers = found["gradients"]["candidates"][1]["layers"]
    assert layers["unused"] == 0


def test_slow_steps_are_made_fewer(pair: Fleet) -> None:
    for limit, expected in ((0.0, (2 + FEWEST, FEWEST)), (1e6, (5 + 12, 12))):
        for made, sampled, notes in pair.run(watching.limited, limit):
            assert (made, sampled) == expected
            assert any("to take no longer" in note for note in notes) == (limit == 0)


def test_models_that_cannot_be_watched_are_refused(pair: Fleet) -> None:
    attached, hooked, early, few = pair.run(watching.refused)[0]
    assert "the model has no communication hook yet" in attached
    assert "leave attach" in attached
    assert "probe_hook" in hooked
    assert "leave attach out as long as thinwire probe runs" in hooked
    assert "it takes 6 steps; got 0. Train for longer." in early
    assert "it takes two steps" in few


def test_a_step_is_without_what_it_waits_for_after_its_last_gradient() -> None:
    lap = Lap(10.0, {"b": 12.0, "a": 14.0}, back=[13.0, 17.0], end=18.0)
    assert lap.seconds_until_ready(["a", "b", "unused"]) == [4.0, 2.0, 4.0]
    assert lap.compute == 8.0 - 3.0
    hidden = Lap(10.0, {"a": 14.0}, back=[13.0], end=18.0)
    assert hidden.compute == 8.0


def test_the_samples_of_a_step_fit_the_budget() -> None:
    shapes = {f"{i}": (1024, 1024) for i in range(12)}
    for workers, steps in ((2, 20), (16, 20), (512, 20)):
        sample = Sample.of(shapes, GATHERED // (4 * workers * steps))
        assert 4 * workers * steps * sample.size <= max(1.5 * GATHERED, 4 * workers * steps * 12 * LEAST)
