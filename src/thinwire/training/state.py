"""A reducer's memory as a dictionary, by parameter name, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.comm.base import PeerError
from thinwire.training.carriers import Carrier, at_step

if TYPE_CHECKING:
    from thinwire.training.reducer import Reducer

VERSION = 1


def of(reducer: Reducer) -> dict[str, Any]:
    """What a reducer remembers: one value a coordinate by parameter name, all else by the frame's first one."""
    parts: dict[str, dict[str, Tensor]] = {slot.name: {} for frame in reducer.frames for slot in frame.slots}
    whole: dict[str, dict[str, Tensor | bool]] = {}
    for number, (frame, carrier) in enumerate(zip(reducer.frames, reducer.carriers, strict=True)):
        kept = carrier.state_dict()
        vectors = {k: v for k, v in kept.items() if isinstance(v, Tensor) and v.shape[-1] == frame.d}
        if number in reducer.averages:
            vectors["average"] = reducer.averages[number][:, : frame.d]
        for slot in frame.slots:
            for name, vector in vectors.items():
                parts[slot.name][name] = vector[..., slot.part].clone()
        whole[frame.slots[0].name] = {k: v for k, v in kept.items() if k not in vectors}
    return {
        "version": VERSION,
        "world": reducer.group.size,
        "rank": reducer.group.ranks.start,
        "steps": reducer.steps,
        "rates": dict(reducer.rates.then),
        "settings": _settings(reducer),
        "parameters": parts,
        "shards": whole,
    }


def load(reducer: Reducer, given: Mapping[str, Any]) -> None:
    """Have a reducer go on from `of`; all workers together, and either all of them do or none does."""
    refusal: ValueError | None = None
    try:
        carriers, averages = _restored(reducer, given)
    except ValueError as error:
        refusal = error
    try:
        reducer.group.agree({"state": str(refusal) if refusal else f"of step {given['steps']}"})
    except PeerError as error:
        raise (refusal or error) from None
    if refusal is not None:
        raise refusal
    reducer.stand_at(given["steps"], carriers, averages)
    reducer.rates.then = given.get("rates", {})


def _restored(reducer: Reducer, given: Mapping[str, Any]) -> tuple[list[Carrier], dict[int, Tensor]]:
    where = "load_state_dict"
    if given.get("plain"):
        way_out = "Start afresh with what the link remembers, or attach with auto."
        raise ValueError(fault(where, "the state is that of a plain all-reduce, without the link's", None, way_out))
    for name, here in (
        ("version", VERSION),
        ("world", reducer.group.size),
        ("rank", reducer.group.ranks.start),
        ("settings", _settings(reducer)),
    ):
        if given.get(name) != here:
            way_out = "Each worker saves and loads its own state."
            raise ValueError(fault(where, f"{name} is {here!r} here", given.get(name), way_out))
    if set(given["parameters"]) != set(reducer.shapes):
        odd = sorted(set(given["parameters"]) ^ set(reducer.shapes))
        raise ValueError(fault(where, "the state has the same parameters as the model", odd))
    carriers: list[Carrier] = []
    averages: dict[int, Tensor] = {}
    for number, (frame, fresh) in enumerate(zip(reducer.frames, reducer.fresh_carriers(), strict=True)):
        carrier = at_step(fresh, frame.sender, given["steps"])
        names = given["parameters"][frame.slots[0].name]
        joined = {n: torch.cat([given["parameters"][s.name][n] for s in frame.slots], dim=-1) for n in names}
        if "average" in joined:
            averages[number] = torch.nn.functional.pad(joined.pop("average"), (0, carrier.width - frame.d))
        carrier.load_state_dict({**joined, **given["shards"][frame.slots[0].name]})
        carriers.append(carrier)
    return carriers, averages


def _settings(reducer: Reducer) -> dict[str, str]:
    return {name: str(value) for name, value in reducer.settings.facts().items()}
