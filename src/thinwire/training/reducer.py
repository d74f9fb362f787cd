"""A model's gradients, step after step: frames, local momentum, and all-or-nothing steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from thinwire._check import fault
from thinwire.comm.base import Group, PeerError
from thinwire.compressors import Identity
from thinwire.exchange import Exchange, Outcome
from thinwire.link import Link
from thinwire.presets import dcgd
from thinwire.rounds import Round
from thinwire.spec import to_text
from thinwire.training.frames import Frame, cut_frames
from thinwire.training.stats import Stats, Tally
from thinwire.version import __version__


@dataclass(frozen=True)
class Settings:
    """How gradients travel; the same on every worker.

    Args:
        link: what the workers send by.
        down: what owners send by, in the sharded route; None: the exchange's default.
        route: a route for all compressed frames; None: the cheapest for each.
        momentum: β of the workers' own running averages, which are then sent in the gradients' place (`_average`).
            None: no averaging.
        warmup_steps: steps at the start that are sent whole, from which the link learns.
        strict: make an error of what would otherwise be noted and worked around.
        seed: of all randomness.
    """

    link: Link
    down: Link | None = None
    route: str | None = None
    momentum: float | None = None
    warmup_steps: int = 0
    strict: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise ValueError(fault(f"momentum={self.momentum}", "momentum must be 0 to 1, 1 excluded"))
        if self.warmup_steps < 0:
            raise ValueError(fault(f"warmup_steps={self.warmup_steps}", "warmup_steps must be at least 0"))

    def facts(self) -> dict[str, object]:
        """What all workers must agree on."""
        down = None if self.down is None else to_text(self.down)
        rest = {name: getattr(self, name) for name in ("route", "momentum", "warmup_steps", "seed")}
        return {"link": to_text(self.link), "down": down, **rest}


@dataclass
class _Step:
    """What a step has led to so far; none of it counts until all frames are back."""

    number: int
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class Reducer:
    """Turns each worker's gradients into the estimate of their mean, frame by frame.

    Raises:
        ValueError: settings that this model or group does not allow.
        PeerError: another worker has another model or other settings.
    """

    def __init__(self, parameters: Iterable[tuple[str, Parameter]], settings: Settings, group: Group) -> None:
        listed = list(parameters)
        self.settings, self.group = settings, group
        self.shapes = {name: tuple(p.shape) for name, p in listed if p.requires_grad}
        frames = cut_frames(listed)
        self.notes: list[str] = []
        self.frames = [self._sendable(frame) for frame in frames]
        group.agree({"thinwire": __version__, "workers": group.size, **settings.facts(), **self.shapes})
        plain = dcgd(Identity())
        self.exchanges = [
            Exchange(
                settings.link, frame.d, group, down=settings.down, route=settings.route, seed=settings.seed, tensor=i
            )
            if frame.compressed
            else Exchange(plain, frame.d, group, route="allreduce", seed=settings.seed, tensor=i)
            for i, frame in enumerate(self.frames)
        ]
        self.averages: dict[int, Tensor] = {}
        rows = len(group.ranks)
        self._vectors = [torch.zeros(rows, e.width, device=group.device) for e in self.exchanges]
        self._answers = [torch.zeros(1, e.width, device=group.device) for e in self.exchanges]
        self._slots = {slot.name: (i, slot) for i, frame in enumerate(self.frames) for slot in frame.slots}
        self.steps = 0  # steps that counted: one that was not finite leaves no trace, and its number is used again
        self.last, self.total = Tally(), Tally()
        self._step = _Step(0)

    def _sendable(self, frame: Frame) -> Frame:
        size = self.settings.link.bind(self.group.size).compressor.nbytes(frame.d)
        if not frame.compressed or size < 4 * frame.d or isinstance(self.settings.link.compressor, Identity):
            return frame
        names = ", ".join(slot.name for slot in frame.slots)
        note = f"{self.settings.link!r} makes {size} bytes of {frame.d} float32 values: sent as they are ({names})"
        if self.settings.strict:
            raise ValueError(fault("thinwire, strict", note, None, "Choose a smaller code, or strict=False."))
        warnings.warn(f"thinwire: {note}.", stacklevel=4)
        self.notes.append(note)
        return Frame(frame.slots, compressed=False)

    def put(self, name: str, gradient: Tensor, row: int = 0) -> None:
        """Take a gradient of one parameter, of the worker in this `row` of the process, for its frame's next round."""
        number, slot = self._slots[name]
        self._vectors[number][row, slot.start : slot.start + slot.size] = gradient.reshape(-1)

    def reduce(self, number: int) -> Round[Tensor]:
        """The round of one frame, whose gradients were `put`: gives (d,). Each step reduces every frame once, in order.

        The step ends with its last frame: if all workers were finite in all frames, every state moves on, otherwise
        none does, and a frame that was not finite comes back as NaN.
        """
        step, vector = self._step, self._vectors[number]
        if self.settings.momentum is not None:
            self._average(vector, self.averages.get(number), self.settings.momentum)
        dense = self.steps < self.settings.warmup_steps
        out = self._answers[number]
        outcome = yield from self.exchanges[number].round(vector, step.number, dense=dense, out=out)
        step.outcomes[number] = outcome
        if len(step.outcomes) == len(self.frames):
            self._end(step)
        return outcome.estimate

    def _average(self, g: Tensor, before: Tensor | None, beta: float) -> None:
        """g ← β_t v + (1 − β_t) g, with β_t = β (1 − β^(t−1)) / (1 − β^t): in place, v being the average before.

        That is m / (1 − β^t) of the recursion m ← β m + (1 − β) g: the first averages are no smaller than the rest.
        """
        if before is not None:
            t = self.steps + 1
            torch.lerp(g, before, beta * (1 - beta ** (t - 1)) / (1 - beta**t), out=g)

    def _end(self, step: _Step) -> None:
        finite = all(outcome.finite for outcome in step.outcomes.values())
        n = self.group.size
        tally = Tally(steps=1, skipped=int(not finite))
        tally.dense_bytes = 8 * (n - 1) / n * sum(frame.d for frame in self.frames)
        for number, outcome in step.outcomes.items():
            tally.count(outcome, compressed=self.frames[number].compressed)
            if finite:
                self.exchanges[number].commit(outcome)
        if finite:
            if self.settings.momentum is not None:  # the vectors sent are the averages now; the old ones are room
                old, self.averages = self.averages, dict(enumerate(self._vectors))
                self._vectors = [old.get(i, torch.zeros_like(v)) for i, v in self.averages.items()]
            self.steps += 1
        self.last = tally
        self.total.add(tally)
        self._step = _Step(self.steps)

    def expose(self, seconds: float) -> None:
        """Book the part of the last step that the backward pass did not hide."""
        self.last.exposed += seconds
        self.total.exposed += seconds

    def stats(self) -> Stats:
        """Figures of the last step and of all; copies, which later steps do not change."""
        last, total = Tally(), Tally()
        last.add(self.last)
        total.add(self.total)
        routes = tuple(f"{frame.d} values by {e.route}" for frame, e in zip(self.frames, self.exchanges, strict=True))
        return Stats(last, total, routes, tuple(self.notes))

    def state_dict(self) -> dict[str, Any]:
        """This worker's memory, by parameter name where it is one value a coordinate."""
        frames = [exchange.state_dict() for exchange in self.exchanges]
        parts: dict[str, dict[str, Tensor]] = {slot.name: {} for frame in self.frames for slot in frame.slots}
        whole: dict[str, dict[str, Tensor | bool]] = {}
        for number, (frame, state) in enumerate(zip(self.frames, frames, strict=True)):
            vectors = {k: v for k, v in state.items() if isinstance(v, Tensor) and v.shape[-1] == frame.d}
            if number in self.averages:
                vectors["average"] = self.averages[number][:, : frame.d]
            for slot in frame.slots:
                for name, vector in vectors.items():
                    parts[slot.name][name] = vector[..., slot.start : slot.start + slot.size].clone()
            whole[frame.slots[0].name] = {k: v for k, v in state.items() if k not in vectors}
        return {
            "version": 1,
            "world": self.group.size,
            "rank": self.group.ranks.start,
            "steps": self.steps,
            "settings": {k: str(v) for k, v in self.settings.facts().items()},
            "parameters": parts,
            "shards": whole,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from this worker's `state_dict`, bit for bit. All workers call this together.

        Raises:
            ValueError: it is of another rank, number of workers, model or settings; nothing has changed then.
            PeerError: another worker's state was refused, or is of another step.
        """
        before = [exchange.state for exchange in self.exchanges], self.averages, self.steps
        refusal: ValueError | None = None
        try:
            self._restore(state)
        except ValueError as error:
            refusal = error
        try:
            self.group.agree({"state": str(refusal) if refusal else f"of step {self.steps}"})
        except PeerError as error:
            states, self.averages, self.steps = before
            for exchange, old in zip(self.exchanges, states, strict=True):
                exchange.state = old
            raise (refusal or error) from None
        if refusal is not None:
            raise refusal

    def _restore(self, state: Mapping[str, Any]) -> None:
        where = "load_state_dict"
        if state.get("plain"):
            way_out = "Start afresh with what the link remembers, or attach with auto."
            raise ValueError(fault(where, "the state is that of a plain all-reduce, without the link's", None, way_out))
        for name, here in (
            ("version", 1),
            ("world", self.group.size),
            ("rank", self.group.ranks.start),
            ("settings", {k: str(v) for k, v in self.settings.facts().items()}),
        ):
            if state.get(name) != here:
                way_out = "Each worker saves and loads its own state."
                raise ValueError(fault(where, f"{name} is {here!r} here", state.get(name), way_out))
        if set(state["parameters"]) != set(self.shapes):
            odd = sorted(set(state["parameters"]) ^ set(self.shapes))
            raise ValueError(fault(where, "the state has the same parameters as the model", odd))
        averages: dict[int, Tensor] = {}
        for number, (frame, exchange) in enumerate(zip(self.frames, self.exchanges, strict=True)):
            names = state["parameters"][frame.slots[0].name]
            joined = {n: torch.cat([state["parameters"][s.name][n] for s in frame.slots], dim=-1) for n in names}
            if "average" in joined:
                averages[number] = torch.zeros_like(self._vectors[number])
                averages[number][:, : frame.d] = joined.pop("average")
            exchange.load_state_dict({**joined, **state["shards"][frame.slots[0].name]})
        self.averages, self.steps = averages, state["steps"]
        self._step = _Step(self.steps)
