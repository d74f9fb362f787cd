"""DDP's own all-reduce as a way that a wire goes: it is DDP, its bytes are counted, and no memory is dropped."""

from __future__ import annotations

import torch

from . import jobs
from .fleet import Fleet


def test_plain_float32_is_ddp_and_its_bytes_are_counted(fleet: Fleet) -> None:
    """PyTorch's hook divides by 3, DDP without it multiplies by a third: two roundings of the largest summand."""
    plain, ddp = fleet.run(jobs.train_plain, torch.float32), fleet.run(jobs.train_ddp)
    assert all(torch.equal(result["gradients"], plain[0]["gradients"]) for result in plain)
    wanted = ddp[0]["gradients"]
    assert (plain[0]["gradients"] - wanted).abs().max() <= 8 * torch.finfo(torch.float32).eps * wanted.abs().max()
    stats = plain[0]["stats"]
    assert stats.total.steps == 4
    assert round(stats.last.ratio, 3) == 1
    assert abs(stats.total.bytes_up + stats.total.bytes_down - stats.total.dense_bytes) <= 8  # rounded, each bucket's


def test_plain_bfloat16_halves_the_bytes(fleet: Fleet) -> None:
    """Three roundings of at most 2^-8 of the workers' gradients, which are √3 times as long as their mean if they have
    nothing in common."""
    half, ddp = fleet.run(jobs.train_plain, torch.bfloat16), fleet.run(jobs.train_ddp)
    assert torch.equal(half[0]["gradients"], half[1]["gradients"])
    error = (half[0]["gradients"] - ddp[0]["gradients"]).norm()
    assert 0 < error <= 3 * 3**0.5 * 2.0**-8 * ddp[0]["gradients"].norm()
    assert round(half[0]["stats"].last.ratio, 3) == 2


def test_a_links_memory_is_not_dropped_and_a_plain_state_has_none(fleet: Fleet) -> None:
    to_plain, steps, notes = fleet.run(jobs.load_across)[0]
    assert "gradients go by a plain all-reduce here" in to_plain
    assert "diana(rotated(bits=1))" in to_plain
    assert "strict=False" in to_plain
    assert steps == 3
    assert notes == ("step 3: a plain all-reduce came before, and the link starts afresh",)
