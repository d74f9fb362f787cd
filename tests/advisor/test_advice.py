"""The advice: it ranks by what it says it ranks by, follows the bandwidth, and knows what it does not know."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest

from thinwire.advisor import Candidate, Gradients, Machine, Network, Probe, Proposal, Workload, advise, reference
from thinwire.advisor import advice as advice_module
from thinwire.advisor.extra_steps import Extra, from_gradients, from_theory, told
from thinwire.link import Link
from thinwire.spec import parse_sender

KNOWN = reference()
ROTATED, ONE_BIT, TOPK = "dcgd(rotated(bits=3))", "diana(rotated(bits=1)), momentum 0.9", "ef14(topk(0.01))"
FEW = ("fp16", ROTATED, ONE_BIT, TOPK)


def probe(rate: float = 12.5e6, workers: int = 4, compute: float = 0.1, gradients: Gradients | None = None) -> Probe:
    network = replace(KNOWN.network, bandwidth=rate, latency=1e-4, message=1e-5, hop=1e-5)
    workload = Workload.even(4e6, compute, layers=8)
    return Probe(workers, network, replace(KNOWN.machine, cores=8), workload, gradients)


def seen(*candidates: Candidate) -> Gradients:
    return Gradients(8, 32, 1000, 1.0, 10.0, 0.1, candidates)


def test_a_slow_link_is_worth_compressing_for_and_a_fast_one_is_not() -> None:
    slow, fast = advise(probe(12.5e6), proposals=FEW), advise(probe(125e9), proposals=FEW)
    assert slow.compress
    assert slow.first.step.seconds < slow.dense.step.seconds / 4
    assert not fast.compress
    assert fast.first.name == "ddp"


@pytest.mark.parametrize("goal", ["time", "bytes", "safe"])
def test_the_first_is_the_simplest_of_the_best_and_the_others_follow_by_cost(goal: str) -> None:
    advice = advise(probe(), goal=goal, proposals=FEW)
    costs = [option.cost(goal) for option in advice.options]
    assert costs[1:] == sorted(costs[1:])
    assert costs[0] <= 1.05 * min(costs)
    simpler = ("ddp", *FEW)[: ("ddp", *FEW).index(advice.first.name)]
    assert all(option.cost(goal) > 1.05 * min(costs) for option in advice.options if option.name in simpler)


def test_safe_recommends_nothing_that_may_need_many_steps() -> None:
    assert advise(probe(), proposals=FEW).first.name == ONE_BIT
    assert advise(probe(), goal="safe", proposals=FEW).first.name == ROTATED


def test_what_is_not_known_is_never_recommended() -> None:
    advice = advise(probe(1e6), proposals=(TOPK,))
    assert advice.first.name == "ddp"
    unknown = advice.options[-1]
    assert (unknown.name, unknown.extra, unknown.loss_time) == (TOPK, None, None)


def test_gradients_that_were_seen_decide() -> None:
    cheap = Candidate("ef14(topk(0.01))", None, error=0.01, drift=0.001, layers={})
    dear = Candidate("diana(rotated(1))", 0.9, error=9.0, drift=9999.0, layers={})
    other = Candidate("ef14(topk(0.01))", 0.9, error=50.0, drift=50.0, layers={})  # with momentum: another choice
    advice = advise(probe(gradients=seen(cheap, dear, other)), proposals=FEW)
    assert advice.first.name == TOPK
    assert advice.first.extra == Extra.of(0.01, source="tried on 8 steps' gradients")
    assert advice.options[-1].name == ONE_BIT


def test_the_turns_are_where_the_recommendation_changes() -> None:
    facts = probe(125e6)
    advice = advise(facts, proposals=FEW)
    assert advice.turns[0][0] == 0.0
    assert len(advice.turns) > 2
    for (begin, name), (end, _) in pairwise(advice.turns):
        for rate in (begin * 1.06 or end / 2, end / 1.06):
            network = replace(facts.network, bandwidth=rate)
            assert advise(replace(facts, network=network), proposals=FEW).first.name == name


def test_between_two_rates_there_may_be_two_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice_module, "RATES", (0.01, 100.0))  # far apart: fp16 is best only in between
    advice = advise(probe(125e6), proposals=FEW)
    assert len(advice.turns) > 2
    assert len({name for _, name in advice.turns}) == len(advice.turns)


def test_an_advice_is_json() -> None:
    told_advice = json.loads(json.dumps(advise(probe(math.inf), proposals=FEW).as_dict(), allow_nan=False))
    assert told_advice["bandwidth"] is None
    assert told_advice["options"][0]["name"] == told_advice["recommended"]


@pytest.mark.parametrize("goal", ["time", "bytes", "safe"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_code_that_gradients_overflowed_is_null_and_never_recommended(goal: str, workers: int) -> None:
    broken = Candidate("dcgd(float16())", None, math.inf, math.inf, {})
    facts = probe(workers=workers, gradients=seen(broken))
    advice = advise(facts, goal=goal, proposals=("fp16", broken.link, ROTATED))
    costs = {option.name: option.cost(goal) for option in advice.options}
    assert costs["fp16"] == costs[broken.link] == math.inf
    assert advice.first.name in ("ddp", ROTATED)
    told_advice = json.loads(json.dumps(advice.as_dict(), allow_nan=False))
    assert {one["name"]: one["loss_time"] for one in told_advice["options"]}["fp16"] is None


def test_a_parameter_may_be_a_scalar() -> None:
    facts = replace(probe(), workload=Workload(((64, 64), ()), (0.5, 0.4), 1.0))
    assert "powersgd4" in [option.name for option in advise(facts).options]


def test_workers_alone_have_nothing_to_send() -> None:
    advice = advise(probe(workers=1), proposals=("fp16",))
    assert not advice.compress
    assert advice.first.loss_bytes == 1.0


@pytest.mark.parametrize(
    ("facts", "options", "message"),
    [
        (Probe(2, Network(), Machine()), {}, "the probe has a workload"),
        (probe(), {"goal": "fame"}, "goal"),
        (probe(), {"proposals": ("fp16", "fp16")}, "each choice is given once"),
        (probe(), {"proposals": ("diana(rotated(1))", "diana(rotated(bits=1))")}, "each choice is given once"),
        (probe(), {"proposals": ("diana(rotated(1)), momentum 1",)}, "momentum, of a link, is 0 or more and below 1"),
        (probe(), {"proposals": ("diana(rotated(1)), momentum much",)}, "momentum, of a link"),
        (probe(), {"proposals": ("fp16, momentum 0.9",)}, "momentum, of a link"),
        (probe(), {"proposals": ("fp8",)}, "ddp, fp16"),
    ],
)
def test_wrong_input_is_refused(facts: Probe, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advise(facts, **options)  # type: ignore[arg-type]


def test_a_proposal_is_named_as_it_is_read() -> None:
    for text in ("ddp", "diana( rotated(1) ) ,momentum .9", "dcgd(dither(4))", "powersgd4"):
        name = Proposal.parse(text).name
        assert Proposal.parse(name).name == name


def link(text: str) -> Link:
    made = parse_sender(text)
    assert isinstance(made, Link)
    return made


def test_independent_errors_cost_between_nothing_and_their_share_of_the_noise() -> None:
    tried = Candidate("dcgd(rotated(bits=3))", None, error=0.2, drift=0.21, layers={})
    assert from_gradients(seen(tried), tried, link(tried.link)) == Extra(1.0, 1.1, 1.21, "tried on 8 steps' gradients")


def test_errors_that_are_paid_back_count_while_they_are_owed() -> None:
    tried = Candidate("ef14(topk(0.01))", None, error=0.5, drift=0.1, layers={})
    assert from_gradients(seen(tried), tried, link(tried.link)).high == 1.5


def test_theory_bounds_the_steps_of_links_without_bias_only() -> None:
    found = from_theory(link("dcgd(rotated(bits=1))"), 4, 1 << 16, sharded=False)
    assert found is not None
    assert found.low == 1 < found.expected < found.high
    omega = link("dcgd(rotated(bits=1))").compressor.omega(1 << 16)
    assert omega is not None
    assert found.high == pytest.approx(1 + omega)
    both = from_theory(link("dcgd(rotated(bits=1))"), 4, 1 << 16, sharded=True)
    assert both is not None
    assert both.high > found.high
    assert from_theory(link("ef14(topk(0.01))"), 4, 1 << 16, sharded=False) is None


def test_steps_in_a_table() -> None:
    assert told(Extra(1.0, 1.0001, 1.0002, "")) == "1"
    assert told(Extra(1.0, 1.4142, 2.0, "")) == "1.41 (to 2)"
