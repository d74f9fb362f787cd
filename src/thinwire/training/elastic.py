"""Going on with other workers than before: who stays keeps what is its own, who joins begins as the mean of those.

    stayers S of n_old, n workers now:
    h_i, v_prev_i, running averages     i ∈ S: as they were; else mean over S
    h̄                                   mean over S of h_i, which is now the mean over all
    e_i                                 i ∈ S: (n / n_old) e_i, so that e_i / n_old is what is paid; else 0
    what all know (the owners' h̄)       as it was, cut anew into shares
    what owners owe                     as it was, where its owner stays, cut anew

One dense collective for each of these vectors; sums run in float64 in rank order, and all workers take the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thinwire._check import fault
from thinwire.comm.base import Group, Lane
from thinwire.comm.mean import shards, share
from thinwire.kernels.arith import rank_sum
from thinwire.link import Kept

if TYPE_CHECKING:
    from thinwire.training.carriers import Carrier
    from thinwire.training.frames import Frame

AVERAGE = "average"
"""The running averages' name among the parts of a memory."""
EACH_ITS_OWN = "Save on every worker, and let each load a state of its own, or None if there is none for it."


@dataclass(frozen=True)
class Holding:
    """What a worker says of the state that it was given."""

    as_it_was: bool
    kind: int
    rank: int
    world: int
    steps: int
    average: bool
    digest: int

    @property
    def held(self) -> bool:
        """Whether there is one."""
        return self.kind > 0

    @property
    def plain(self) -> bool:
        """Whether it is of a plain all-reduce, which remembers nothing."""
        return self.kind == 2


def tell(group: Group, given: Mapping[str, Any] | None, as_it_was: bool) -> list[Holding]:
    """What each worker holds, in rank order. A state of several workers is spread over those of this process."""
    nothing = Holding(as_it_was, 0, -1, 0, 0, False, 0)
    mine = [nothing for _ in group.ranks]
    if given is not None:
        kind, world, steps = (2 if given.get("plain") else 1), given.get("world", 0), given["steps"]
        average = any(AVERAGE in parts for parts in given.get("parameters", {}).values())
        for row, rank in zip(range(len(mine)), given.get("ranks", group.ranks), strict=False):
            mine[row] = Holding(as_it_was, kind, rank, world, steps, average, _digest(given))
    numbers = torch.tensor([[int(v) for v in vars(holding).values()] for holding in mine], dtype=torch.int64)
    everyone = group.all_gather(numbers.to(group.device).view(torch.uint8)).wait().cpu().view(torch.int64)
    return [Holding(bool(a), k, r, w, s, bool(m), x) for a, k, r, w, s, m, x in everyone.tolist()]


@dataclass(frozen=True)
class Source:
    """The save that all go on from: who of it stays where, and what it was."""

    ranks: tuple[int, ...]
    """The rank that each worker had then, −1 for who joins."""
    world: int
    steps: int
    plain: bool
    average: bool

    @property
    def staying(self) -> int:
        """Workers that stay."""
        return sum(rank >= 0 for rank in self.ranks)


def agreed(told: Sequence[Holding]) -> Source:
    """The one save that all of these are of; every worker finds the same, or raises the same.

    Raises:
        ValueError: nobody has a state, two have the same one, or they are not of one save.
    """
    holders = {rank: holding for rank, holding in enumerate(told) if holding.held}
    where = "load_state_dict"
    if not holders:
        raise ValueError(fault(where, "no worker was given a state", None, "To start afresh, load nothing."))
    first = min(holders)
    one = holders[first]
    for rank, other in holders.items():
        for what in ("steps", "world", "digest"):
            if getattr(other, what) != getattr(one, what):
                values = "" if what == "digest" else f", {what} {getattr(one, what)} and {getattr(other, what)}"
                rule = f"the states of rank {first} and rank {rank} are not of one save{values}"
                raise ValueError(fault(where, rule, None, EACH_ITS_OWN))
    if not one.plain:
        seen: dict[int, int] = {}
        for rank, holding in holders.items():
            if holding.rank in seen:
                rule = (
                    f"rank {seen[holding.rank]} and rank {rank} were both given the state of the old rank "
                    f"{holding.rank}; what a worker remembers of itself is no other's"
                )
                raise ValueError(fault(where, rule, None, EACH_ITS_OWN))
            seen[holding.rank] = rank
    came_from = tuple(holding.rank if holding.held else -1 for holding in told)
    return Source(came_from, one.world, one.steps, one.plain, one.average)


@dataclass
class Held:
    """The state that this process was given, by parameter, among those of the other workers."""

    given: Mapping[str, Any] | None
    group: Group
    source: Source
    rows: int = field(init=False)
    """Workers of this process that stay; they are its first ones."""

    def __post_init__(self) -> None:
        mine = self.source.ranks[self.group.ranks.start : self.group.ranks.stop]
        self.rows = sum(rank >= 0 for rank in mine)
        self._first = next(now for now, before in enumerate(self.source.ranks) if before >= 0)
        self._frames = [] if self.given is None else self.given["frames"]
        self._vectors = _by_parameter(self.given) if self.given is not None else {}
        self.losses: list[str] = []

    def own(self, frame: Frame, part: str, dtype: torch.dtype) -> Tensor:
        """(rows, d): a part of the workers that stay here, zeros for those that join and where nothing was kept."""
        x = torch.zeros(len(self.group.ranks), frame.d, dtype=dtype, device=self.group.device)
        for slot in frame.slots:
            kept = self._vectors.get((slot.name, slot.size), {})
            vector = kept.get(part, kept.get("up.shift") if part == "up.previous" else None)
            if vector is not None:
                x[: self.rows, slot.part] = vector[: self.rows].to(x)
        return x

    def spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, d), in which who joins has the mean over those who stay, and that mean, (1, d)."""
        mean = (total(self.group, x) / self.source.staying).to(x.dtype)
        x[self.rows :] = mean
        return x, mean

    def common(self, frame: Frame, part: str, dtype: torch.dtype) -> Tensor:
        """(1, d), as the first of those who stay has it."""
        x = torch.zeros(len(self.group.ranks), frame.d, dtype=dtype, device=self.group.device)
        if self._first in self.group.ranks:
            x[0] = self.own(frame, part, dtype)[0]
        return total(self.group, x).to(dtype)

    def whole(self, frame: Frame, part: str, start: Tensor) -> Tensor:
        """(1, …), as the first of those who stay has it of this very frame; otherwise as it starts, `start`."""
        slots = [[slot.name, slot.size] for slot in frame.slots]
        known = [f["parts"][part] for f in self._frames if f["slots"] == slots and part in f["parts"]]
        x = torch.zeros(len(self.group.ranks), start.numel(), dtype=start.dtype, device=self.group.device)
        if self._first in self.group.ranks:
            x[0] = (known[0] if known and known[0].shape == start.shape else start).reshape(-1).to(x)
        return total(self.group, x).to(start.dtype).view(start.shape)

    def rates(self, names: Sequence[str]) -> dict[str, float]:
        """The learning rates of the last step, as the first of those who stay has them."""
        x = torch.zeros(len(self.group.ranks), len(names), dtype=torch.float64, device=self.group.device)
        if self._first in self.group.ranks and self.given is not None:
            x[0] = torch.tensor([self.given["rates"].get(name, 0.0) for name in names], dtype=torch.float64)
        told = total(self.group, x)[0].tolist()
        return {name: rate for name, rate in zip(names, told, strict=True) if rate}

    def begun(self, frame: Frame, mark: str) -> bool:
        """Whether all workers here stay, and had begun with all of the frame."""
        if self.given is None or self.rows < len(self.group.ranks):
            return False
        marked = {
            (name, size) for before in self._frames if before["parts"].get(mark) for name, size in before["slots"]
        }
        return all((slot.name, slot.size) in marked for slot in frame.slots)

    @property
    def remark(self) -> str:
        """What is to be known of the change."""
        source = self.source
        went, joined = f"{source.staying} of {source.world} workers went on", self.group.size - source.staying
        return f"step {source.steps}: {went}, {joined} joined"

    def settle(self, frame: Frame, kinds: Collection[Kept]) -> None:
        """Say what is owed and will not be paid: by who left, or by owners where nobody owns."""
        gone = self.source.world - self.source.staying
        owners = any("down.error" in self._vectors.get((slot.name, slot.size), ()) for slot in frame.slots)
        if gone and not {Kept.DEBT, Kept.OWED}.isdisjoint(kinds):
            self._lose(f"what {gone} of {self.source.world} workers still owed when they left is lost")
        if owners and Kept.OWED not in kinds:
            self._lose("what the owners of shares still owed is lost: by this route there are none")

    def _lose(self, what: str) -> None:
        if what not in self.losses:
            self.losses.append(what)


def regather(held: Held, frame: Frame, carrier: Carrier) -> Tensor | None:
    """Load a frame's carrier from what all workers hold; gives the running averages, (rows, d), if there were any."""
    fresh = carrier.state_dict()
    parts, means = dict(fresh), dict[str, Tensor]()
    held.settle(frame, {kind for kind, _ in carrier.kept().values()})
    for name, (kind, source) in carrier.kept().items():
        start = fresh[name]
        if kind is Kept.BEGUN:
            parts[name] = held.begun(frame, source)
            continue
        assert isinstance(start, Tensor)
        if kind is Kept.COMMON:
            parts[name] = held.common(frame, source, start.dtype)
            continue
        if kind is Kept.WHOLE:
            parts[name] = held.whole(frame, source, start)
            continue
        if kind is Kept.DEBT or kind is Kept.OWED:
            owed = held.own(frame, source, start.dtype)
            again = total(held.group, owed) if kind is Kept.OWED else owed * (held.group.size / held.source.world)
            parts[name] = again.to(start.dtype)
            continue
        if source not in means:
            parts[source], means[source] = held.spread(held.own(frame, source, start.dtype))
        if kind is Kept.MEAN:
            parts[name] = means[source]
    carrier.load_state_dict(parts)
    return held.spread(held.own(frame, AVERAGE, torch.float32))[0] if held.source.average else None


def total(group: Group, x: Tensor) -> Tensor:
    """(1, d) float64: the sum over all workers of x, (rows, d), in rank order.

    1. All-to-all: each worker gets everyone's part of its share. 2. It adds them. 3. All-gather of the sums.
    """
    received = group.all_to_all(shards(x, group.size).view(torch.uint8)).wait().view(x.dtype)
    sums = rank_sum(received.to(torch.float64).transpose(0, 1))
    gathered = group.all_gather(sums.contiguous().view(torch.uint8), Lane.OWNERS).wait().view(torch.float64)
    return gathered.reshape(1, -1)[:, : x.shape[1]]


def sizes(frames: Sequence[Frame]) -> dict[str, int]:
    """Elements by parameter."""
    return {slot.name: slot.size for frame in frames for slot in frame.slots}


def saved_sizes(given: Mapping[str, Any]) -> dict[str, int]:
    """Elements by parameter where a state was saved."""
    return {name: size for frame in given["frames"] for name, size in frame["slots"]}


def _by_parameter(given: Mapping[str, Any]) -> dict[tuple[str, int], dict[str, Tensor]]:
    """All vectors of a state by parameter's name and size; what owners owe lies in their shares, among zeros."""
    vectors: dict[tuple[str, int], dict[str, Tensor]] = {}
    for frame in given["frames"]:
        d, n = sum(size for _, size in frame["slots"]), given["world"]
        owed = frame["parts"].get("down.error")
        if owed is not None:
            part = share(d, n)
            spread = owed.new_zeros(len(owed), part * n)
            for row, rank in enumerate(given["ranks"]):
                spread[row, rank * part : (rank + 1) * part] = owed[row, :part]
        start = 0
        for name, size in frame["slots"]:
            vectors[name, size] = dict(given["parameters"][name])
            if owed is not None:
                vectors[name, size]["down.error"] = spread[:, start : start + size]
            start += size
    return vectors


def _digest(given: Mapping[str, Any]) -> int:
    """What must be the same in all states of one save."""
    facts = [given.get("plain"), given.get("settings"), given.get("plain") or sorted(saved_sizes(given).items())]
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:7], "little")
