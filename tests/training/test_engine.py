"""The order of collectives: one for each lane, whatever the timing of gradients and of the wire."""

from __future__ import annotations

import random
import threading
import time
import zlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import thinwire as tw
from thinwire.comm.base import Lane, Pending
from thinwire.rounds import finish_all
from thinwire.training import frames
from thinwire.training.engine import Engine, in_turn
from thinwire.training.reducer import Reducer, Settings

STEPS = 3
POLICY = tw.Policy(
    tw.Rule(tw.LowRank(2), "*.low.*", min_ndim=2),
    tw.Rule(tw.dcgd(tw.Rotated(bits=3)), "*.one.*", min_ndim=2),
)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame for each matrix of 64 × 64."""
    monkeypatch.setattr(frames, "SMALLEST_FRAME", 64 * 64)
    monkeypatch.setattr(frames, "LARGEST_FRAME", 64 * 64)


def model() -> nn.Module:
    """Frames of two rounds and of one, mixed; and one that is sent as it is."""
    torch.manual_seed(0)
    kinds = ("low", "one", "low", "low", "one", "low")
    return nn.ModuleList(nn.ModuleDict({kind: nn.Linear(64, 64)}) for kind in kinds)


@dataclass(frozen=True)
class SlowGroup(tw.LocalGroup):
    """A local group whose collectives take as long as chance will have it, and which keeps a log of their starts."""

    chance: random.Random = field(default_factory=random.Random)
    log: dict[Lane, list[int]] = field(default_factory=lambda: {lane: [] for lane in Lane})

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        self.log[lane].append(zlib.crc32(data.contiguous().numpy()))
        return self._late(super().all_gather(data, lane))

    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        self.log[lane].append(zlib.crc32(data.contiguous().numpy()))
        return self._late(super().all_to_all(data, lane))

    def _late(self, pending: Pending) -> Pending:
        future: Future[Tensor] = Future()
        timer = threading.Timer(self.chance.choice((0.0, 0.001, 0.01)), future.set_result, (pending.wait(),))
        timer.daemon = True
        timer.start()
        return Pending(future.result, future.done, lambda heard: future.add_done_callback(lambda _: heard()))


def filled(reducer: Reducer, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for name, shape in reducer.shapes.items():
        for row in range(len(reducer.group.ranks)):
            reducer.put(name, torch.randn(shape, generator=generator), row)


def run(seed: int) -> tuple[dict[Lane, list[int]], list[Tensor]]:
    """The starts of all collectives by lane, and all estimates, with frames that are ready in any order."""
    chance = random.Random(seed)
    group = SlowGroup(2, chance=random.Random(seed + 1))
    reducer = Reducer(model().named_parameters(), Settings(POLICY), group)
    for starts in group.log.values():
        starts.clear()  # of the workers' agreement
    engine, estimates = Engine(reducer), []
    back: SimpleQueue[tuple[int, Tensor] | Exception] = SimpleQueue()
    for step in range(STEPS):
        filled(reducer, step)
        numbers = list(range(len(reducer.frames)))
        chance.shuffle(numbers)
        for number in numbers:
            engine.submit(
                number, partial(lambda which, estimate: back.put((which, estimate.clone())), number), back.put
            )
            time.sleep(chance.choice((0.0, 0.002)))
        found: dict[int, Tensor] = {}
        for _ in numbers:
            answer = back.get(timeout=60)
            assert not isinstance(answer, Exception), answer
            found |= dict([answer])
        estimates += [found[number] for number in sorted(found)]
    engine.close()
    return group.log, estimates


def test_lanes_keep_their_order_whatever_the_timing() -> None:
    first, estimates = run(0)
    assert len(first[Lane.WORKERS]) == STEPS * (4 * 2 + 2 + 1)
    for seed in range(1, 5):
        log, again = run(seed)
        assert log == first
        assert all(torch.equal(one, other) for one, other in zip(estimates, again, strict=True))
    assert all(bool(estimate.isfinite().all()) for estimate in estimates)


def test_the_engine_gives_the_bits_of_the_plain_way() -> None:
    reducer = Reducer(model().named_parameters(), Settings(POLICY), tw.LocalGroup(2))
    plain: list[Tensor] = []
    for step in range(STEPS):
        filled(reducer, step)
        rounds = [reducer.reduce(number) for number in range(len(reducer.frames))]
        plain += [estimate.clone() for estimate in finish_all(rounds)]
    _, estimates = run(7)
    assert all(torch.equal(one, other) for one, other in zip(estimates, plain, strict=True))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_turns_hold_every_round_once_and_after_the_one_before(rounds: list[int]) -> None:
    turns = in_turn(rounds)
    assert sorted(turns) == [(frame, number) for frame, count in enumerate(rounds) for number in range(count)]
    for frame, number in turns:
        if number:
            assert turns.index((frame, number - 1)) < turns.index((frame, number))
    assert [turn for turn in turns if not turn[1]] == [(frame, 0) for frame in range(len(rounds))]
