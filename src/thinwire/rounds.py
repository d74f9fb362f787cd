"""A round: the steps of one vector's exchange, which stop wherever they would wait for the wire."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TypeVar

from thinwire.comm.base import Pending
from thinwire.comm.mean import Heard, Steps

T = TypeVar("T")
Round = Generator[Pending, None, T]
"""It yields each collective that it is about to wait for, and goes on, waiting, when it is resumed."""


def finish(steps: Round[T]) -> T:
    """Run a round to its end, with nothing else to do while it waits."""
    return finish_all([steps])[0]


def finish_all(rounds: Sequence[Round[T]]) -> list[T]:
    """Run several rounds to their ends: while one waits, the others are begun, or go on.

    All take their first step, then all their second, and so on: an order that is the same on all processes.
    """
    results: dict[int, T] = {}
    live = dict(enumerate(rounds))
    while live:
        for number, steps in list(live.items()):
            try:
                next(steps)
            except StopIteration as done:
                results[number] = done.value
                del live[number]
    return [results[number] for number in range(len(rounds))]


class Clock:
    """Splits a round's time into work before the wire (encode), waiting, and work after it (decode)."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._spent = {"encode": 0.0, "wire": 0.0, "decode": 0.0}

    def timing(self, steps: Steps[Heard]) -> Round[Heard]:
        """Run the steps of one route. What others do between a yield and its resumption is not counted."""
        stage, pending = "encode", next(steps)
        while True:
            self._lap(stage)
            yield pending
            self._begin = time.perf_counter()
            result = pending.wait()
            self._lap("wire")
            stage = "decode"
            try:
                pending = steps.send(result)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's value is untyped

    def seconds(self) -> dict[str, float]:
        self._lap("decode")
        return self._spent

    def _lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._spent[stage] += now - self._begin
        self._begin = now
