"""Which parameters travel together: frames, fixed by the model alone.

DDP's buckets change after the first step and with its options. Frames do not, so neither do the bits that travel nor
the state, which is saved by parameter name. Parameters run in the reverse of their registration, nearly the order in
which the backward pass finishes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch.nn import Parameter

from thinwire._check import fault

SMALL = 1024
"""Elements below which a parameter is sent uncompressed, as vectors (biases, norms) of any length are."""
FRAMES = 4
"""Compressed frames that a model is cut into, if they are neither smaller nor larger than these:"""
SMALLEST_FRAME, LARGEST_FRAME = 1 << 18, 1 << 23


@dataclass(frozen=True)
class Slot:
    """One parameter's place in its frame."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class Frame:
    """Parameters whose gradients are one vector, end to end."""

    slots: tuple[Slot, ...]
    compressed: bool

    @property
    def d(self) -> int:
        return self.slots[-1].start + self.slots[-1].size


def cut_frames(parameters: Iterable[tuple[str, Parameter]]) -> list[Frame]:
    """Matrices into compressed frames, whole parameters each, and all that is small into one that is sent as it is.

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
    large = [(name, p.numel()) for name, p in reversed(listed) if p.ndim > 1 and p.numel() >= SMALL]
    small = [(name, p.numel()) for name, p in reversed(listed) if not (p.ndim > 1 and p.numel() >= SMALL)]
    room = min(max(sum(size for _, size in large) // FRAMES, SMALLEST_FRAME), LARGEST_FRAME)
    frames, group, held = [], [], 0
    for name, size in large:
        group.append((name, size))
        held += size
        if held >= room:
            frames.append(_frame(group, compressed=True))
            group, held = [], 0
    if group and held < room // 2 and frames:  # too little for a frame of its own
        group = [(slot.name, slot.size) for slot in frames.pop().slots] + group
    if group:
        frames.append(_frame(group, compressed=True))
    if small:
        frames.append(_frame(small, compressed=False))
    return frames


def _frame(parameters: list[tuple[str, int]], *, compressed: bool) -> Frame:
    slots, start = [], 0
    for name, size in parameters:
        slots.append(Slot(name, start, size))
        start += size
    return Frame(tuple(slots), compressed)
