"""Links tried on real gradients: what each would have made of them, had the training gone by it."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from thinwire._check import fault
from thinwire.advisor.findings import Candidate
from thinwire.comm import LocalGroup
from thinwire.exchange import default_down, route_bytes
from thinwire.link import Link
from thinwire.lowrank import LowRank
from thinwire.probing.sample import Floats, Sample
from thinwire.rounds import finish_all
from thinwire.spec import parse_sender, to_text
from thinwire.training.frames import cut_frames
from thinwire.training.policy import Policy
from thinwire.training.reducer import Reducer, Settings


@dataclass(frozen=True)
class Asked:
    """A link's text, and β of local momentum, that are to be tried.

    Raises:
        ValueError: the text names no link, or β is not in [0, 1).

    >>> Asked("diana(rotated(1))", 0.9).link
    diana(Rotated(bits=1))
    """

    text: str
    momentum: float | None = None

    def __post_init__(self) -> None:
        Settings(link=self.link, momentum=self.momentum)

    @property
    def link(self) -> Link | LowRank:
        """What the text names."""
        return parse_sender(self.text)


MOMENTUM = 0.9
CANDIDATES = (
    Asked("dcgd(float16())"),
    Asked("dcgd(bfloat16())"),
    Asked("dcgd(dither(bits=4))"),
    Asked("dcgd(rotated(bits=3))"),
    Asked("dcgd(rotated(bits=1))"),
    Asked("diana(rotated(bits=1))"),
    Asked("diana(rotated(bits=1))", MOMENTUM),
    Asked("diana(randk(0.1, block=256) >> rotated(bits=1))", MOMENTUM),
    Asked("ef14(topk(0.01))"),
    Asked("lowrank(4)"),
)
"""What is tried if nothing else is asked for."""


class Trials:
    """Runs links on samples of all workers' gradients, step after step, with all that they remember.

    With v_t the mean over workers of what a link is to send in step t (their gradients, or with local momentum their
    running averages), v̂_t its estimate, ḡ_t the mean gradient, and T steps:

        error = Σ_t ‖v̂_t − v_t‖² / Σ_t ‖v_t‖²          drift = ‖Σ_t (v̂_t − v_t)‖² / Σ_t ‖ḡ_t‖²

    The first `warmup` steps are sent whole, as by `attach(…, warmup_steps=…)`, and do not count: shifts and averages
    begin far from where they later are, and that is over in less time than a training takes.

    Each norm is that of the whole gradient, estimated from the sample: a piece's square counts as often as its
    parameter has values for each of it.

    It is what training does: the same frames, routes and rounds, on a group that is all in this process. The route is
    that of the whole model's frames, as it decides whether a mean is compressed once more on its way back. Pieces are
    shorter than parameters: a code's last block is a larger part of them, and matrices of fewer rows are nearer to
    low rank, so that for `lowrank` the error is a lower bound where a piece is not the whole parameter. A compressor
    that keeps a number of coordinates, rather than a part, keeps as many of the sample.

    Args:
        sample: which values are given.
        workers: how many there are.
        candidates: what to try.
        warmup: steps that do not count.
        seed: of all draws.

    Raises:
        ValueError: a link that does not suit.

    >>> sample = Sample.of({"w": (64, 64)}, 4096)
    >>> trials = Trials(sample, workers=4, candidates=[Asked("dcgd(identity())"), Asked("dcgd(rotated(1))")])
    >>> for _ in range(3):
    ...     trials.add(torch.randn(4, 4096))
    >>> exact, coarse = trials.found()
    >>> exact.error < 1e-12, 0.3 < coarse.error < 0.9  # ω = 0.58: errors and gradients average out alike
    (True, True)
    """

    def __init__(
        self,
        sample: Sample,
        workers: int,
        candidates: Sequence[Asked] = CANDIDATES,
        *,
        warmup: int = 0,
        seed: int = 0,
    ) -> None:
        self.sample, self.workers, self.warmup = sample, workers, warmup
        self._running = [_Running(asked, sample, workers, warmup, seed) for asked in candidates]
        self._raw = np.zeros(len(sample.pieces))
        self.steps = 0

    def add(self, gradients: Tensor) -> None:
        """One step's samples, (workers, S), float32. A step that is not finite counts for nobody.

        Raises:
            ValueError: samples of another shape.
        """
        self.sample.fits("Trials.add(gradients)", gradients, self.workers)
        if not bool(gradients.isfinite().all()):
            return
        counts = self.steps >= self.warmup
        if counts:
            self._raw += self.sample.squares(gradients.mean(0))
        self.steps += 1
        for running in self._running:
            running.add(gradients, counts)

    def found(self) -> tuple[Candidate, ...]:
        """What became of each, in the order in which they were asked for.

        Raises:
            ValueError: no step was finite.
        """
        if self.steps <= self.warmup:
            rule = f"at least one step after {self.warmup} of warm-up was finite"
            raise ValueError(fault("Trials.found()", rule, self.steps, "Train for longer first."))
        return tuple(running.found(self._raw) for running in self._running)


@dataclass
class _Running:
    """One candidate, and what has become of it so far: squares are by piece, (P,); the gap is Σ_t (v̂_t − v_t), (S,)."""

    asked: Asked
    sample: Sample
    workers: int
    warmup: int
    seed: int
    broken: bool = False
    reducer: Reducer = field(init=False)
    errors: Floats = field(init=False)
    squares: Floats = field(init=False)
    gap: Tensor = field(init=False)

    def __post_init__(self) -> None:
        shapes = {piece.name: piece.shape for piece in self.sample.pieces}
        route = usual_route(self.asked.link, shapes, self.workers)
        settings = Settings(
            self.asked.link, route=route, momentum=self.asked.momentum, warmup_steps=self.warmup, seed=self.seed
        )
        taken = {piece.name: piece.taken_shape for piece in self.sample.pieces}
        with warnings.catch_warnings():  # of a frame that is sent as it is: here that is an error of 0
            warnings.simplefilter("ignore")
            self.reducer = Reducer(_without_values(taken), settings, LocalGroup(self.workers))
        self.errors, self.squares = np.zeros((2, len(self.sample.pieces)))
        self.gap = torch.zeros(self.sample.size, dtype=torch.float64)

    def add(self, gradients: Tensor, counts: bool) -> None:
        """One step, and whether it counts."""
        if self.broken:
            return
        reducer = self.reducer
        for frame in reducer.frames:
            for slot in frame.slots:
                for row, own in enumerate(gradients[:, self.sample.parts[slot.name]]):
                    reducer.put(slot.name, own, row)
        made = finish_all([reducer.reduce(number) for number in range(len(reducer.frames))])
        if reducer.last.skipped:  # what was finite became too large for its code
            self.broken = True
        if self.broken or not counts:
            return
        estimate, sent = torch.empty(self.sample.size), torch.empty_like(gradients)
        for number, frame in enumerate(reducer.frames):
            for slot in frame.slots:
                part = self.sample.parts[slot.name]
                estimate[part] = made[number][slot.part]
                sent[:, part] = reducer.averages[number][:, slot.part] if reducer.averages else gradients[:, part]
        mean = sent.double().mean(0)
        wrong = estimate.double() - mean
        self.errors += self.sample.squares(wrong)
        self.squares += self.sample.squares(mean)
        self.gap += wrong

    def found(self, raw: Floats) -> Candidate:
        """The figures, with `raw` the squares of the mean gradients."""
        text, momentum = to_text(self.asked.link), self.asked.momentum
        if self.broken:
            return Candidate(text, momentum, math.inf, math.inf, {})
        total, drifted = self.sample.total, self.sample.squares(self.gap)
        names = [piece.name for piece in self.sample.pieces]
        parts = {name: _part(*both) for name, *both in zip(names, self.errors, self.squares, strict=True)}
        layers = {name: part for name, part in parts.items() if math.isfinite(part)}  # others had no gradient
        error = _part(total(self.errors), total(self.squares))
        return Candidate(text, momentum, error, _part(total(drifted), total(raw)), layers)


def _part(of: float, whole: float) -> float:
    """Zero of nothing is nothing; anything else of it is infinite."""
    return float(of / whole) if whole > 0 else 0.0 if of == 0 else math.inf


def _without_values(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, Parameter]]:
    return [(name, Parameter(torch.empty(shape, device="meta"))) for name, shape in shapes.items()]


def usual_route(link: Link | LowRank, shapes: dict[str, tuple[int, ...]], workers: int) -> str | None:
    """The route by which training sends most of a model's compressed values; None where there is no choice.

    >>> usual_route(parse_sender("dcgd(rotated(3))"), {"w": (1024, 1024)}, workers=8)
    'sharded'
    """
    if isinstance(link, LowRank):
        return None
    values: Counter[str] = Counter()
    for frame in cut_frames(_without_values(shapes), Policy.usual(link)):
        if frame.sender is not None:
            bound, down = link.bind(workers), default_down(link.bind(workers), frame.d).bind(workers)
            costs = route_bytes(bound, down, frame.d, workers)
            values[min(costs, key=lambda name: (costs[name], name))] += frame.d
    return max(values, key=lambda name: (values[name], name)) if values else None
