"""The plan: known rows, fair order, marks that cover the run; and the learning rate's schedule."""

from __future__ import annotations

import pytest

from thinwire.baselines import METHODS, Choice
from thinwire.demo.plan import BASELINE, DEFAULT_RUNS, RUNS, Plan, Training, choose_runs
from thinwire.demo.train import learning_rate


def test_every_row_has_a_method_and_the_baseline_is_a_row() -> None:
    assert BASELINE in DEFAULT_RUNS
    assert {run.method for run in RUNS.values()} <= set(METHODS)
    assert all((run.link is not None) == (run.method == "thinwire") for run in RUNS.values())


def test_an_unknown_row_is_refused_with_what_exists() -> None:
    with pytest.raises(ValueError, match=r"'ddp', 'fp16'.*got 'fp61'.*Did you mean 'fp16'"):
        choose_runs("ddp,fp61")
    with pytest.raises(ValueError, match=r"at least one run.*There are: ddp, fp16"):
        choose_runs(" , ")


def test_the_order_is_seeded_and_every_row_runs_once_a_seed() -> None:
    plan = Plan(seeds=5)
    order = list(plan.order())
    assert order == list(plan.order())
    assert len(order) == 5 * len(plan.runs)
    assert {run.name for seed, run in order if seed == 3} == set(DEFAULT_RUNS)
    assert len({tuple(run.name for s, run in order if s == seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("steps", [3, 7, 10, 25, 120])
def test_marks_begin_at_zero_end_at_the_end_and_hold_the_untimed_steps(steps: int) -> None:
    training = Training(steps=steps)
    assert training.marks[0] == 0
    assert training.marks[-1] == steps
    assert training.untimed in training.marks
    assert 0 < training.untimed < steps


def test_the_learning_rate_rises_then_falls_to_a_tenth() -> None:
    training = Training(steps=50)
    rates = [learning_rate(training, step) for step in range(50)]
    top = training.warm_up - 1
    assert rates[top] == training.learning_rate
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 * training.learning_rate)


@pytest.mark.parametrize("arguments", [{"hosts": 1}, {"seeds": 0}])
def test_numbers_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Plan(**arguments)  # type: ignore[arg-type]


def test_hooks_without_momentum_say_so() -> None:
    from torch import nn

    for name in ("fp16", "powersgd"):
        with pytest.raises(ValueError, match="no local momentum"):
            METHODS[name](nn.Linear(1, 1), Choice(momentum=0.9))
    with pytest.raises(ValueError, match="a link is needed"):
        METHODS["thinwire"](nn.Linear(1, 1), Choice())
