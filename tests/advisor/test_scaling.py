"""More workers: jitter is drawn, nested and seeded; layouts; where the best choice changes is where it does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire.advisor.calibration import reference
from thinwire.advisor.facts import Codec, Machine, Network, Workload
from thinwire.advisor.predict import Choice, predict_step
from thinwire.advisor.scaling import CLEAR, Jitter, Layout, Study, interpolated

MACHINE = replace(reference().machine, cores=8)
WORK = Workload.even(1e6, compute=0.02)
LINKS = replace(reference().network, bandwidth=12.5e6)
LAYOUT = Layout(LINKS, Network())
CALM = Jitter()


def study(*choices: str, layout: Layout = LAYOUT, jitter: Jitter = CALM, machine: Machine = MACHINE) -> Study:
    return Study(tuple((Choice.parse(text), layout) for text in choices), machine, WORK, jitter)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(0.0, 0.5), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_more_workers_are_the_same_ones_and_others(sigma: float, slow: float, seed: int) -> None:
    jitter = Jitter(sigma, slow, steps=20, seed=seed)
    few, more = jitter.slowest(3), jitter.slowest(7)
    assert len(few) == len(more) or jitter.none
    assert np.all(few <= more)
    np.testing.assert_array_equal(few, jitter.slowest(3))


def test_draws_do_not_depend_on_the_pieces_that_they_are_made_in() -> None:
    jitter = Jitter(0.1, 0.01, steps=3)
    assert np.all(jitter.slowest(1024) <= jitter.slowest(1025))
    assert np.all(jitter.slowest(1025) <= jitter.slowest(3000))


def test_factors_have_the_mean_1_and_the_deviation_asked_for() -> None:
    """One worker: its factors are the lognormal's; 5 standard errors of 40,000 draws."""
    found = Jitter(0.3, steps=40_000).slowest(1)
    spread = math.sqrt(math.exp(0.3**2) - 1)
    assert abs(found.mean() - 1) < 5 * spread / 200
    assert np.log(found).std() == pytest.approx(0.3, rel=5 / math.sqrt(2 * 40_000))


def test_a_straggler_in_each_step_makes_each_step_as_slow() -> None:
    np.testing.assert_array_equal(Jitter(slow=1.0, factor=4.0, steps=3).slowest(5), np.full(3, 4.0))
    found = Jitter(slow=0.01, factor=4.0, steps=10_000).slowest(10)
    assert (found == 4).mean() == pytest.approx(1 - 0.99**10, abs=5 * 0.5 / 100)


@pytest.mark.parametrize("choice", ["ddp", "dcgd(rotated(3))"])
def test_without_jitter_a_point_is_the_prediction(choice: str) -> None:
    made = study(choice)
    found = made.point(choice, 4)
    predicted = predict_step(Choice.parse(choice), LAYOUT.site(4, MACHINE, WORK))
    assert (found.seconds, found.late, found.sent) == (predicted.seconds, predicted.seconds, predicted.sent)
    assert found.efficiency == pytest.approx(WORK.compute / predicted.seconds)
    assert replace(made, jitter=Jitter(seed=1, steps=7)).point(choice, 4) == found


def test_where_communication_is_free_the_slowest_worker_is_what_is_left() -> None:
    free = Machine(codecs={"rotated(bits=3)": Codec(0.0, 0.0, 0.0, 0.0, 0.0)})
    jitter = Jitter(0.2, 0.05, steps=50)
    made = study("dcgd(rotated(3))", layout=Layout(Network(), Network()), jitter=jitter, machine=free)
    for n in (1, 8, 100):
        assert made.point("dcgd(rotated(3))", n).efficiency == pytest.approx(1 / jitter.slowest(n).mean())


def test_a_straggler_costs_less_where_communication_hides_it() -> None:
    slow = Jitter(slow=1.0, factor=2.0, steps=1)
    for choice in ("ddp", "dcgd(rotated(3))"):
        calm, late = study(choice).point(choice, 8), study(choice, jitter=slow).point(choice, 8)
        assert 0 < late.seconds - calm.seconds <= WORK.compute * (1 + 1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.5, 4.0), min_size=1, max_size=40))
def test_interpolation_is_exact_where_a_step_is_linear(factors: list[float]) -> None:
    given_ = np.array(factors)
    seconds, sent = interpolated(lambda factor: (3 * factor + 1, 7.0), given_)
    np.testing.assert_allclose(seconds, 3 * given_ + 1)
    assert sent == 7.0


def test_at_a_turn_the_best_choice_is_another_than_just_before() -> None:
    made = study("ddp", "dcgd(rotated(3))", layout=Layout(replace(LINKS, bandwidth=1.25e9), Network()))
    (first, before), *turns = made.turns([2, 4, 100])
    assert first == 2
    assert turns
    for n, name in turns:
        assert (made.best(n - 1), made.best(n)) == (before, name)
        before = name
    assert made.best(100) == before


def test_turns_are_at_whole_machines() -> None:
    layout = replace(LAYOUT, local=4, grouped=True)
    for n, _ in study("powersgd4", "dcgd(rotated(3))", layout=layout).turns([4, 256])[1:]:
        assert n % 4 == 0


@pytest.mark.parametrize("workers", [2, 8])
def test_the_break_even_divides_what_pays_from_what_does_not(workers: int) -> None:
    made = study("ddp", "dcgd(rotated(3))")
    limit = made.break_even(workers)
    assert 1e6 < limit < 1e11
    assert made.best(workers, limit) != "ddp"
    assert made.best(workers, 1.03 * limit) == "ddp"
    below = made.point("ddp", workers, limit).seconds / made.point("dcgd(rotated(3))", workers, limit).seconds
    assert below > CLEAR


def test_the_break_even_is_nothing_where_there_is_nothing_better() -> None:
    assert study("ddp").break_even(4) == 0
    assert study("ddp", "dcgd(rotated(3))").break_even(1) == 0


def test_layouts() -> None:
    shared = Layout(LINKS, Network(bandwidth=1e9), local=4)
    alone, flat, grouped = (
        layout.site(16, MACHINE, WORK) for layout in (LAYOUT, shared, replace(shared, grouped=True))
    )
    assert (alone.machines, flat.machines, grouped.machines) == (16, 16, 4)
    # of each worker's 15 messages 12 leave the machine, by a link that it shares with three others
    assert flat.network.direct == pytest.approx(LINKS.direct / (4 * 12 / 15))
    assert replace(flat, network=LINKS) == alone
    assert shared.site(2, MACHINE, WORK).machines == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jitter(sigma=-0.1), "sigma must be 0 to 10"),
        (lambda: Jitter(slow=1.1), "slow must be 0 to 1"),
        (lambda: Jitter(slow=0.1, factor=0.5), "factor must be 1"),
        (lambda: Jitter(steps=0), "steps must be 1"),
        (lambda: study(), "at least one"),
        (lambda: study("ddp", "ddp"), "each once"),
        (lambda: study("ddp").point("fp16", 4), "one of ddp"),
        (lambda: replace(LAYOUT, local=4).site(6, MACHINE, WORK), "fill machines"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
