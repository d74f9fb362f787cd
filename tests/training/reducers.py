"""Reducers of a few small vectors: steps of slowly changing gradients, and what all workers then remember."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

import thinwire as tw
from thinwire.exchange import Exchange
from thinwire.rounds import finish_all
from thinwire.training.reducer import Reducer, Settings
from thinwire.training.scaled import AGE, SQUARES, Scaled

SHAPES = {"tables.words": (9, 5), "layer.weight": (8, 4), "layer.bias": (7,), "head.weight": (5, 5)}
"""Nothing divides by 2 or 3."""


def policy(link: tw.Link | tw.Stages, other: tw.Link | tw.Stages | None = None) -> tw.Policy:
    """A frame of two matrices by `link`, one by `other`, and the bias as it is."""
    return tw.Policy(tw.Rule(other or link, "tables.*"), tw.Rule(link, min_ndim=2))


def settings(link: tw.Link | tw.Stages, **options: Any) -> Settings:
    return Settings(policy(link, options.pop("other", None)), **options)


def make(group: tw.Group, asked: Settings, shapes: dict[str, tuple[int, ...]] | None = None) -> Reducer:
    """A reducer of parameters of these shapes."""
    listed = {name: Parameter(torch.zeros(shape)) for name, shape in (shapes or SHAPES).items()}
    return Reducer(listed.items(), asked, group)


def gradient(name: str, size: int, rank: int, k: int) -> Tensor:
    """Slowly changing, each worker's and parameter's another."""
    draw = torch.Generator().manual_seed(1000 * rank + len(name))
    return torch.randn(size, generator=draw) + torch.randn(size, generator=draw) / (k + 1)


def run(reducer: Reducer, steps: Iterable[int], bad: Iterable[int] = ()) -> list[Tensor]:
    """All estimates of these steps, each step's end to end; in the `bad` ones the last worker has an Inf."""
    bad, group, seen = set(bad), reducer.group, []
    for k in steps:
        rounds = []
        for number, frame in enumerate(reducer.frames):
            for slot in frame.slots:
                for row, rank in enumerate(group.ranks):
                    g = gradient(slot.name, slot.size, rank, k)
                    if k in bad and rank == group.size - 1 and number == 0:
                        g[0] = float("inf")
                    reducer.put(slot.name, g, row)
            rounds.append(reducer.reduce(number))
        seen.append(torch.cat([estimate.reshape(-1).clone() for estimate in finish_all(rounds)]))
    return seen


def packed(state: dict[str, Any]) -> dict[str, Any]:
    """A state written to a file and read from it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found = torch.load(file, weights_only=True)
    assert isinstance(found, dict)
    return found


def bits(x: Any) -> Any:
    """A state, or a part of it, as what may be compared: tensors by dtype, shape and bytes."""
    if isinstance(x, Tensor):
        return x.dtype, tuple(x.shape), x.contiguous().numpy().tobytes()
    if isinstance(x, dict):
        return {name: bits(part) for name, part in x.items()}
    return [bits(part) for part in x] if isinstance(x, list | tuple) else x


def remembered(reducer: Reducer) -> list[dict[str, Tensor]]:
    """What this process' workers remember, by frame: h, v_prev, e and averages (rows, d), and what all know."""
    found = []
    for number, carrier in enumerate(reducer.carriers):
        squares = {}
        if isinstance(carrier, Scaled):
            carrier, squares = carrier.inner, {SQUARES: carrier.squares.clone()}
        assert isinstance(carrier, Exchange)
        parts = {f"up.{name}": part[:, : carrier.d].clone() for name, part in carrier.state[0].tensors().items()}
        parts |= {f"down.{name}": part.clone() for name, part in carrier.state[1].tensors().items()}
        if carrier.route == "sharded" and "up.mean" in parts:
            parts["up.mean"] = carrier.state[0].tensors()["mean"].clone()  # shares: the owners'
        parts |= squares
        if number in reducer.averages:
            parts["average"] = reducer.averages[number][:, : carrier.d].clone()
        found.append(parts)
    return found


def together(by_rank: list[list[dict[str, Tensor]]]) -> list[dict[str, Tensor]]:
    """`remembered` of processes that hold one worker each, as of one process that holds all."""
    joined = []
    for frames in zip(*by_rank, strict=True):
        frame = {}
        for name in frames[0]:
            parts = [parts[name] for parts in frames]
            common = name in ("down.mean", SQUARES) or (
                name == "up.mean" and all(bits(p) == bits(parts[0]) for p in parts)
            )
            frame[name] = parts[0] if common else torch.cat(parts)
        joined.append(frame)
    return joined


def chosen(state: dict[str, Any], ranks: list[int], route: str) -> dict[str, Any]:
    """Of the state of a process that holds all workers, what these would have saved, in this order."""
    common = {"down.mean", SQUARES, AGE} | ({"up.mean"} if route != "sharded" else set())

    def rows(parts: dict[str, Any]) -> dict[str, Any]:
        return {k: v if k in common or not isinstance(v, Tensor) else v[ranks] for k, v in parts.items()}

    by_name = {name: rows(parts) for name, parts in state["parameters"].items()}
    frames = [{**f, "parts": rows(f["parts"]) if f["route"] == route else f["parts"]} for f in state["frames"]]
    return {**state, "ranks": ranks, "parameters": by_name, "frames": frames}
