"""A step that was not finite, for any worker and in any frame, leaves no trace: all methods and routes, one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

import thinwire as tw
from thinwire.rounds import finish_all
from thinwire.training import frames as cutting
from thinwire.training.reducer import Reducer, Settings

from .same import equal

WORKERS = 3
SHAPES = {"first": (40, 30), "middle": (40, 32), "bias": (40,), "last": (1300, 1)}

LINKS = [
    "dcgd(rotated(3))",
    "diana(rotated(1))",
    "diana(randk(0.1, shared=True))",
    "diana(randk(0.1) >> dither(bits=4))",
    "rand_diana(ternary())",
    "dasha(rotated(1))",
    "marina(natural())",
    "ef21(topk(0.05))",
    "ef_bv(topk(0.05) >> rotated(2))",
    "lag(zeta=0.5)",
    "clag(topk(0.05), zeta=0.5)",
    "ef14(sign())",
]
STAGES = tw.Stages({0: tw.diana(tw.Rotated(bits=3)), 2: tw.diana(tw.Rotated(bits=1)), 4: tw.ef21(tw.TopK(0.1))})
ROUTES = [(link, route) for link in (*LINKS, STAGES) for route in ("gather", "sharded")]
ROUTES += [(link, "allreduce") for link in LINKS if tw.parse_link(link).compressor.summable]


def reducer(link: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Reducer:
    """Three compressed frames and one that is sent as it is."""
    monkeypatch.setattr(cutting, "SMALLEST_FRAME", 1000)
    parameters = [(name, Parameter(torch.zeros(shape))) for name, shape in SHAPES.items()]
    link = tw.parse_link(link) if isinstance(link, str) else link
    made = Reducer(parameters, Settings(link, **settings), tw.LocalGroup(WORKERS))
    assert [frame.sender is None for frame in made.frames] == [False, False, False, True]
    return made


def gradients(step: int) -> dict[str, Tensor]:
    """(workers, …) by parameter: a part that stays, and noise."""
    made = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        stays = torch.randn(WORKERS, *shape, generator=torch.Generator().manual_seed(i))
        made[name] = stays + 0.3 * torch.randn(stays.shape, generator=torch.Generator().manual_seed(100 * step + i))
    return made


def take(made: Reducer, given: dict[str, Tensor]) -> list[Tensor]:
    for name, rows in given.items():
        for row, gradient in enumerate(rows):
            made.put(name, gradient, row)
    return [estimate.clone() for estimate in finish_all([made.reduce(i) for i in range(len(made.frames))])]


def check(link: Any, monkeypatch: pytest.MonkeyPatch, value: float, where: str, worker: int, **settings: Any) -> None:
    """Six steps with two bad ones in between, one at the very start, against six without."""
    hurt, spared = (reducer(link, monkeypatch, **settings) for _ in range(2))
    for step in range(6):
        if step in (0, 3):
            before = hurt.state_dict()
            bad = gradients(1000 + step)
            bad[where][worker].view(-1)[7] = value
            estimates = take(hurt, bad)
            assert equal(hurt.state_dict(), before)
            for frame, estimate in zip(hurt.frames, estimates, strict=True):
                spoilt = where in [slot.name for slot in frame.slots]
                assert bool(estimate.isnan().all() if spoilt else estimate.isfinite().all())
        for ours, wanted in zip(take(hurt, gradients(step)), take(spared, gradients(step)), strict=True):
            assert torch.equal(ours, wanted)
        assert equal(hurt.state_dict(), spared.state_dict())
    assert (hurt.total.steps, hurt.total.skipped, spared.total.skipped) == (8, 2, 0)


@pytest.mark.parametrize(("link", "route"), ROUTES, ids=str)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_any_method_and_route(link: Any, route: str, momentum: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    check(link, monkeypatch, float("nan"), "middle", 1, momentum=momentum, route=route)


@pytest.mark.parametrize("where", SHAPES)
@pytest.mark.parametrize("worker", range(WORKERS))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_any_frame_worker_and_value(where: str, worker: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    check("diana(rotated(2))", monkeypatch, value, where, worker, momentum=0.9, warmup_steps=2)


@pytest.mark.parametrize("link", LINKS)
def test_a_finite_gradient_whose_sums_overflow(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is NaN or Inf, but what it is scaled and added to may be: then it is as if there had been one."""
    made = reducer(link, monkeypatch)
    take(made, gradients(0))
    before, bad = made.state_dict(), gradients(1)
    bad["middle"] = torch.full_like(bad["middle"], 3e38)
    estimates = take(made, bad)
    if all(bool(estimate.isfinite().all()) for estimate in estimates):
        assert made.total.skipped == 0
    else:
        assert made.total.skipped == 1
        assert equal(made.state_dict(), before)
    assert all(bool(estimate.isfinite().all()) for estimate in take(made, gradients(2)))
