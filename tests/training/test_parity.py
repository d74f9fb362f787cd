"""PyTorch's own tests of communication hooks, for ours: a hook that loses nothing gives what DDP gives without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from . import parity
from .fleet import Fleet

EPS = torch.finfo(torch.float32).eps

# What loses nothing of gradients that are ± 2^rank, or zero in every second place; the mean is a third of an integer,
# which an owner's answer could not say exactly: so they are gathered.
ONE_SIZE = [
    "dcgd(bfloat16())",
    "dcgd(float16())",
    "ef14(sign())",
    "dcgd(ternary())",
    "dcgd(natural())",
    "marina(natural())",
    "dcgd(dither(bits=4))",
    "dcgd(randk(1.0) >> float16())",
]
HALF = [
    "ef21(topk(0.5))",
    "ef14(topk(0.5))",
    "ef_bv(topk(0.5))",
    "ef21(topk(0.5) >> float16())",
]


def near(pairs: list[tuple[Tensor, ...]], ulps: int) -> None:
    """All of a pair agree to so many roundings of the largest of them."""
    for ours, *others in pairs:
        for other in others:
            assert float((ours - other).abs().max()) <= ulps * EPS * float(other.abs().max())


def equal_on_all(found: list[list[tuple[Tensor, ...]]]) -> None:
    for pairs in found:
        assert all(torch.equal(ours, first) for (ours, *_), (first, *_) in zip(pairs, found[0], strict=True))


@pytest.mark.parametrize(
    ("link", "kind", "options"),
    [
        *((link, "one size", {"route": "gather"}) for link in ONE_SIZE),
        *((link, "half", {"route": "gather"}) for link in HALF),
        ("dcgd(float16())", "thrice", {"route": "sharded"}),
        ("dcgd(bfloat16())", "thrice", {"route": "sharded"}),
        ("dcgd(identity())", "any", {}),
        ("diana(identity())", "any", {}),
        ("ef21(identity())", "any", {"route": "sharded"}),
        ("ef14(identity())", "any", {"route": "gather"}),
        ("diana(rotated(1))", "any", {"warmup_steps": 5}),
    ],
    ids=str,
)
def test_a_hook_that_loses_nothing_is_no_hook(fleet: Fleet, link: str, kind: str, options: dict[str, Any]) -> None:
    """DDP multiplies by a third and adds, we add and divide: 3 roundings each; the sums of integers are exact."""
    found = fleet.run(parity.told, link, kind, options)
    assert found[0]["notes"] == (), "nothing was sent in another way than asked"
    equal_on_all([result["pairs"] for result in found])
    near(found[0]["pairs"], 6)


@pytest.mark.parametrize("options", [{}, {"gradient_as_bucket_view": True}, {"bucket_cap_mb": 0.01}], ids=str)
def test_accumulated_gradients_are_those_of_the_whole_batch(fleet: Fleet, options: dict[str, Any]) -> None:
    """A mean over 48 rows against the mean of three over 16: sums of 3,072 terms each, in another order."""
    found = fleet.run(parity.beside_the_whole_batch, "dcgd(identity())", options)
    equal_on_all(found)
    near(found[0], 64)


@pytest.mark.parametrize("options", [{}, {"gradient_as_bucket_view": True}, {"static_graph": True}], ids=str)
def test_optimisers_go_the_same_way(fleet: Fleet, options: dict[str, Any]) -> None:
    """SGD carries the roundings of six gradients on; Adam would magnify those of the smallest, which it divides by."""
    found = fleet.run(parity.optimised, options)
    equal_on_all(found)
    near(found[0], 64)
