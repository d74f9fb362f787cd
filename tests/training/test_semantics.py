"""What stays as in DDP: in every scene a link that changes nothing gives DDP's gradients, and with none do ranks drift."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from . import scenes
from .fleet import Fleet


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
