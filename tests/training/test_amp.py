"""Mixed precision: the scale of the losses is no news to a link, and a step that overflows is skipped by all, once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import amp
from .fleet import Fleet
from .same import equal

# grows with every second step, and is a power of two: scaling is exact as long as nothing over- or underflows
GROWING = {"init_scale": 2.0**6, "growth_interval": 2}


def same(results: list[dict[str, Any]], *keys: str) -> bool:
    return all(equal(result[key], results[0][key]) for result in results for key in keys or ("weights",))


@pytest.mark.parametrize("cast", [None, torch.bfloat16])
@pytest.mark.parametrize(
    ("link", "momentum"),
    [("dcgd(rotated(3))", None), ("diana(rotated(1))", 0.9), ("ef14(topk(0.05))", None), ("dasha(rotated(1))", None)],
)
def test_a_scale_that_changes_is_no_news(fleet: Fleet, link: str, momentum: float | None, cast: Any) -> None:
    options = {"cast": cast, "attach": {"momentum": momentum}}
    scaled = fleet.run(amp.train_with, link, {**options, "scaler": GROWING})
    plain = fleet.run(amp.train_with, link, options)
    assert scaled[0]["scales"] == [2.0**e for e in (6, 7, 7, 8, 8, 9)]
    for ours, theirs in zip(scaled, plain, strict=True):
        assert equal(ours["gradients"], theirs["gradients"])
        assert equal(ours["weights"], theirs["weights"])
        assert equal(ours["memory"], theirs["memory"])


@pytest.mark.parametrize("link", ["diana(rotated(1))", "ef14(topk(0.05))"])
def test_exactly_the_steps_that_ddp_skips_are_skipped(fleet: Fleet, link: str) -> None:
    """Infs now and then, on one rank or several: the scale goes the same way, and what is learned stays finite."""
    options = {"steps": 12, "infs": ((1, 2), (0, 6), (2, 6), (2, 9)), "scaler": GROWING}
    ddp = fleet.run(amp.train_with, None, options)
    ours = fleet.run(amp.train_with, link, options)
    assert ddp[0]["skipped"] == [2, 6, 9]
    for result in ours:
        assert result["skipped"] == ddp[0]["skipped"]
        assert result["scales"] == ddp[0]["scales"]
        assert result["stats"].total.skipped == 3
        assert bool(result["weights"].isfinite().all())
    assert same(ours)
    spared = fleet.run(amp.train_with, link, {"steps": 2, "scaler": GROWING})
    assert equal(spared[0]["gradients"], ours[0]["gradients"][:2])


def test_a_skipped_step_is_as_if_it_had_not_happened(fleet: Fleet) -> None:
    """The data of step 2 apart, which nobody else sees: the memory is what it is without that step."""
    link = "diana(rotated(1))"
    hurt = fleet.run(amp.train_with, link, {"steps": 3, "infs": ((1, 2),), "scaler": GROWING})
    spared = fleet.run(amp.train_with, link, {"steps": 2, "scaler": GROWING})
    for a, b in zip(hurt, spared, strict=True):
        assert equal(a["memory"], b["memory"])
        assert equal(a["weights"], b["weights"])


def test_float16_overflows_and_the_scale_finds_its_place(fleet: Fleet) -> None:
    """A scale that begins too high for float16: all ranks back off together, and then training goes on."""
    options = {"steps": 20, "cast": torch.float16, "scaler": {"init_scale": 2.0**30, "growth_interval": 1000}}
    ours = fleet.run(amp.train_with, "diana(rotated(2))", options)
    assert same(ours, "weights", "scales", "skipped")
    first = len(ours[0]["skipped"])
    assert 0 < first < 20
    assert ours[0]["skipped"] == list(range(first))
    assert ours[0]["scales"][-1] == 2.0 ** (30 - first)
    assert ours[0]["stats"].total.skipped == first


def test_clipping_works_on_the_estimate(fleet: Fleet) -> None:
    """All ranks find the same norm; after clipping it is the limit, to the rounding of a sum of 16,640 squares."""
    options = {"clip": 1e-3, "steps": 3}
    scaled = fleet.run(amp.train_with, "diana(rotated(1))", {**options, "scaler": GROWING})
    plain = fleet.run(amp.train_with, "diana(rotated(1))", options)
    assert same(scaled, "norms", "gradients", "weights")
    assert equal(scaled[0]["norms"], plain[0]["norms"])
    assert equal(scaled[0]["weights"], plain[0]["weights"])
    for norm, clipped in zip(scaled[0]["norms"], scaled[0]["gradients"], strict=True):
        assert norm > 1e-3
        assert float(clipped.norm()) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("link", ["diana(rotated(1))", "ef14(topk(0.05))"])
def test_a_scale_under_accumulation(fleet: Fleet, link: str) -> None:
    scaled = fleet.run(amp.train_with, link, {"accumulate": 3, "scaler": GROWING})
    plain = fleet.run(amp.train_with, link, {"accumulate": 3})
    for a, b in zip(scaled, plain, strict=True):
        assert equal(a["weights"], b["weights"])
        assert equal(a["memory"], b["memory"])
    hurt = fleet.run(amp.train_with, link, {"accumulate": 3, "scaler": GROWING, "infs": ((1, 4),)})
    assert same(hurt)
    assert hurt[0]["skipped"] == [4]
    assert equal(hurt[0]["gradients"][:4], scaled[0]["gradients"][:4])


def test_a_disabled_scaler_does_nothing(fleet: Fleet) -> None:
    off = fleet.run(amp.train_with, "diana(rotated(1))", {"scaler": {"enabled": False}})
    none = fleet.run(amp.train_with, "diana(rotated(1))", {})
    assert equal(off[0]["weights"], none[0]["weights"])


def test_two_models_on_one_scaler(fleet: Fleet) -> None:
    """The second model's scale is that of its loss, not that of its forward pass."""
    scaled = fleet.run(amp.two_models_one_scaler, "diana(rotated(2))", True)
    plain = fleet.run(amp.two_models_one_scaler, "diana(rotated(2))", False)
    assert equal(scaled, plain)


@pytest.mark.parametrize(("reentrant", "twice"), [(False, False), (True, False), (False, True)])
def test_checkpointed_layers_and_several_forward_passes(fleet: Fleet, reentrant: bool, twice: bool) -> None:
    """Not reentrant and twice: DDP itself refuses to compute a layer's gradient twice in one backward pass."""
    scaled = fleet.run(amp.checkpointed, "diana(rotated(2))", reentrant, True, twice)
    plain = fleet.run(amp.checkpointed, "diana(rotated(2))", reentrant, False, twice)
    assert equal(scaled, plain)
    assert same(scaled)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision(fleet: Fleet, dtype: torch.dtype) -> None:
    """Ours are summed in float32 and rounded once; DDP rounds each of 3 quotients and 2 sums to the dtype: 5 times half
    an ulp of the largest summand, which is at most 3 times the workers' largest mean; as its weights then differ by an
    ulp, only the first step is compared."""
    ddp, ours = fleet.run(amp.half_model, None, dtype), fleet.run(amp.half_model, "dcgd(identity())", dtype)
    limit = 8 * torch.finfo(dtype).eps * float(ddp[0][0].abs().max())
    assert float((ddp[0][0] - ours[0][0]).abs().max()) <= limit
    lossy = fleet.run(amp.half_model, "diana(rotated(1))", dtype)
    assert all(equal(result, lossy[0]) for result in lossy)


def test_auto_takes_a_scaler(fleet: Fleet) -> None:
    assert fleet.run(amp.auto_with_scaler) == [True] * 3


def test_reduce_gradients_knows_the_scale(fleet: Fleet) -> None:
    options = {"steps": 8, "infs": ((1, 2), (0, 5)), "scaler": GROWING}
    attached = fleet.run(amp.train_with, "diana(rotated(2))", options)
    without = fleet.run(amp.train_with, "diana(rotated(2))", {**options, "functional": True})
    assert same(without)
    assert equal(attached[0]["weights"], without[0]["weights"])
    assert without[0]["skipped"] == [2, 5]
