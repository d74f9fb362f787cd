"""A link run for some steps on whatever group, and the comparison of what two groups made of it, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

import thinwire as tw
from thinwire.exchange import default_down, route_bytes
from thinwire.rounds import finish

LINKS = [
    tw.dcgd(tw.Dither(bits=4)),
    tw.dcgd(tw.Float16()),
    tw.dcgd(tw.RandK(0.3) >> tw.Ternary()),
    tw.diana(tw.Rotated(bits=1)),
    tw.diana(tw.PermK()),
    tw.diana(tw.RandK(0.3, shared=True)),
    tw.diana(tw.Induced(tw.TopK(0.1), tw.RandK(0.5))),
    tw.ef21(tw.TopK(0.2)),
    tw.ef21(tw.Identity()),
    tw.ef_bv(tw.RandK(0.3)),
    tw.ef_bv(tw.Sign()),
    tw.dasha(tw.Natural()),
    tw.dasha(tw.RandK(0.3, shared=True)),
    tw.marina(tw.PermK()),
    tw.marina(tw.RandK(0.3, shared=True)),
    tw.rand_diana(tw.RandK(0.3)),
    tw.lag(zeta=0.7),
    tw.clag(tw.TopK(0.2), zeta=0.7),
    tw.ef14(tw.Sign()),
    tw.ef14(tw.TopK(0.2) >> tw.Float16()),
    tw.ef14(tw.BFloat16()),
]
"""Every preset, and every kind of compressor that has a way of its own through the routes."""


def legal(link: tw.Link, d: int, n: int) -> list[str]:
    bound = link.bind(n)
    return sorted(route_bytes(bound, default_down(bound, d).bind(n), d, n))


def vectors(n: int, d: int, k: int) -> Tensor:
    """Slowly changing, all different, the same for every group."""
    draw = torch.Generator().manual_seed(1000 * n + d)
    at, by = torch.randn(n, d, generator=draw), torch.randn(n, d, generator=draw)
    return at + by / (k + 1)


@dataclass(frozen=True)
class Seen:
    """What one step showed: the estimate, and the state after it by name."""

    estimate: Tensor
    finite: bool
    state: dict[str, Tensor | bool]


def history(
    exchange: tw.Exchange, steps: Iterable[int], make: Callable[[int, int, int], Tensor] = vectors
) -> list[Seen]:
    """The steps one after another, committed where they were finite."""
    held = exchange.group.ranks
    seen = []
    for k in steps:
        v = make(exchange.group.size, exchange.d, k)[held.start : held.stop]
        outcome = finish(exchange.round(v, k))
        exchange.commit(outcome)
        seen.append(Seen(outcome.estimate, outcome.finite, exchange.state_dict()))
    return seen


def bits(x: Tensor | bool) -> tuple[object, ...]:
    """Dtype, shape and bytes: NaNs and signs of zeros are compared too."""
    whole = torch.as_tensor(x).contiguous()
    return whole.dtype, tuple(whole.shape), whole.numpy().tobytes()


def same_states(one: dict[str, Tensor | bool], other: dict[str, Tensor | bool]) -> bool:
    return set(one) == set(other) and all(bits(one[name]) == bits(other[name]) for name in one)


def part_of(state: dict[str, Tensor | bool], ranks: range, *, sharded: bool) -> dict[str, Tensor | bool]:
    """What the holder of these ranks should have of a LocalGroup's state: its rows of what senders and owners keep."""
    rows = {"up.shift", "up.previous", "up.error", "down.shift", "down.error", "down.previous"}
    if sharded:
        rows.add("up.mean")
    return {
        name: part[ranks.start : ranks.stop] if name in rows and isinstance(part, Tensor) else part
        for name, part in state.items()
    }


def agree(local: list[Seen], ranks: list[tuple[range, list[Seen]]], *, sharded: bool, note: object) -> None:
    """Assert that every rank saw, at every step, bit for bit what the LocalGroup did."""
    for held, seen in ranks:
        assert len(seen) == len(local)
        for k, (ours, theirs) in enumerate(zip(seen, local, strict=True)):
            where = (note, "ranks", held, "step", k)
            assert bits(ours.estimate) == bits(theirs.estimate), where
            assert ours.finite == theirs.finite, where
            assert same_states(ours.state, part_of(theirs.state, held, sharded=sharded)), where
