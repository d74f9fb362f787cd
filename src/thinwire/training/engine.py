"""One thread that does all the talking: every collective of a wire, beside the backward pass."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire import kernels
from thinwire.comm.base import PeerError, Pending
from thinwire.rounds import Round
from thinwire.training.reducer import Reducer

LOOK = 1.0
"""Seconds without news after which it is looked up whether another worker has given up."""


@dataclass(frozen=True)
class Job:
    """One frame of one step, whose gradients were put."""

    number: int
    done: Callable[[Tensor], None]
    failed: Callable[[Exception], None]
    ready: torch.cuda.Event | None = None
    """When the gradients will be there, on a GPU."""


@dataclass
class _UnderWay:
    """A frame on its way: in which of its rounds it is, and what it waits for, if for anything."""

    job: Job
    steps: Round[Tensor]
    turn: tuple[int, int]
    pending: Pending | None = None

    def arrived(self) -> bool:
        return self.pending is not None and self.pending.done()


def in_turn(rounds: Sequence[int]) -> list[tuple[int, int]]:
    """All rounds of a step's frames, as (frame, round), in the order in which they start.

    A frame's next round starts right after the following frame's one: so it is not late, and no first round waits for
    more than the one but last before it.

    >>> in_turn([2, 1, 2])
    [(0, 0), (1, 0), (0, 1), (2, 0), (2, 1)]
    """
    turns = [(frame, number) for frame, count in enumerate(rounds) for number in range(count)]
    return sorted(turns, key=lambda turn: (sum(turn), turn[1]))


class Engine:
    """The thread, and the frames it has under way.

    A round of a frame goes through encode, the way up, decode and encode, the way down, decode; most frames have one,
    those of LowRank two. The thread does whatever can be done without waiting, while the wire carries what was sent
    before and the backward pass goes on. Rounds start in the order of `in_turn`, and the answers of owners start in
    that order too, on a lane of their own: so all ranks start the collectives of each lane in one order, whatever their
    timing. A round whose turn has not come waits for it, even if nothing else is there to be done.
    """

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._order = in_turn([carrier.rounds for carrier in reducer.carriers])
        self._at = 0
        self._ready: dict[tuple[int, int], _UnderWay] = {}
        self._up: deque[_UnderWay] = deque()
        self._down: deque[_UnderWay] = deque()
        self._finished = 0
        self._last_arrival = 0.0
        self._at_work: list[tuple[float, float]] = []
        self.error: Exception | None = None
        """What ended it: from then on no step leads anywhere."""
        self._ending = False
        self._news = threading.Event()
        device = reducer.group.device
        self._streams: list[torch.cuda.Stream] = []
        if device.type == "cuda":
            self._streams = [torch.cuda.Stream(device) for _ in reducer.frames]  # type: ignore[no-untyped-call]
        self._thread = threading.Thread(target=self._run, name="thinwire", daemon=True)
        self._thread.start()

    def submit(self, number: int, done: Callable[[Tensor], None], failed: Callable[[Exception], None]) -> None:
        """Hand over a frame whose gradients were put; frames may come in any order, they leave in theirs."""
        ready = None
        if self._streams:
            ready = torch.cuda.current_stream(self._reducer.group.device).record_event()
        self._last_arrival = time.perf_counter()
        job, turn = Job(number, done, failed, ready), (number, 0)
        self._ready[turn] = _UnderWay(job, self._reducer.reduce(number), turn)
        self._news.set()

    def end(self) -> None:
        """Have the thread end once what was submitted is done."""
        self._ending = True
        self._news.set()

    def close(self) -> None:
        """End the thread, and wait for it."""
        self.end()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        kernels.single_thread()  # the others are the backward pass'
        while not (self._ending and self._order[self._at] not in self._ready and not self._up and not self._down):
            heard = self._news.wait(LOOK if self._up or self._down else None)
            self._news.clear()
            try:
                if not heard:
                    for under_way in (*self._up, *self._down):
                        if under_way.pending is not None:
                            under_way.pending.look()
                while self._turn():
                    pass
            except Exception as error:  # handed to whoever waits for a gradient, in their own thread
                if isinstance(error, PeerError):
                    error.step = self._reducer.steps
                self._fail(error)

    def _turn(self) -> bool:
        """Do one thing that need not wait, the one that brings bytes on the wire soonest; False if there is none."""
        if self.error is not None:
            self._fail(self.error)
            return False
        if self._up and self._up[0].arrived():
            self._advance(self._up.popleft(), self._down)
        elif (turn := self._order[self._at]) in self._ready:
            self._at = (self._at + 1) % len(self._order)
            self._advance(self._ready.pop(turn), self._up)
        elif self._down and self._down[0].arrived():
            self._come_down(self._down.popleft())
        else:
            return False
        return True

    def _come_down(self, under_way: _UnderWay) -> None:
        """A round has its answers: the frame is done, or its next round may start when it is its turn."""
        frame, number = under_way.turn
        under_way.turn = frame, number + 1
        if number + 1 < self._reducer.carriers[frame].rounds:
            self._ready[under_way.turn] = under_way
        else:
            self._advance(under_way, self._down)

    def _advance(self, under_way: _UnderWay, lane: deque[_UnderWay]) -> None:
        """Run it up to its next wait, which is for `lane`, or to its end."""
        begun = time.perf_counter()
        ended = self._run_on(under_way, lane)
        now = time.perf_counter()
        self._at_work.append((begun, now))
        self._finished += ended
        if self._finished == len(self._reducer.frames):
            late = self._last_arrival
            work = sum(max(0.0, end - max(begin, late)) for begin, end in self._at_work)
            self._reducer.expose(now - late, work)
            self._finished = 0
            self._at_work = []

    def _run_on(self, under_way: _UnderWay, lane: deque[_UnderWay]) -> bool:
        """Whether the round has come to its end."""
        job = under_way.job
        try:
            with self._beside(job):
                try:
                    under_way.pending = next(under_way.steps)
                except StopIteration as end:
                    job.done(end.value)
                    return True
                lane.append(under_way)
                under_way.pending.notify(self._news.set)
                return False
        except Exception as error:
            self.error = error  # before anyone hears of it
            job.failed(error)
            raise

    @contextmanager
    def _beside(self, job: Job) -> Iterator[None]:
        """On a GPU each frame has a stream of its own, which starts when its gradients are there."""
        if not self._streams:
            yield
            return
        with torch.cuda.stream(self._streams[job.number]):
            if job.ready is not None:
                job.ready.wait()
            yield

    def _fail(self, error: Exception) -> None:
        self.error = error
        while self._ready:
            self._ready.popitem()[1].job.failed(error)
        for lane in (self._up, self._down):
            while lane:
                lane.popleft().job.failed(error)
