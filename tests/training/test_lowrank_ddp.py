"""PowerSGD under DDP on Gloo: the bits of the simulation, any buckets, all-or-nothing steps, and PyTorch's hook."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import thinwire as tw
from thinwire.rounds import finish_all
from thinwire.training.reducer import Reducer, Settings

from . import lowrank_jobs as jobs
from .fleet import Fleet

LINKS = ["lowrank(2)", "lowrank(1, memory=False)"]


def same(results: list[dict[str, Any]]) -> bool:
    return all(torch.equal(result["weights"], results[0]["weights"]) for result in results)


@pytest.mark.parametrize("link", LINKS)
def test_replicas_stay_the_same_whatever_the_buckets(fleet: Fleet, link: str) -> None:
    few = fleet.run(jobs.train_in_frames, link, {"steps": 5})
    many = fleet.run(jobs.train_in_frames, link, {"steps": 5, "ddp": {"bucket_cap_mb": 0.01}})
    assert same(few)
    assert same(many)
    assert torch.equal(few[0]["weights"], many[0]["weights"]), "the bits must not depend on DDP's buckets"
    assert len(few[0]["stats"].routes) == 4


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_a_step_that_is_not_finite_leaves_no_trace(fleet: Fleet, momentum: float | None) -> None:
    attach = {"attach": {"momentum": momentum}}
    hurt = fleet.run(jobs.train_in_frames, "lowrank(2)", {"steps": 5, "poison": (1, 2), **attach})
    spared = fleet.run(jobs.train_in_frames, "lowrank(2)", {"steps": 5, "skip": 2, **attach})
    for result in hurt:
        assert not bool(result["gradients"][2].isfinite().any()), "every rank is handed the non-finite result"
    assert same(hurt)
    assert torch.equal(hurt[0]["weights"], spared[0]["weights"])
    assert hurt[0]["stats"].total.skipped == 1


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_interrupted_and_resumed_is_uninterrupted(fleet: Fleet, link: str, momentum: float | None) -> None:
    attach = {"momentum": momentum, "warmup_steps": 1}
    whole = fleet.run(jobs.train_in_frames, link, {"steps": 6, "attach": attach})
    half = fleet.run(jobs.train_in_frames, link, {"steps": 3, "attach": attach})
    rest = {"steps": 3, "start": 3, "attach": attach, "ddp": {"bucket_cap_mb": 0.01}}
    resumed = fleet.run(jobs.resume_in_frames, link, half, rest)
    assert torch.equal(whole[0]["weights"], resumed[0]["weights"])
    assert same(resumed)


def test_processes_and_rows_of_one_process_have_the_same_bits(fleet: Fleet) -> None:
    """Whatever the number of threads: there one for each process, here as many as there are."""
    steps = 3
    results = fleet.run(jobs.reduce, "lowrank(2)", steps)
    named = [(name, nn.Parameter(torch.zeros(shape))) for name, shape in jobs.SHAPES.items()]
    reducer = Reducer(named, Settings(tw.LowRank(2)), tw.LocalGroup(3))
    for step in range(steps):
        for name in jobs.SHAPES:
            for rank in range(3):
                reducer.put(name, jobs.given(name, rank, step), rank)
        numbers = range(len(reducer.frames))
        for frame, estimate in zip(reducer.frames, finish_all([reducer.reduce(i) for i in numbers]), strict=True):
            for slot in frame.slots:
                for result in results:
                    assert torch.equal(result[slot.name][step], estimate[slot.part].view(slot.shape))


@pytest.mark.parametrize("rank", [1, 3])
def test_it_is_pytorchs_hook_given_the_same_first_directions(fleet: Fleet, rank: int) -> None:
    """Theirs by Gram–Schmidt at rank 1 and by QR at rank 3, with the other memory, in one bucket.

    Two dense steps, then ten with the hook. All numbers are sums of 64 products, so a step adds some 64 roundings.
    """
    results = fleet.run(jobs.beside_pytorch, rank, 12)
    for step, (ours, theirs) in enumerate(results[0]):
        assert (ours - theirs).norm() <= (step + 1) * 64 * torch.finfo(torch.float32).eps * theirs.norm()
    assert torch.equal(results[0][-1][0], results[1][-1][0])
