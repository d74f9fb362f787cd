"""A thread that waits for collectives, one after another, so that whoever started them can do other things."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from torch import Tensor

IDLE = 1.0
"""Seconds without work after which the thread ends; the next call starts another."""
LAST = 0.5
"""Seconds that the end of the program waits for a thread which is still waiting itself."""


class Waiter:
    """Calls what it is given in order, in a thread of its own that keeps no process alive.

    The program's end stops the thread: one that is ended by the interpreter inside of a library's C++ would bring the
    whole process down with it, and turn its exit code into that of an abort.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: deque[tuple[Callable[[], Tensor], Future[Tensor]]] = deque()
        self._news = threading.Condition()
        self._running = self._over = False
        self._thread: threading.Thread | None = None
        _ALL.add(self)

    def submit(self, wait: Callable[[], Tensor]) -> Future[Tensor]:
        """The future result of wait()."""
        future: Future[Tensor] = Future()
        with self._news:
            self._calls.append((wait, future))
            self._news.notify()
            if not self._running:
                self._running = True
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    def stop(self) -> None:
        """End the thread, once it has done what it was given, unless that takes longer than LAST."""
        with self._news:
            self._over = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(LAST)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._calls or self._over, timeout=IDLE)
                if not self._calls:
                    self._running = False
                    return
                wait, future = self._calls.popleft()
            try:
                result = wait()
            except BaseException as error:  # raised again where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del wait, future  # and with them what the call holds of the wire


_ALL: weakref.WeakSet[Waiter] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for waiter in list(_ALL):
        waiter.stop()
