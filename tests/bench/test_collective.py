"""Collectives: every size and call is told of, and the bytes are those that the routes promise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thinwire.bench.collective import measure
from thinwire.bench.collective_plan import COLLECTIVES, SIZES, CollectivePlan
from thinwire.lab.workers import open_hosts

HOSTS = 3


def measured(rate: str, sizes: tuple[int, ...], loopback: bool) -> dict[str, Any]:
    plan = CollectivePlan(HOSTS, rate, sizes)
    ended: list[int] = []
    with open_hosts(plan.hosts, plan.rate, loopback) as (hosts, transport):
        run = measure(hosts, plan, transport, lambda said, number: ended.append(number))
    json.dumps(run, allow_nan=False)
    assert run["failure"] is None, "\n".join(run["log"])
    assert ended[-1] == plan.turns
    return run


def check(run: dict[str, Any], sizes: tuple[int, ...]) -> None:
    assert [at["size"] for at in run["sizes"]] == list(sizes)
    for at in run["sizes"]:
        assert list(at["calls"]) == list(COLLECTIVES)
        share, n = at["size"] // HOSTS, HOSTS
        promised = dict(zip(COLLECTIVES, (2 * (n - 1), n * (n - 1), n - 1, 2 * (n - 1), 2 * (n - 1)), strict=True))
        for name, told in at["calls"].items():
            assert told["sent"] >= promised[name] * share, name
            assert told["seconds"]["median"] > 0
        assert at["calls"]["Gloo all_reduce"]["faster"]["median"] == 1


def test_over_loopback_times_have_no_line_to_be_compared_with() -> None:
    sizes = (12 * 20_000,)
    run = measured("none", sizes, loopback=True)
    check(run, sizes)
    assert all(told["of_line"] is None for at in run["sizes"] for told in at["calls"].values())


@pytest.mark.lab
def test_in_a_lab_bytes_are_the_interfaces_own() -> None:
    sizes = (12 * 20_000,)
    run = measured("1gbit", sizes, loopback=False)
    check(run, sizes)
    for told in run["sizes"][0]["calls"].values():
        assert told["line_seconds"] == pytest.approx(8 * told["sent"] / 10**9)
        # headers of 66 bytes on segments of 1448, acknowledgements, barriers: a fifth is more than all of them
        assert told["sent"] < 1.2 * HOSTS * (HOSTS - 1) * sizes[0] / HOSTS


def test_vectors_have_a_whole_share_for_every_worker() -> None:
    for hosts in (2, 3, 5, 8):
        plan = CollectivePlan(hosts, "1gbit")
        assert all(size % (4 * hosts) == 0 for size in plan.sizes)
        assert all(0 <= asked - size < 4 * hosts for asked, size in zip(SIZES, plan.sizes, strict=True))
        assert CollectivePlan.from_json(plan.as_json()) == plan


def test_turns_last_longer_than_what_a_link_may_send_at_once() -> None:
    """A token bucket lets 2 ms of the rate pass at line speed after a pause."""
    for rate, bits in (("100mbit", 10**8), ("1gbit", 10**9)):
        plan = CollectivePlan(2, rate)
        for size in plan.sizes:
            assert plan.repeats(size) * size > 2 * 0.002 * bits / 8 or plan.repeats(size) == 64
