"""What training remembers, as a dictionary by parameter name, and back: on the same workers bit for bit.

What is one value a coordinate is kept by parameter, and depends neither on frames nor on the number of workers. All
else (owners' shares, marks of having begun) is kept by frame, for those who go on as they were; `elastic` makes it
anew for the others.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.comm.base import Group, PeerError
from thinwire.link import Kept
from thinwire.training import elastic
from thinwire.training.carriers import Carrier, at_step
from thinwire.training.frames import Frame

VERSION = 2
WHERE = "load_state_dict"
BY_COORDINATE = (Kept.OWN, Kept.DEBT, Kept.COMMON)
AVERAGE = elastic.AVERAGE
TAKEN = ("route", "warmup_steps", "seed")
"""Settings that may differ from those of the state: memory means the same whatever they are."""


@dataclass(frozen=True)
class Memory:
    """Frames, what carries them, and the running averages by frame, after so many steps."""

    steps: int
    frames: Sequence[Frame]
    carriers: list[Carrier]
    averages: dict[int, Tensor] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    """The learning rates that errors are kept by, as far as they are known."""
    remarks: list[str] = field(default_factory=list)
    """What is to be known of how it was loaded."""
    losses: list[str] = field(default_factory=list)
    """What was not taken over."""

    def at(self, steps: int) -> Memory:
        """The same after so many steps: stages may have turned to their next link."""
        turned = [at_step(c, frame.sender, steps) for frame, c in zip(self.frames, self.carriers, strict=True)]
        return replace(self, steps=steps, carriers=turned)

    def warn(self) -> None:
        """Say what was not taken over."""
        for loss in self.losses:
            warnings.warn(f"thinwire: {loss}.", stacklevel=4)


def of(memory: Memory, group: Group, settings: Mapping[str, object]) -> dict[str, Any]:
    """A memory as tensors, texts and numbers, all of them copies."""
    by_name: dict[str, dict[str, Tensor]] = {}
    by_frame: list[dict[str, Any]] = []
    for number, (frame, carrier) in enumerate(zip(memory.frames, memory.carriers, strict=True)):
        parts = carrier.state_dict()
        vectors = {name: _vector(parts.pop(name), frame.d) for name in _by_coordinate(carrier)}
        if number in memory.averages:
            vectors[AVERAGE] = memory.averages[number][:, : frame.d]
        for slot in frame.slots:
            by_name[slot.name] = {name: vector[:, slot.part].clone() for name, vector in vectors.items()}
        by_frame.append({**_cut(frame, carrier), "parts": parts})
    return {
        "version": VERSION,
        "world": group.size,
        "ranks": list(group.ranks),
        "steps": memory.steps,
        "rates": dict(memory.rates),
        "settings": {name: str(value) for name, value in settings.items()},
        "parameters": by_name,
        "frames": by_frame,
    }


def load(
    fresh: Callable[[], Memory],
    group: Group,
    settings: Mapping[str, object],
    given: Mapping[str, Any] | None,
    *,
    strict: bool,
) -> Memory:
    """The memory to go on from; all workers together, and either all of them have it or none does.

    Args:
        fresh: makes a memory of nothing.
        settings: how gradients travel here.
        given: what `of` made, on this worker or another; None for who joins.
        strict: refuse a state of other parameters or another link.

    Raises:
        ValueError: what is given does not fit here, or not together.
        PeerError: what another worker was given does not fit there.
    """
    refusal: ValueError | None = None
    losses: list[str] = []
    restored: Memory | None = None
    try:
        if given is not None and given.get("owed"):
            rule = f"a link before {given['dtype']} owed what is not yet paid, and this one starts afresh"
            if strict:
                way_out = f'Turn to it before loading: wire.turn("{given["dtype"]}"). With strict=False it is dropped.'
                raise ValueError(fault(WHERE, rule, None, way_out))
            losses = [rule]
        if given is not None and not given.get("plain"):
            if given.get("version") != VERSION:
                way_out = "Load it with the version of thinwire that saved it."
                raise ValueError(fault(WHERE, f"states are of version {VERSION}", given.get("version"), way_out))
            restored = fresh().at(given["steps"])
            losses = _fits(restored, settings, given, strict)
            restored = restored if _restore(restored, group, given) else None
    except ValueError as error:
        refusal = error
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        refusal = ValueError(fault(WHERE, f"it is no whole state of thinwire ({type(error).__name__}: {error})"))
    together(group, WHERE, refusal)
    told = elastic.tell(group, given, restored is not None)
    source = elastic.agreed(told)
    if source.plain:
        note = f"step {source.steps}: a plain all-reduce came before, and the link starts afresh"
        return replace(fresh().at(source.steps), remarks=[note], losses=losses)
    if restored is not None and all(holding.as_it_was for holding in told):
        assert given is not None
        return replace(restored, rates=given["rates"], losses=losses)
    memory, held = fresh().at(source.steps), elastic.Held(given, group, source)
    for number, (frame, carrier) in enumerate(zip(memory.frames, memory.carriers, strict=True)):
        average = elastic.regather(held, frame, carrier)
        if average is not None and settings.get("momentum") is not None:
            memory.averages[number] = _widened(average, carrier)
    rates = held.rates(sorted(elastic.sizes(memory.frames)))
    return replace(memory, rates=rates, remarks=[held.remark], losses=[*losses, *held.losses])


def together(group: Group, where: str, error: Exception | None) -> None:
    """Raise `error` if there is one here, and elsewhere a PeerError that tells it. All workers call this."""
    told = texts(group, "" if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for rank, what in enumerate(told):
        if what:
            raise PeerError(fault(where, f"rank {rank} could not go on: {what}"))


def texts(group: Group, mine: str) -> list[str]:
    """What each worker says, in rank order. All workers call this.

    1. The lengths of what is to be told are gathered: if all are 0, that is all. 2. So are the texts.
    """
    data, rows = mine.encode(), len(group.ranks)
    lengths = torch.full((rows, 1), len(data), dtype=torch.int64, device=group.device)
    told = group.all_gather(lengths.view(torch.uint8)).wait().cpu().view(torch.int64)[:, 0].tolist()
    if not any(told):
        return [""] * group.size
    text = torch.zeros(rows, max(told), dtype=torch.uint8)
    text[:, : len(data)] = torch.tensor(list(data), dtype=torch.uint8)
    everyone = group.all_gather(text.to(group.device)).wait().cpu()
    pairs = zip(everyone.tolist(), told, strict=True)
    return [bytes(row[:length]).decode(errors="replace") for row, length in pairs]


@dataclass(frozen=True)
class Told:
    """Of the states that the workers hold: which way gradients went, None if nobody has one, and the pilot's part."""

    way: str | None
    pilot: Mapping[str, Any]


def told(group: Group, given: Mapping[str, Any] | None) -> Told:
    """The same on all workers, those that join too: as the first one who has a state says. All workers call this."""
    mine = ""
    if given is not None:
        way = given.get("dtype", "float32") if given.get("plain") else given.get("settings", {}).get("link")
        mine = json.dumps([way, given.get("auto", {})])
    first = next((text for text in texts(group, mine) if text), None)
    return Told(None, {}) if first is None else Told(*json.loads(first))


def _restore(memory: Memory, group: Group, given: Mapping[str, Any]) -> bool:
    """Load a state as it was saved. Not unless this process is what it was: the same ranks of as many, its frames cut
    alike, by the same routes, and all parts of its memory there."""
    named = given["parameters"]
    if (given["world"], given["ranks"]) != (group.size, list(group.ranks)):
        return False
    pairs = list(zip(memory.frames, memory.carriers, strict=True))
    if [_cut(*pair) for pair in pairs] != [{name: f[name] for name in ("slots", "route")} for f in given["frames"]]:
        return False
    for number, (frame, carrier) in enumerate(pairs):
        parts = dict(given["frames"][number]["parts"])
        for name in named[frame.slots[0].name]:
            parts[name] = torch.cat([named[slot.name][name] for slot in frame.slots], dim=1)
        average = parts.pop(AVERAGE, None)
        if parts.keys() != carrier.state_dict().keys():
            return False
        if average is not None:
            memory.averages[number] = _widened(average.to(group.device), carrier)
        carrier.load_state_dict(parts)
    return True


def _fits(memory: Memory, settings: Mapping[str, object], given: Mapping[str, Any], strict: bool) -> list[str]:
    """Refuse what is not of the same parameters and settings, or say what is different."""
    said = []
    for name in sorted({*settings, *given["settings"]}):
        here, there = str(settings.get(name)), given["settings"].get(name, "None")
        if here != there:
            rule, way_out = f"{name} is {here!r} here", f"Go on with {there}, or load what fits with strict=False."
            if strict and name not in TAKEN:
                raise ValueError(fault(WHERE, rule, there, way_out))
            said.append(f"{rule}, and was {there!r} when the state was saved")
    mine, saved = elastic.sizes(memory.frames), elastic.saved_sizes(given)
    for what, odd in (("gone", saved.items() - mine.items()), ("new", mine.items() - saved.items())):
        if odd:
            names = ", ".join(sorted(name for name, _ in odd))
            if strict:
                way_out = "With strict=False what is new starts afresh, and what is gone is dropped."
                raise ValueError(
                    fault(WHERE, f"the state is not of the same parameters: {what} {names}", None, way_out)
                )
            said.append(f"{what} since the state was saved: {names}")
    for name, size in saved.items():
        for part, vector in given["parameters"][name].items():
            if vector.shape[-1] != size or len(vector) not in (1, len(given["ranks"])):
                rule = f"{part} of {name} has {len(given['ranks'])} rows of {size}"
                raise ValueError(fault(WHERE, rule, tuple(vector.shape), "The state has been changed."))
    return said


def _cut(frame: Frame, carrier: Carrier) -> dict[str, Any]:
    return {"slots": [[slot.name, slot.size] for slot in frame.slots], "route": carrier.route}


def _by_coordinate(carrier: Carrier) -> list[str]:
    return [name for name, (kind, source) in carrier.kept().items() if kind in BY_COORDINATE and source == name]


def _vector(part: Tensor | bool, d: int) -> Tensor:
    assert isinstance(part, Tensor)
    return part if part.shape[1] == d else part.reshape(1, -1)[:, :d]  # all shares end to end


def _widened(average: Tensor, carrier: Carrier) -> Tensor:
    return torch.nn.functional.pad(average, (0, carrier.width - carrier.d))
