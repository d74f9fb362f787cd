"""One thread that does all the talking: every collective of a wire, in one order, beside the backward pass."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from thinwire.exchange import Round
from thinwire.training.reducer import Reducer


@dataclass(frozen=True)
class Job:
    """One frame of one step."""

    number: int
    gradients: Callable[[], Tensor]
    """Makes the frame's vector; called by the engine's thread."""
    done: Callable[[Tensor], None]
    failed: Callable[[Exception], None]


class Pipeline:
    """Rounds under way: while one frame is on the wire, the next is being encoded.

    The schedule depends on nothing but the order of the frames, 0, 1, 2, … in every step, so that all ranks start
    their collectives in the same order: when frame k is begun, each older one still under way moves on by one stage,
    the newest first, whose bytes are then on the wire while the others are decoded.
    """

    def __init__(self) -> None:
        self._rounds: list[tuple[Job, Round[Tensor]]] = []

    def begin(self, job: Job, steps: Round[Tensor]) -> None:
        """Start a round, and move the others on."""
        self._rounds.append((job, steps))
        self._advance()

    def flush(self) -> None:
        """Bring everything to its end."""
        while self._rounds:
            self._advance()

    def fail(self, error: Exception) -> None:
        """Tell all that are under way, and forget them."""
        for job, _ in self._rounds:
            job.failed(error)
        self._rounds.clear()

    def _advance(self) -> None:
        for entry in reversed(self._rounds[:]):
            job, steps = entry
            try:
                next(steps)
            except StopIteration as end:
                self._rounds.remove(entry)
                job.done(end.value)


class Engine:
    """The thread, the queue before it and the pipeline in it."""

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._next = 0
        self._last_arrival = 0.0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="thinwire", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hand over a frame whose gradients are there; frames may come in any order, they leave in theirs."""
        with self._lock:
            self._last_arrival = time.perf_counter()
            self._waiting[job.number] = job
            while self._next in self._waiting:
                self._jobs.put(self._waiting.pop(self._next))
                self._next = (self._next + 1) % len(self._reducer.frames)

    def close(self) -> None:
        """End the thread once what was submitted is done."""
        self._jobs.put(None)
        self._thread.join(timeout=60)

    def _run(self) -> None:
        pipeline = Pipeline()
        while (job := self._jobs.get()) is not None:
            if self._error is not None:
                job.failed(self._error)
                continue
            last = job.number == len(self._reducer.frames) - 1
            try:
                pipeline.begin(job, self._reducer.reduce(job.number, job.gradients()))
                if last:
                    pipeline.flush()
                    self._reducer.expose(time.perf_counter() - self._last_arrival)
            except Exception as error:  # handed to whoever waits for a gradient, in their own thread
                self._error = error
                pipeline.fail(error)
