"""Which parameters travel together: frames, fixed by the model and the policy alone.

DDP's buckets change after the first step and with its options. Frames do not, so neither do the bits that travel nor
the state, which is saved by parameter name. Parameters run in the reverse of their registration, nearly the order in
which the backward pass finishes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from torch.nn import Parameter

from thinwire._check import fault
from thinwire.training.policy import Policy, Sender

FRAMES = 4
"""Compressed frames that a model is cut into, if they are neither smaller nor larger than these:"""
SMALLEST_FRAME, LARGEST_FRAME = 1 << 18, 1 << 23


@dataclass(frozen=True)
class Slot:
    """One parameter's place in its frame."""

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def part(self) -> slice:
        """Where it lies in the frame."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class Frame:
    """Parameters whose gradients are one vector, end to end, and what it travels by; None: it is sent as it is."""

    slots: tuple[Slot, ...]
    sender: Sender | None

    @property
    def d(self) -> int:
        last = self.slots[-1]
        return last.start + last.size


def cut_frames(parameters: Iterable[tuple[str, Parameter]], policy: Policy) -> list[Frame]:
    """What each rule covers into frames of its own, whole parameters each, and all that is sent as it is into one.

    Frames are in the order in which the backward pass finishes them, the one that is sent as it is after all others.

    Raises:
        ValueError: nothing to train, or a name that occurs twice.
    """
    listed = [(name, p) for name, p in parameters if p.requires_grad]
    if not listed:
        raise ValueError(fault("thinwire", "the model has no parameter that requires a gradient"))
    names = [name for name, _ in listed]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(fault("thinwire", "parameter names must differ, state being kept by name", twice))
    done = {name: place for place, name in enumerate(reversed(names))}
    by_rule: dict[int | None, list[tuple[str, Parameter]]] = {}
    for name, p in reversed(listed):
        by_rule.setdefault(policy.number(name, tuple(p.shape)), []).append((name, p))
    whole = by_rule.pop(None, [])
    room = sum(p.numel() for group in by_rule.values() for _, p in group) // FRAMES
    room = min(max(room, SMALLEST_FRAME), LARGEST_FRAME)
    frames = [
        _frame(part, policy.rules[number].sender)
        for number, group in by_rule.items()
        if number is not None
        for part in _parts(group, room)
    ]
    frames.sort(key=lambda frame: done[frame.slots[-1].name])
    return [*frames, _frame(whole, None)] if whole else frames


def _parts(group: list[tuple[str, Parameter]], room: int) -> list[list[tuple[str, Parameter]]]:
    """Consecutive parameters in parts of about `room` elements; too little for a part of its own joins the last."""
    parts: list[list[tuple[str, Parameter]]] = [[]]
    for named in group:
        if sum(p.numel() for _, p in parts[-1]) >= room:
            parts.append([])
        parts[-1].append(named)
    if len(parts) > 1 and sum(p.numel() for _, p in parts[-1]) < room // 2:
        parts[-2:] = [parts[-2] + parts[-1]]
    return parts


def _frame(parameters: list[tuple[str, Parameter]], sender: Sender | None) -> Frame:
    slots, start = [], 0
    for name, p in parameters:
        slots.append(Slot(name, start, tuple(p.shape)))
        start += p.numel()
    return Frame(tuple(slots), sender)
