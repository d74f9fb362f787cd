"""A race from end to end over loopback: what JSON keeps, what must be equal, and contenders that break."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from thinwire.bench import step
from thinwire.bench.contenders import Contender, choose
from thinwire.bench.step import race
from thinwire.bench.step_plan import TURN, WARM_UP, StepPlan
from thinwire.lab.workers import open_hosts

HOSTS = 2


def raced(plan: StepPlan, loopback: bool = True) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    said: list[tuple[str, int]] = []
    with open_hosts(plan.hosts, plan.rate, loopback) as (hosts, transport):
        run = race(hosts, plan, transport, lambda name, ended: said.append((name, ended)))
    json.dumps(run, allow_nan=False)
    return run, said


def small(against: str, links: list[str], **more: Any) -> StepPlan:
    return StepPlan(choose(against, links, None), HOSTS, "none", **{"steps": 12, "params": 30_000, **more})


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, Any], list[tuple[str, int]]]:
    return raced(small("ddp,fp16,powersgd,powersgd4", ["dcgd(rotated(3))", "dcgd(identity())"]))


def of(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(made for made in run["contenders"] if made["name"] == name)


def test_everyone_gets_to_the_end_and_is_told_of(whole: tuple[dict[str, Any], list[tuple[str, int]]]) -> None:
    run, said = whole
    assert run["failure"] is None, "\n".join(run["log"])
    assert not run["shaped"]
    assert run["arguments"]["params"] == 30_000
    for made in run["contenders"]:
        assert made["failure"] is None, made
        assert len(made["rounds"]) == 12 // TURN - WARM_UP
        assert all(len(turn) == TURN - 1 and min(turn) > 0 for turn in made["rounds"])
        quartiles = made["seconds"]
        assert quartiles["low"] <= quartiles["median"] <= quartiles["high"]
        assert (made["stages"] is not None) == made["ours"]
        assert made["faster"]["count"] == len(made["rounds"])
        assert (made["exposed"] is None) == (made["name"] == "local")
    assert of(run, "ddp")["faster"]["median"] == 1
    assert said[-1][1] == len(run["contenders"]) * run["steps"] // TURN - 1


def test_all_train_on_the_same_batches_from_the_same_start(whole: tuple[dict[str, Any], list[tuple[str, int]]]) -> None:
    """Two workers: halving and one sum are exact in any order, so an uncompressed link is DDP to the bit."""
    run, _ = whole
    assert of(run, "dcgd(identity())")["loss"] == of(run, "ddp")["loss"]
    assert run["loss_at_start"] > of(run, "ddp")["loss"]
    assert len({of(run, name)["loss"] for name in ("local", "ddp", "powersgd", "powersgd4", "dcgd(rotated(3))")}) == 5


def test_bytes_are_those_of_each_contenders_own_turns(whole: tuple[dict[str, Any], list[tuple[str, int]]]) -> None:
    run, _ = whole
    dense = 2 * (HOSTS - 1) / HOSTS * 4 * run["parameters"]
    assert of(run, "ddp")["sent"] > dense
    assert of(run, "dcgd(identity())")["sent"] > dense
    assert dense / 2 < of(run, "fp16")["sent"] < of(run, "ddp")["sent"]
    for name in ("dcgd(rotated(3))", "powersgd"):
        assert of(run, name)["sent"] < of(run, "fp16")["sent"]
    assert of(run, "local")["sent"] < of(run, "powersgd")["sent"]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of `tests.bench.broken` instead."""
    real = step.run_workers

    def run_workers(hosts: Any, command: list[str], *rest: Any) -> Any:
        assert command[:3] == [sys.executable, "-m", "thinwire.bench.step_worker"]
        return real(hosts, [sys.executable, "-m", "tests.bench.broken", *command[3:]], *rest)

    monkeypatch.setattr(step, "run_workers", run_workers)


@pytest.mark.usefixtures("broken")
def test_who_cannot_be_prepared_and_who_fails_on_one_worker_are_dropped_by_all() -> None:
    odd = (Contender("odd", "thinwire", link="auto", momentum=2.0), Contender("raises", "raises"))
    run, _ = raced(StepPlan((*choose("ddp", [], None), *odd), HOSTS, "none", steps=12, params=30_000, sleep_ms=1.0))
    assert run["failure"] is None
    assert "momentum must be 0 to 1" in of(run, "odd")["failure"]
    assert of(run, "raises")["failure"] == "rank 1: ArithmeticError: one worker has had enough"
    assert any("one worker has had enough" in line for line in run["log"])
    assert of(run, "ddp")["failure"] is None
    assert of(run, "ddp")["loss"] is None  # who sleeps learns nothing


@pytest.mark.usefixtures("broken")
def test_a_contender_that_hangs_ends_the_run_with_its_name() -> None:
    plan = StepPlan((*choose("ddp", [], None), Contender("hangs", "hangs")), HOSTS, "none", steps=12, params=30_000)
    run, _ = raced(plan)
    assert run["failure"] is not None
    assert "it was the turn of hangs" in run["failure"]
    assert any("broken.py" in line for line in run["log"])  # the stack of who hangs
    assert of(run, "hangs")["failure"]
    assert of(run, "ddp")["failure"] == "it did not get to the end"


@pytest.mark.lab
def test_in_a_lab_links_are_shaped() -> None:
    run, _ = raced(StepPlan(choose("ddp", ["auto"], None), HOSTS, "1gbit", steps=12, params=30_000), loopback=False)
    assert run["failure"] is None, "\n".join(run["log"])
    assert run["shaped"]
    assert run["rate"] == 10**9
