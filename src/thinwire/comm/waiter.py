"""A thread that waits for collectives, one after another, so that whoever started them can do other things."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from torch import Tensor

IDLE = 1.0
"""Seconds without work after which the thread ends; the next call starts another."""


class Waiter:
    """Calls what it is given in order, in a thread of its own that keeps no process alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: deque[tuple[Callable[[], Tensor], Future[Tensor]]] = deque()
        self._news = threading.Condition()
        self._running = False

    def submit(self, wait: Callable[[], Tensor]) -> Future[Tensor]:
        """The future result of wait()."""
        future: Future[Tensor] = Future()
        with self._news:
            self._calls.append((wait, future))
            self._news.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._news:
                if not self._calls and not self._news.wait_for(lambda: self._calls, timeout=IDLE):
                    self._running = False
                    return
                wait, future = self._calls.popleft()
            try:
                result = wait()
            except BaseException as error:  # raised again where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)
