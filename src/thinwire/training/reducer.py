"""A model's gradients, step after step: frames, local momentum, and all-or-nothing steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from thinwire._check import fault
from thinwire.comm.base import Group, PeerError
from thinwire.compressors import Identity
from thinwire.exchange import Exchange, Outcome
from thinwire.link import Kept, Link
from thinwire.rounds import Round
from thinwire.spec import to_text
from thinwire.training import state
from thinwire.training.carriers import Carrier, at_step, carrier, payload_bytes
from thinwire.training.frames import Frame, cut_frames
from thinwire.training.policy import Policy, Sender
from thinwire.training.rates import Rates
from thinwire.training.scaled import Scaled
from thinwire.training.stats import Stats, Tally
from thinwire.version import __version__


@dataclass(frozen=True)
class Settings:
    """How gradients travel; the same on every worker.

    Args:
        link: what the workers send by: one sender for all matrices, or a policy.
        down: what owners send by, in the sharded route; None: the exchange's default.
        route: a route for all compressed frames; None: the cheapest for each.
        momentum: β of the workers' own running averages, which are then sent in the gradients' place (`_average`).
            None: no averaging.
        geometry: β₂ of running mean squares of what comes back, in whose geometry compressed frames travel (`Scaled`).
            None: none.
        warmup_steps: steps at the start that are sent whole, from which the link learns.
        strict: make an error of what would otherwise be noted and worked around.
        seed: of all randomness.
    """

    link: Sender | Policy
    down: Link | None = None
    route: str | None = None
    momentum: float | None = None
    geometry: float | None = None
    warmup_steps: int = 0
    strict: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.momentum is not None and not (isinstance(self.momentum, int | float) and 0 <= self.momentum < 1):
            raise ValueError(fault(f"momentum={self.momentum!r}", "momentum must be 0 to 1, 1 excluded"))
        if self.geometry is not None and not (isinstance(self.geometry, int | float) and 0 < self.geometry < 1):
            raise ValueError(fault(f"geometry={self.geometry!r}", "geometry, β₂, lies between 0 and 1"))
        if self.warmup_steps < 0:
            raise ValueError(fault(f"warmup_steps={self.warmup_steps}", "warmup_steps must be at least 0"))

    @property
    def policy(self) -> Policy:
        """Which parameters travel by what."""
        return self.link if isinstance(self.link, Policy) else Policy.usual(self.link)

    def facts(self) -> dict[str, object]:
        """What all workers must agree on."""
        down = None if self.down is None else to_text(self.down)
        rest = {name: getattr(self, name) for name in ("route", "momentum", "geometry", "warmup_steps", "seed")}
        return {"link": str(self.policy), "down": down, **rest}


Listener = Callable[[int, Tally, Mapping[str, tuple[float, float]]], None]
"""Hears of each step: which it was, from 1 on, its tally, and squared errors by parameter if they were looked at."""


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

    def __init__(
        self,
        parameters: Iterable[tuple[str, Parameter]],
        settings: Settings,
        group: Group,
        notes: list[str] | None = None,
    ) -> None:
        """Remarks are added to `notes`, or to a list of its own."""
        # not the parameters themselves: hooks in them may lead here, through C++, where no collector sees a circle
        self._listed = [
            (name, Parameter(torch.empty_like(p, device="meta"))) for name, p in parameters if p.requires_grad
        ]
        self.settings, self.group = settings, group
        self.shapes = {name: tuple(p.shape) for name, p in self._listed}
        frames = cut_frames(self._listed, settings.policy)
        self.notes = [] if notes is None else notes
        self._say_what_is_idle()
        self.frames = [self._sendable(frame) for frame in frames]
        group.agree({"thinwire": __version__, "workers": group.size, **settings.facts(), **self.shapes})
        self.carriers = self.fresh_carriers()
        self.averages: dict[int, Tensor] = {}
        self.rates = Rates()
        self._make_room()
        self._slots = {slot.name: (i, slot) for i, frame in enumerate(self.frames) for slot in frame.slots}
        self.steps = 0  # steps that counted: one that was not finite leaves no trace, and its number is used again
        self.last, self.total = Tally(), Tally()
        self.listener: Listener | None = None
        self._step = _Step(0)

    def _make_room(self) -> None:
        rows, device = len(self.group.ranks), self.group.device
        self._vectors = [torch.zeros(rows, c.width, device=device) for c in self.carriers]
        self._answers = [torch.zeros(1, c.width, device=device) for c in self.carriers]

    def _say_what_is_idle(self) -> None:
        for what in self.settings.policy.idle(self.shapes):
            self.note(what)

    def _sendable(self, frame: Frame) -> Frame:
        sender = frame.sender
        if sender is None or (isinstance(sender, Link) and isinstance(sender.compressor, Identity)):
            return frame
        size = payload_bytes(sender, frame, self.group.size)
        if size < 4 * frame.d:
            return frame
        names = ", ".join(slot.name for slot in frame.slots)
        note = f"{sender!r} makes {size} bytes of {frame.d} float32 values: sent as they are ({names})"
        self.note(note)
        return Frame(frame.slots, None)

    def note(self, what: str) -> None:
        """Say once what is not done as asked: a warning, and a remark in `stats`; an error if `strict`."""
        if what in self.notes:
            return
        if self.settings.strict:
            raise ValueError(fault("thinwire, strict", what, None, "Change what is asked for, or let strict=False."))
        warnings.warn(f"thinwire: {what}.", stacklevel=5)
        self.notes.append(what)

    def fresh_carriers(self) -> list[Carrier]:
        """One for each frame, which remembers nothing yet."""
        asked = self.settings
        return [
            carrier(frame, i, self.group, down=asked.down, route=asked.route, geometry=asked.geometry, seed=asked.seed)
            for i, frame in enumerate(self.frames)
        ]

    def begin_at(self, steps: int) -> None:
        """Have the next step be the one after so many, which went another way."""
        self.steps, self._step = steps, _Step(steps)
        self.carriers = [at_step(c, frame.sender, steps) for c, frame in zip(self.carriers, self.frames, strict=True)]

    def turn(self, link: Link) -> None:
        """Go on by another link from the next step on. All workers call this together, between two steps.

        What both links remember is handed on, by the old one's route (`Exchange.turned`); what only the next one does
        starts from zero, and so does all of it where it cannot take that route. Running averages stay.

        Raises:
            ValueError: the link would cut the model otherwise, or what the old one owes would be lost; or it does not
                suit. Nothing has changed then.
        """
        where = f"turn to {link!r}"
        frames = cut_frames(self._listed, Policy.usual(link))
        plain = all(isinstance(frame.sender, Link | None) for frame in self.frames)
        if not plain or [frame.slots for frame in frames] != [frame.slots for frame in self.frames]:
            rule = "one link takes over from one link, for the same parameters"
            raise ValueError(fault(where, rule, self.settings.facts()["link"], "Turn to torch.float32 in between."))
        settings, frames = replace(self.settings, link=link), [self._sendable(frame) for frame in frames]
        carriers: list[Carrier] = []
        for number, (old, frame) in enumerate(zip(self.carriers, frames, strict=True)):
            asked = {name: getattr(settings, name) for name in ("down", "route", "geometry", "seed")}
            new = carrier(frame, number, self.group, **asked)
            assert isinstance(old, Exchange | Scaled)
            assert isinstance(new, Exchange | Scaled)
            memory = old.inner if isinstance(old, Scaled) else old
            kinds = {name: kind for name, (kind, _) in memory.kept().items() if kind is not Kept.BEGUN}
            goes_on = frame.sender is not None and old.route in new.costs
            if goes_on and kinds:
                new = old.turned(link)
            elif isinstance(old, Scaled) and isinstance(new, Scaled):
                new.take(old)
            debts = {name for name, kind in kinds.items() if kind in (Kept.DEBT, Kept.OWED)}
            if debts and not (goes_on and debts <= new.kept().keys()):
                rule = f"{old.link!r} still owes what it has not sent"
                raise ValueError(fault(where, rule, None, "Turn to torch.float32 in between, which pays it."))
            carriers.append(new)
        self.settings, self.frames, self.carriers = settings, frames, carriers
        self._make_room()
        for number, new in enumerate(carriers):
            if number in self.averages:
                kept = self.averages[number][:, : new.d]
                self.averages[number] = torch.nn.functional.pad(kept, (0, new.width - new.d))

    def put(self, name: str, gradient: Tensor, row: int = 0, *, scale: Tensor | None = None) -> None:
        """Take a gradient of one parameter, of the worker in this `row` of the process, for its frame's next round.

        What travels, and all memory of it, is the gradient without the loss's `scale`.
        """
        number, slot = self._slots[name]
        taken = self._vectors[number][row, slot.part]
        taken.copy_(gradient.reshape(-1))
        if scale is not None:
            taken.div_(scale)

    def spoil(self, number: int) -> None:
        """Have the next round of a frame come out as not finite, and so leave no trace."""
        self._vectors[number][:, : self.frames[number].d] = float("nan")

    def reduce(self, number: int) -> Round[Tensor]:
        """The round of one frame, whose gradients were `put`: gives (d,). Each step reduces every frame once, in order.

        The step ends with its last frame: if all workers were finite in all frames, every state moves on, otherwise
        none does, and a frame that was not finite comes back as NaN.
        """
        step, vector = self._step, self._vectors[number]
        if self.settings.momentum is not None:
            self._average(vector, self.averages.get(number), self.settings.momentum)
        dense = self.steps < self.settings.warmup_steps
        out, rescale = self._answers[number], self.rates.factor(self.frames[number], vector.device)
        carrier = self.carriers[number]
        try:
            outcome = yield from carrier.round(vector, step.number, dense=dense, out=out, rescale=rescale)
        except PeerError as error:
            error.step = step.number
            raise
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
            tally.count(outcome, compressed=self.frames[number].sender is not None)
            if finite:
                self.carriers[number].commit(outcome)
        if finite:
            if self.settings.momentum is not None:  # the vectors sent are the averages now; the old ones are room
                old, self.averages = self.averages, dict(enumerate(self._vectors))
                self._vectors = [old.get(i, torch.zeros_like(v)) for i, v in self.averages.items()]
            self.steps += 1
            self.rates.counted()
            pairs = zip(self.carriers, self.frames, strict=True)
            self.carriers = [at_step(carrier, frame.sender, self.steps) for carrier, frame in pairs]
        self.last = tally
        self.total.add(tally)
        if self.listener is not None:
            self.listener(step.number + 1, tally, self._errors(step) if finite else {})
        self._step = _Step(self.steps)

    def _errors(self, step: _Step) -> dict[str, tuple[float, float]]:
        """‖v − what this process' messages say of v‖² and ‖v‖² by parameter, in a step that looked."""
        told: dict[str, tuple[float, float]] = {}
        for number, outcome in step.outcomes.items():
            frame = self.frames[number]
            if frame.sender is not None and outcome.error is not None and outcome.error.numel() == 2 * len(frame.slots):
                wrong, all_ = outcome.error.reshape(2, -1).tolist()
                told.update(zip((slot.name for slot in frame.slots), zip(wrong, all_, strict=True), strict=True))
        return told

    def expose(self, seconds: float, work: float) -> None:
        """Book the part of the last step that the backward pass did not hide, and how much of it was work."""
        for tally in (self.last, self.total):
            tally.exposed += seconds
            tally.exposed_work += work

    def stats(self) -> Stats:
        """Figures of the last step and of all; copies, which later steps do not change."""
        last, total = Tally(), Tally()
        last.add(self.last)
        total.add(self.total)
        return Stats(last, total, self.routes, tuple(self.notes))

    @property
    def routes(self) -> tuple[str, ...]:
        """What travels by which route, frame by frame."""
        return tuple(f"{frame.d} values by {c.route}" for frame, c in zip(self.frames, self.carriers, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """This worker's memory, by parameter name where it is one value a coordinate: copies."""
        memory = state.Memory(self.steps, self.frames, self.carriers, self.averages, self.rates.then)
        return state.of(memory, self.group, self.settings.facts())

    def load_state_dict(self, given: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on from a `state_dict`; `Wire.load_state_dict` says how. All workers call this together.

        Raises:
            ValueError: what was given does not fit, or the workers' states do not fit together; nothing has changed.
            PeerError: another worker's state was refused.
        """

        def fresh() -> state.Memory:
            return state.Memory(0, self.frames, self.fresh_carriers())

        memory = state.load(fresh, self.group, self.settings.facts(), given, strict=strict)
        self.steps, self.carriers, self.averages = memory.steps, memory.carriers, memory.averages
        self.rates.then = memory.rates
        self._step = _Step(memory.steps)
        self.notes += [*memory.remarks, *memory.losses]
        memory.warn()
