"""thinwire under DDP: the semantics of DDP are kept, replicas never drift, and steps are all or nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

import thinwire as tw

from . import jobs
from .fleet import Fleet

LINKS = [
    "dcgd(identity())",
    "dcgd(rotated(3))",
    "diana(rotated(1))",
    "diana(randk(0.1, shared=True))",
    "diana(randk(0.1) >> dither(bits=4))",
    "ef21(topk(0.05))",
    "marina(ternary())",
    "ef14(sign())",
]


def same(results: list[dict[str, Any]], key: str = "weights") -> bool:
    return all(bool((r[key] == results[0][key]).all()) for r in results)


def test_with_identity_the_gradients_are_those_of_ddp(fleet: Fleet) -> None:
    plain = fleet.run(jobs.train_with, None, {})
    ours = fleet.run(jobs.train_with, "dcgd(identity())", {})
    for a, b in zip(plain[0]["gradients"], ours[0]["gradients"], strict=True):
        # float32 sums of 3 numbers in another order: a few roundings of the largest
        assert (a - b).abs().max() <= 8 * torch.finfo(torch.float32).eps * a.abs().max()


@pytest.mark.parametrize("link", LINKS)
def test_replicas_stay_the_same_whatever_the_buckets(fleet: Fleet, link: str) -> None:
    few = fleet.run(jobs.train_with, link, {})
    assert same(few)
    many = fleet.run(jobs.train_with, link, {"ddp": {"bucket_cap_mb": 0.01, "gradient_as_bucket_view": True}})
    assert same(many)
    assert bool((few[0]["weights"] == many[0]["weights"]).all()), "the bits must not depend on DDP's buckets"
    assert len(few[0]["stats"].routes) == 2


def test_unused_parameters(fleet: Fleet) -> None:
    options = {"ddp": {"find_unused_parameters": True}, "extra_every": 2}
    plain = fleet.run(jobs.train_with, None, options)
    ours = fleet.run(jobs.train_with, "dcgd(identity())", options)
    assert same(ours)
    assert torch.allclose(plain[0]["weights"], ours[0]["weights"], atol=1e-6)  # the summing order, over 4 steps
    assert same(fleet.run(jobs.train_with, "diana(rotated(1))", options))


def test_accumulation_under_no_sync(fleet: Fleet) -> None:
    plain = fleet.run(jobs.train_with, None, {"accumulate": 3})
    ours = fleet.run(jobs.train_with, "dcgd(identity())", {"accumulate": 3})
    assert torch.allclose(plain[0]["weights"], ours[0]["weights"], atol=1e-6)  # the summing order, over 4 steps
    assert ours[0]["stats"].total.steps == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_of_other_dtypes(fleet: Fleet, dtype: torch.dtype) -> None:
    assert same(fleet.run(jobs.train_with, "diana(rotated(2))", {"dtype": dtype}))


@pytest.mark.parametrize("link", ["dcgd(rotated(3))", "diana(rotated(1))", "ef14(topk(0.05))", "marina(ternary())"])
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_a_step_that_is_not_finite_leaves_no_trace(fleet: Fleet, link: str, momentum: float | None) -> None:
    attach = {"attach": {"momentum": momentum}}
    hurt = fleet.run(jobs.train_with, link, {"steps": 5, "poison": (1, 2), **attach})
    spared = fleet.run(jobs.train_with, link, {"steps": 5, "skip": 2, **attach})
    for result in hurt:
        assert not bool(result["gradients"][2].isfinite().any()), "every rank is handed the non-finite result"
    assert same(hurt)
    assert bool((hurt[0]["weights"] == spared[0]["weights"]).all())
    assert hurt[0]["stats"].total.skipped == 1
    assert spared[0]["stats"].total.skipped == 0


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_interrupted_and_resumed_is_uninterrupted(fleet: Fleet, link: str, momentum: float | None) -> None:
    attach = {"momentum": momentum, "warmup_steps": 1}
    whole = fleet.run(jobs.train_with, link, {"steps": 6, "attach": attach})
    half = fleet.run(jobs.train_with, link, {"steps": 3, "attach": attach})
    rest = {"steps": 3, "start": 3, "attach": attach, "ddp": {"bucket_cap_mb": 0.01}}
    resumed = fleet.run(jobs.train_from, link, half, rest)
    assert bool((whole[0]["weights"] == resumed[0]["weights"]).all())
    assert same(resumed)


def test_one_ranks_state_on_all_is_refused_and_all_are_told(fleet: Fleet) -> None:
    link = "diana(rotated(1))"
    half = fleet.run(jobs.train_with, link, {"steps": 2})
    fleet.start(jobs.train_from, link, [half[0]] * 3, {})
    for good, answer in fleet.results():
        assert not good
        assert "rank 0 and rank 1 were both given the state of the old rank 0" in answer
        assert "Save on every worker" in answer


def test_warmup_steps_are_dense(fleet: Fleet) -> None:
    dense = fleet.run(jobs.train_with, "dcgd(identity())", {"steps": 3})
    ours = fleet.run(jobs.train_with, "diana(rotated(1))", {"steps": 3, "attach": {"warmup_steps": 2}})
    for step in range(2):
        assert bool((dense[0]["gradients"][step] == ours[0]["gradients"][step]).all())
    assert not bool((dense[0]["gradients"][2] == ours[0]["gradients"][2]).all())


def test_stats(fleet: Fleet) -> None:
    results = fleet.run(jobs.train_with, "dcgd(rotated(3))", {"steps": 20, "attach": {"route": "sharded"}})
    stats = results[0]["stats"]
    matrices, vectors, workers = 3 * 64 * 64, 4 * 64, 3
    share = -(-matrices // workers)
    each_way = (workers - 1) * tw.Rotated(bits=3).nbytes(share)
    plain = (workers - 1) * 4 * -(-(vectors + 1) // workers)
    assert stats.last.bytes_up == each_way + plain
    assert stats.last.bytes_down == each_way + plain
    assert stats.total.bytes_up == 20 * stats.last.bytes_up
    assert stats.last.dense_bytes == pytest.approx(8 * 2 / 3 * (matrices + vectors))
    assert stats.total.encode > 0
    assert stats.total.decode > 0
    # √ω; the mean over 2 × 12 blocks of 1024 is within a few per cent of it
    assert stats.total.relative_error == pytest.approx(tw.Rotated(bits=3).omega(share) ** 0.5, rel=0.1)
    assert stats.as_dict()["total"]["ratio"] == stats.total.ratio
    assert stats.routes == (f"{matrices} values by sharded", f"{vectors} values by allreduce")


@pytest.mark.parametrize("what", ["link", "seed", "momentum"])
def test_workers_that_differ_are_named(fleet: Fleet, what: str) -> None:
    for message in fleet.run(jobs.differ, what):
        assert "the workers differ" in message
        assert "rank 1 has" in message
        assert what in message


def test_two_models_in_one_process(fleet: Fleet) -> None:
    assert fleet.run(jobs.two_models) == [True] * 3


def test_reduce_gradients_gives_the_bits_of_attach(fleet: Fleet) -> None:
    with_ddp = fleet.run(jobs.train_with, "diana(rotated(2))", {"steps": 3})
    without = fleet.run(jobs.without_ddp, "diana(rotated(2))")
    assert bool((with_ddp[0]["weights"] == without[0]).all())


@pytest.mark.parametrize("link", LINKS)
def test_all_reduce_is_the_same_on_all_ranks_and_in_a_local_group(fleet: Fleet, link: str) -> None:
    results = fleet.run(jobs.reduce_tensor, link, 500, 4)
    memory = tw.LinkMemory()
    for step in range(4):
        local = tw.all_reduce(
            torch.stack([jobs.data(rank, step).reshape(-1)[:500] for rank in range(3)]), link, memory, tw.LocalGroup(3)
        )
        for rank in range(3):
            assert bool((results[rank][step] == local).all())


@pytest.mark.parametrize("victim", [0, 2])
def test_a_dead_worker_is_named_and_nobody_hangs(victim: int) -> None:
    fleet = Fleet(3)
    began = time.monotonic()
    fleet.start(jobs.die, victim)
    survivors = [rank for rank in range(3) if rank != victim]
    for rank in survivors:
        good, message = fleet.results(range(rank, rank + 1))[0]
        assert good
        assert "a collective failed" in message
        assert f"no answer from rank {victim}" in message, message
    assert time.monotonic() - began < 60  # the limit of a collective is 5 s, that of naming the dead 3 s
    for process in fleet.processes:
        process.kill()
