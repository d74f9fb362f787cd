"""A wire that turns: the same bits on all workers, nothing owed is lost, and nothing happens that was not asked for."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

from . import turn_jobs
from .fleet import Fleet

EPS = torch.finfo(torch.float32).eps
TURNS = {2: "diana(rotated(1))", 4: "dcgd(rotated(3))", 6: "bfloat16", 7: "diana(rotated(2))", 9: "float32"}


def test_there_and_back_all_workers_hold_the_same_bits(fleet: Fleet) -> None:
    found = fleet.run(turn_jobs.turning, "dcgd(identity())", {0: "float32", **TURNS}, 11)
    for other in found[1:]:
        assert torch.equal(other["weights"], found[0]["weights"])
        assert all(torch.equal(a, b) for a, b in zip(other["gradients"], found[0]["gradients"], strict=True))
    ways = found[0]["ways"]
    assert [ways[number] for number in (0, 2, 4, 6, 7, 9)] == [
        "float32",
        "diana(rotated(bits=1))",
        "dcgd(rotated(bits=3))",
        "bfloat16",
        "diana(rotated(bits=2))",
        "float32",
    ]


def test_steps_and_figures_are_counted_over_all_ways(fleet: Fleet) -> None:
    found = fleet.run(turn_jobs.turning, "dcgd(rotated(3))", TURNS, 11)[0]
    assert found["steps"] == found["stats"].total.steps == 11
    assert round(found["stats"].last.ratio, 3) == 1
    assert found["stats"].total.ratio > 2
    assert [note for note in found["stats"].notes if "as asked" in note] == [f"step {at}: as asked" for at in TURNS]


@pytest.mark.parametrize("first", ["dcgd(rotated(3))", "float32"])
def test_a_link_that_starts_late_starts_afresh(fleet: Fleet, first: str) -> None:
    """From the turn on it is the link's own training, begun there: the same keys, and a memory of zeros."""
    late = fleet.run(turn_jobs.turning, "dcgd(identity())", {0: first, 3: "diana(rotated(1))"}, 4)[0]
    there = fleet.run(
        turn_jobs.turning, "dcgd(identity())", {0: first, 2: "dcgd(identity())", 3: "diana(rotated(1))"}, 4
    )[0]
    exact = fleet.run(turn_jobs.turning, "dcgd(identity())", {0: first}, 4)[0]
    for a, b in zip(late["gradients"][:3], exact["gradients"][:3], strict=True):
        assert torch.equal(a, b), "until then nothing is different"
    assert not torch.equal(late["gradients"][3], exact["gradients"][3])
    assert torch.equal(late["gradients"][0], there["gradients"][0])


def test_with_momentum_the_averages_stay(fleet: Fleet) -> None:
    """Whole averages, for a step in 16 bits and by another route: what they are made of stays what it was."""
    options = {"momentum": 0.9}
    turned = fleet.run(
        turn_jobs.turning, "dcgd(identity())", {2: "dcgd(bfloat16())", 3: "dcgd(identity())"}, 6, options
    )
    always = fleet.run(turn_jobs.turning, "dcgd(identity())", {}, 6, options)
    for a, b in zip(turned[0]["gradients"][:2], always[0]["gradients"][:2], strict=True):
        assert torch.equal(a, b)
    last, wanted = turned[0]["gradients"][5], always[0]["gradients"][5]
    # 16 bits in one step, and what comes of it; an average that began anew would be another one altogether
    assert 0 < (last - wanted).norm() < 2.0**-7 * wanted.norm()


@pytest.mark.parametrize("poisoned", [False, True])
@pytest.mark.parametrize(
    "link, options",
    [
        ("ef14(topk(0.1))", {"route": "gather"}),
        ("ef14(topk(0.1))", {"route": "sharded", "down": "ef14(topk(0.3))"}),
        ("lowrank(2)", {}),
    ],
    ids=str,
)
def test_what_a_link_owes_is_paid(fleet: Fleet, link: str, options: dict[str, str], poisoned: bool) -> None:
    """Σ of what the model was told = Σ of the gradients, when the step after the turn is over; also if it had to be
    made twice, since the first was not finite."""
    for wrong, largest, owes in fleet.run(turn_jobs.balance, link, options, poisoned):
        assert wrong < 50 * EPS * max(1.0, largest)  # roundings of six steps' sums and of DDP's all-reduce
        assert not owes


@pytest.mark.parametrize("at", [2, 5, 8])
def test_going_on_from_what_was_saved(fleet: Fleet, at: int) -> None:
    turns = {3: "dcgd(rotated(3))", 4: "dcgd(rotated(2))", 7: "diana(rotated(3))"}
    assert fleet.run(turn_jobs.interrupted, turns, 10, at) == [(True, True)] * 3


def test_a_turn_that_would_lose_something_is_refused(fleet: Fleet) -> None:
    for said in fleet.run(turn_jobs.refusals):
        owes, otherwise, half, unpaid, momentum, differ, elsewhere = said
        assert "still owes what it has not sent. Turn to torch.float32 in between" in owes
        assert "hands nothing on to it. Turn to torch.float32 for a step in between." in otherwise
        assert "it is in float32 or bfloat16; got torch.float16" in half
        assert "is paid in the next step. Turn after that one." in unpaid
        assert "DDP's own all-reduce knows no local momentum. Use dcgd(identity())." in momentum
        assert "ef14(BFloat16()) still owes what it has not sent" in elsewhere
        assert "the workers differ: rank 0 has 'turns to = bfloat16', rank 1 has 'turns to = float32'" in differ


def test_not_amid_a_step(fleet: Fleet) -> None:
    for said in fleet.run(turn_jobs.while_under_way):
        assert len(said) >= 1
        assert all("Wire.turn(): a step is under way" in one for one in said)


def test_each_way_can_be_closed(fleet: Fleet) -> None:
    for said in fleet.run(turn_jobs.closed_in_each_state):
        assert len(said) == 4
        assert all("the model's wire is open as long as it trains" in one for one in said)


def test_a_saved_debt_is_not_dropped(fleet: Fleet) -> None:
    for said, owed, kept in fleet.run(turn_jobs.unpaid):
        assert 'Turn to it before loading: wire.turn("float32")' in said
        assert 0 < owed == kept


def test_a_debt_is_owed_until_all_of_its_step_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of several buckets fails, as when a worker has died: what the first one said is not enough."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        net = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.Linear(256, 256))
        model = DistributedDataParallel(net, bucket_cap_mb=0.1)
        wire = tw.attach(model, "ef14(topk(0.01))")
        x = torch.randn(8, 256)
        for _ in range(2):  # after the first, buckets are made anew
            model(x).square().mean().backward()
        wire.turn("float32")
        owed = {name: float(part.abs().sum()) for name, part in wire.state_dict()["owed"].items()}
        assert sum(owed.values()) > 0
        real = default_hooks.allreduce_hook

        def last_fails(pg: dist.ProcessGroup, bucket: dist.GradBucket) -> Future[Tensor]:
            if not bucket.is_last():
                return real(pg, bucket)
            broken: Future[Tensor] = Future()
            broken.set_exception(RuntimeError("connection closed"))
            return broken

        monkeypatch.setattr(default_hooks, "allreduce_hook", last_fails)
        with pytest.raises(RuntimeError, match="connection closed"):
            model(x).square().mean().backward()
        kept = {name: float(part.abs().sum()) for name, part in wire.state_dict()["owed"].items()}
        assert kept == owed
        wire.close()
    finally:
        dist.destroy_process_group()
