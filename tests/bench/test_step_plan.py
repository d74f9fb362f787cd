"""Who is in the race, and the order of turns."""

from __future__ import annotations

from collections import Counter

import pytest

from thinwire.bench.contenders import AGAINST, choose
from thinwire.bench.step_plan import TURN, WARM_UP, StepPlan


def test_a_plan_survives_the_way_to_its_workers() -> None:
    plan = StepPlan(choose("ddp,powersgd4", ["auto", "diana(rotated(1))"], 0.9), 3, "1gbit", sleep_ms=2.5)
    assert StepPlan.from_json(plan.as_json()) == plan


def test_everyone_is_first_equally_often() -> None:
    plan = StepPlan(choose("ddp,fp16", ["auto"], None), 2, "none", steps=16 * TURN)
    assert len(plan.contenders) == 4
    firsts = Counter(next(plan.order(number)).name for number in range(plan.rounds))
    assert set(firsts.values()) == {plan.rounds // 4}
    assert all(sorted(c.name for c in plan.order(n)) == sorted(c.name for c in plan.contenders) for n in range(8))


def test_local_comes_first_and_nobody_twice() -> None:
    names = [contender.name for contender in choose(",".join(AGAINST), ["auto", "auto"], None)]
    assert names == ["local", *AGAINST, "auto"]


def test_slow_links_are_given_more_time() -> None:
    plans = [StepPlan(choose("ddp", [], None), 2, rate) for rate in ("none", "1gbit", "10mbit")]
    limits = [plan.turn_limit(10**7) for plan in plans]
    assert limits == sorted(limits)
    dense = 8 * 4 * 10**7 / 10**7  # seconds to send 10 million float32 values at 10 Mb/s
    assert limits[-1] > TURN * dense


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hosts": 1}, "hosts must be 2 to 64"),
        ({"steps": (WARM_UP + 1) * TURN - 1}, "steps must be 12 to"),
        ({"model": "cnn"}, "model must be one of 'mlp', 'gpt'"),
        ({"rate": "fast"}, "a rate is a number followed by"),
        ({"model": "gpt", "params": 10**6}, "only the mlp comes in sizes"),
        ({"params": 3}, "params must be 1000 to"),
        ({"sleep_ms": -1.0}, "milliseconds must be 0 to"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepPlan(**{"contenders": choose("ddp", [], None), "hosts": 2, "rate": "none", **arguments})


@pytest.mark.parametrize(
    ("against", "links", "momentum", "message"),
    [
        ("ddp,qsgd", [], None, "a name must be one of 'ddp'"),
        ("ddp", ["diana(rotate(1))"], None, "Did you mean 'rotated'"),
        ("ddp", ["ef21(randk(0.1))"], None, "ef21 needs a contractive compressor"),
        ("ddp", ["auto"], 1.0, "momentum must be 0 to 1"),
    ],
)
def test_contenders_that_do_not_exist_are_named(
    against: str, links: list[str], momentum: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose(against, links, momentum)
