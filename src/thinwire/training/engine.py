"""One thread that does all the talking: every collective of a wire, beside the backward pass."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire import kernels
from thinwire.comm.base import Pending
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
    job: Job
    steps: Round[Tensor]
    pending: Pending


class Engine:
    """The thread, and the frames it has under way.

    A frame goes through encode, the way up, decode and encode, the way down, decode. The thread does whatever can be
    done without waiting, while the wire carries what was sent before and the backward pass goes on. Frames start in
    their order, and the answers of owners start in that order too, on a lane of their own: so all ranks start the
    collectives of each lane in one order, whatever their timing.
    """

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._waiting: dict[int, Job] = {}
        self._next = 0
        self._backlog: deque[Job] = deque()
        self._up: deque[_UnderWay] = deque()
        self._down: deque[_UnderWay] = deque()
        self._finished = 0
        self._last_arrival = 0.0
        self._error: Exception | None = None
        self._ending = False
        self._lock = threading.Lock()
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
        with self._lock:
            self._last_arrival = time.perf_counter()
            self._waiting[number] = Job(number, done, failed, ready)
            while self._next in self._waiting:
                self._backlog.append(self._waiting.pop(self._next))
                self._next = (self._next + 1) % len(self._reducer.frames)
        self._news.set()

    def close(self) -> None:
        """End the thread once what was submitted is done."""
        self._ending = True
        self._news.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        kernels.single_thread()  # the others are the backward pass'
        while not (self._ending and not self._backlog and not self._up and not self._down):
            heard = self._news.wait(LOOK if self._up or self._down else None)
            self._news.clear()
            try:
                if not heard:
                    for under_way in (*self._up, *self._down):
                        under_way.pending.look()
                while self._turn():
                    pass
            except Exception as error:  # handed to whoever waits for a gradient, in their own thread
                self._fail(error)

    def _turn(self) -> bool:
        """Do one thing that need not wait, the one that brings bytes on the wire soonest; False if there is none."""
        if self._error is not None:
            self._fail(self._error)
            return False
        if self._up and self._up[0].pending.done():
            self._resume(self._up)
        elif self._backlog:
            job = self._backlog.popleft()
            self._advance(job, self._reducer.reduce(job.number), self._up)
        elif self._down and self._down[0].pending.done():
            self._resume(self._down)
        else:
            return False
        return True

    def _resume(self, lane: deque[_UnderWay]) -> None:
        under_way = lane.popleft()
        self._advance(under_way.job, under_way.steps, self._down)

    def _advance(self, job: Job, steps: Round[Tensor], lane: deque[_UnderWay]) -> None:
        """Run the round up to its next wait, which is for `lane`, or to its end."""
        try:
            with self._beside(job):
                try:
                    pending = next(steps)
                except StopIteration as end:
                    job.done(end.value)
                else:
                    lane.append(_UnderWay(job, steps, pending))
                    pending.notify(self._news.set)
                    return
        except Exception as error:
            job.failed(error)
            raise
        self._finished += 1
        if self._finished == len(self._reducer.frames):
            self._finished = 0
            self._reducer.expose(time.perf_counter() - self._last_arrival)

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
        self._error = error
        while self._backlog:
            self._backlog.popleft().failed(error)
        for lane in (self._up, self._down):
            while lane:
                lane.popleft().job.failed(error)
