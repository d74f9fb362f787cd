"""What stays as in DDP: in each scene, the gradients of a link that changes nothing; with any link, equal replicas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from . import odd_cases, scenes
from .fleet import Fleet
from .same import equal


def close(a: list[Tensor], b: list[Tensor]) -> bool:
    """Sums of 3 float32 in another order: 2 roundings of half an ulp of the largest, which a few steps carry on."""
    return len(a) == len(b) and all(
        x.shape == y.shape and bool((x - y).abs().max() <= 64 * torch.finfo(torch.float32).eps * x.abs().max())
        for x, y in zip(a, b, strict=True)
    )


def check(found: list[list[dict[str, list[Any]]]]) -> None:
    ranks = [rank for rank, (ddp, *_) in enumerate(found) if ddp["synced"]]
    for rank in ranks:
        ddp, identity, _ = found[rank]
        assert close(ddp["synced"], identity["synced"])
        assert close(ddp["local"], identity["local"])
    for which in (1, 2):
        first = found[ranks[0]][which]
        for rank in ranks:
            ours = found[rank][which]
            assert ours["steps"] == first["steps"]
            assert len(ours["synced"]) == len(first["synced"])
            assert all(torch.equal(a, b) for a, b in zip(ours["synced"], first["synced"], strict=True))
            assert all(bool(tensor.isfinite().all()) for tensor in ours["synced"])


@pytest.mark.parametrize("scene", [scene.__name__ for scene in scenes.SCENES])
def test_as_in_ddp(fleet: Fleet, scene: str) -> None:
    check(fleet.run(scenes.play_all, scene))


@pytest.mark.parametrize("inside", [False, True])
def test_compiled_modules(fleet: Fleet, inside: bool) -> None:
    """The model compiled and then wrapped, or wrapped and then compiled; without code of its own, which needs C++."""
    check(fleet.run(scenes.play_all, "compiled", (inside, "aot_eager")))


@pytest.mark.parametrize("where", ["accumulated", "sparse"])
@pytest.mark.parametrize("link", ["diana(rotated(1))", "ef14(topk(0.05))"])
def test_what_is_not_finite_outside_the_frames_counts(fleet: Fleet, link: str, where: str) -> None:
    """A NaN that came in before, under no_sync, or that travels beside the link, in a sparse gradient."""
    hurt = fleet.run(odd_cases.poisoned, link, where, True)
    spared = fleet.run(odd_cases.poisoned, link, where, False)
    for ours, wanted in zip(hurt, spared, strict=True):
        assert not all(ours["finite"][2])
        assert all(all(step) for number, step in enumerate(ours["finite"]) if number != 2)
        assert ours["finite"] == hurt[0]["finite"]
        assert (ours["skipped"], wanted["skipped"]) == (1, 0)
        assert equal(ours["memory"], wanted["memory"])


def test_what_cannot_be_is_refused(fleet: Fleet) -> None:
    found = fleet.run(odd_cases.refusals)
    for said in found:
        assert said == found[0]
    said = found[0]
    assert "the model has no communication hook yet" in said["twice"]
    assert "use torch.autocast" in said["mixed"]
    assert "Let the optimiser step after the backward pass." in said["hasty"]
    assert "Use model.join() without it." in said["join"]
    assert "Wrap the model in a new DistributedDataParallel" in said["closed"]
    assert "got 'skip_all_reduce_unused_params=True'. Leave it False." in said["skipping"]
    assert "parameters are real numbers; got 'weight of torch.complex64'" in said["complex"]
    assert "sparse gradients travel by PyTorch's all-reduce, as they are (words.weight)" in said["strict"]
    assert "the model has dense gradients for DDP to reduce; got ['weight']" in said["only sparse"]


def test_what_is_not_as_asked_is_said_once(fleet: Fleet) -> None:
    for found in fleet.run(odd_cases.notes):
        (sparse, warned), (double, twice) = found
        assert (len(sparse), warned) == (1, 1)
        assert "as they are (words.weight)" in sparse[0]
        assert (len(double), twice) == (2, 2)
        assert double[1] == "float64 gradients travel as float32 (first.weight, first.bias, out.weight, out.bias)"
