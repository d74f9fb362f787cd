"""Predictions: what degenerate cases must equal, what is conserved, and that the amounts are the engine's own."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import thinwire as tw
from thinwire.advisor.calibration import reference
from thinwire.advisor.facts import Codec, Machine, Network, Workload
from thinwire.advisor.host import Site
from thinwire.advisor.plan import plan_frames
from thinwire.advisor.predict import HOOKS, Choice, predict_step
from thinwire.rounds import finish

LINKS = (
    "dcgd(rotated(3))",
    "diana(rotated(1))",
    "ef21(topk(0.01))",
    "ef14(topk(0.01))",
    "dasha(rotated(1))",
    "marina(randk(0.1, block=256))",
    "diana(randk(0.1, block=256) >> rotated(1))",
    "dcgd(identity())",
    "ef21((randk(0.1)).contractive())",
)
CHOICES = (*HOOKS, *LINKS)
FREE = replace(
    reference().machine,
    cores=math.inf,
    memory=0.0,
    round=0.0,
    codecs={name: Codec(0.0, 0.0, 0.0, 0.0, 0.0) for name in reference().machine.codecs},
)
SHAPES = [(512, 512)] * 7 + [(512,)]
WORKLOAD = Workload.layered(SHAPES, compute=0.1)
SITE = Site(4, replace(reference().network, bandwidth=125e6), reference().machine, WORKLOAD)


def seconds(choice: str, site: Site) -> float:
    return predict_step(Choice.parse(choice), site).seconds


def falls(found: list[float]) -> bool:
    """Whether none is larger than the one before, but for the rounding of some hundred sums."""
    return all(after <= before * (1 + 1e-12) for before, after in pairwise(found))


@pytest.mark.parametrize("choice", CHOICES)
def test_where_everything_is_free_a_step_takes_its_compute(choice: str) -> None:
    found = predict_step(Choice.parse(choice), Site(8, Network(), FREE, WORKLOAD))
    assert found.seconds == found.compute == WORKLOAD.compute
    assert found.exposed == 0


@pytest.mark.parametrize("choice", CHOICES)
def test_a_single_worker_sends_nothing(choice: str) -> None:
    slow = Network(bandwidth=1.0, latency=1.0, call=1.0, hop=1.0, message=1.0, per_byte=1.0)
    found = predict_step(Choice.parse(choice), Site(1, slow, FREE, WORKLOAD))
    assert (found.sent, found.seconds) == (0, WORKLOAD.compute)


def test_without_overlap_the_parts_add_up() -> None:
    """One matrix, whose gradient is there at the end: nothing can be done beside anything else."""
    network = Network(bandwidth=1e6, latency=1e-3, message=2e-3, hop=1e-3)
    codec = Codec(encode=1e-9, decode=2e-9, receive=3e-9, onto=4e-9, sender=5e-9)
    d, n = 512 * 512, 4
    machine = Machine(cores=8, memory=1e-10, round=1e-3, codecs={"rotated(bits=1)": codec})
    site = Site(n, network, machine, Workload.layered([(512, 512)], compute=0.05))
    copies = 1e-10 * 8 * d
    assert seconds("ddp", site) == pytest.approx(0.05 + network.ring_seconds(4 * d, n) + 2 * copies)
    sent = (n - 1) * tw.Rotated(bits=1).nbytes(d)
    gather = Choice.parse("diana(rotated(1))", route="gather")
    found = predict_step(gather, site)
    assert found.sent == sent
    assert found.encode == pytest.approx(1e-3 + 5e-9 * d)
    assert found.decode == pytest.approx((n * 3e-9 + 4e-9) * d + copies)
    wire = 1e-3 + (n - 1) * 2e-3 + sent / 1e6
    assert found.exposed == pytest.approx(found.encode + wire + found.decode + 3 * copies)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("on_host", [False, True])
def test_better_networks_and_machines_are_never_slower(choice: str, on_host: bool) -> None:
    site = replace(SITE, workload=replace(WORKLOAD, on_host=on_host))
    rates = [seconds(choice, replace(site, network=replace(site.network, bandwidth=10**p))) for p in range(5, 12)]
    assert falls(rates)
    pauses = [seconds(choice, replace(site, network=replace(site.network, latency=10**p))) for p in range(-6, 1)]
    # which frame the thread takes first can turn with the time of an arrival, and cost a little of the overlap
    assert all(after >= 0.99 * before for before, after in pairwise(pauses))
    cores = [seconds(choice, replace(site, machine=replace(site.machine, cores=c))) for c in (0.25, 0.5, 1, 2, 4, 99)]
    assert falls(cores)
    assert falls([min(rates + pauses + cores), WORKLOAD.compute])


@pytest.mark.parametrize("choice", CHOICES)
def test_the_same_facts_give_the_same_prediction(choice: str) -> None:
    assert predict_step(Choice.parse(choice), SITE) == predict_step(Choice.parse(choice), SITE)


@pytest.mark.parametrize("workers", [2, 4, 7])
@pytest.mark.parametrize("link", [link for link in LINKS if not link.startswith("marina")])
def test_bytes_are_those_that_an_exchange_sends(link: str, workers: int) -> None:
    for frame in plan_frames([(48, 1024), (1024,)], tw.parse_link(link), FREE, workers):
        whole = frame.members == (1,)
        made = tw.dcgd(tw.Identity()) if whole else tw.parse_link(link)
        exchange = tw.Exchange(made, frame.values, tw.LocalGroup(workers), route="allreduce" if whole else None)
        outcome = finish(exchange.round(torch.randn(workers, frame.values), step=1))
        assert frame.route == exchange.route
        # an all-reduce's shares are rounded up to whole elements, of two collectives, one more of the flag
        slack = 16 if frame.route == "allreduce" else 0
        assert (workers - 1) * frame.sent == pytest.approx(sum(outcome.sent.values()), abs=slack * workers)


@pytest.mark.parametrize(
    ("link", "route", "momentum", "bytes_a_value"),
    [
        ("dcgd(rotated(3))", "sharded", False, 8),
        ("dcgd(rotated(3))", "sharded", True, 12),
        ("diana(rotated(1))", "sharded", False, 28),
        ("diana(rotated(1))", "sharded", True, 32),
        ("ef21(topk(0.01))", "gather", False, 24),
        ("ef14(topk(0.01))", "gather", False, 12),
        ("dasha(rotated(1))", "sharded", False, 33),
    ],
)
def test_memory_is_that_of_the_design_page(link: str, route: str, momentum: bool, bytes_a_value: int) -> None:
    choice = Choice.parse(link, route=route, momentum=momentum)
    site = replace(SITE, workload=Workload.layered([(1024, 1024)] * 4, compute=0.1))
    found = predict_step(choice, site).memory
    assert found / site.workload.values == pytest.approx(bytes_a_value)


def test_a_machine_of_its_own_is_a_machine_shared_by_one() -> None:
    assert seconds("dcgd(rotated(3))", replace(SITE, local=1, inside=Network(bandwidth=1.0))) == seconds(
        "dcgd(rotated(3))", SITE
    )


@pytest.mark.parametrize("choice", ["ddp", "fp16", "dcgd(identity())"])
def test_workers_of_one_machine_only_need_its_inside(choice: str) -> None:
    inside = Network(bandwidth=1e9)
    found = predict_step(Choice.parse(choice), Site(4, Network(bandwidth=1.0), FREE, WORKLOAD, local=4, inside=inside))
    assert found.sent == 0
    assert WORKLOAD.compute < found.seconds < WORKLOAD.compute + 2 * 4 * WORKLOAD.values / 1e9


@pytest.mark.parametrize("choice", ["ddp", "diana(rotated(1))"])
def test_a_hierarchy_sends_a_machines_gradients_once(choice: str) -> None:
    made = Choice.parse(choice, route="sharded")
    flat, grouped = (predict_step(made, replace(SITE, workers=4 * local, local=local)) for local in (1, 8))
    assert 8 * grouped.sent == pytest.approx(flat.sent, rel=0.01)  # parts are rounded up to whole blocks


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network(bandwidth=0.0), "bandwidth must be above 0"),
        (lambda: Network(latency=-1.0), "latency must be at least 0"),
        (lambda: Machine(cores=0), "cores must be above 0"),
        (lambda: Workload.even(parameters=0, compute=1.0), "parameters must be at least 1"),
        (lambda: Workload(((1,),), (2.0,), 1.0), "ready within the step"),
        (lambda: Workload(((1,),), (), 1.0), "has a time"),
        (lambda: replace(SITE, workers=6, local=4), "workers fill machines"),
        (lambda: Choice.parse("fp61"), "ddp, fp16, bf16"),
        (lambda: predict_step(Choice.parse("dcgd(rotated(1))"), replace(SITE, machine=Machine())), "is not known"),
        (lambda: predict_step(Choice.parse("ef21(topk(0.1))", route="allreduce"), SITE), "it can take gather, sharded"),
    ],
)
def test_wrong_facts_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
