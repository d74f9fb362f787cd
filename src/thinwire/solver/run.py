"""One method after the other on the same problem, and what is written down of them."""

from __future__ import annotations

import hashlib
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import thinwire as tw
from thinwire.report.values import finite
from thinwire.solver.names import Method
from thinwire.solver.problem import Share


@dataclass(frozen=True)
class Limits:
    """When a run ends, and where its state is kept.

    Args:
        tol, max_rounds, check_every, seed: as `solve` takes them.
        checkpoint: a file; of several methods each gets a number before the suffix.
    """

    tol: float
    max_rounds: int
    check_every: int | None
    seed: int
    checkpoint: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What theory promised a method, and what happened."""

    method: Method
    promised: tw.Prediction
    solution: tw.Solution

    @property
    def accuracy(self) -> float:
        """What is compared with tol: a bound of the relative gap; without one, how far the mapping has shrunk."""
        first, last = self.solution.history[0], self.solution.history[-1]
        if last.gap is not None:
            fallen = first.value - last.value + last.gap
            return last.gap / fallen if fallen > 0 else 0.0 if last.gap == 0 else math.inf
        return last.mapping / first.mapping if first.mapping > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON, x and all; what is not finite is None."""
        x = self.solution.x
        told = {
            "method": self.method.text,
            "link": tw.to_text(self.method.link),
            "rule": repr(self.method.rule),
            "oracle": repr(self.method.oracle),
            "step": self.method.step,
            "accuracy": self.accuracy,
            "promised": {"rounds": self.promised.rounds, "bytes_up": self.promised.bytes_up},
            "x_sha256": hashlib.sha256(x.tobytes()).hexdigest(),
            "x": x.tolist(),
            **self.solution.as_dict(),
        }
        plain: dict[str, Any] = finite(told)
        return plain


def promises(share: Share, methods: Sequence[Method], group: tw.Group, tol: float) -> list[tw.Prediction]:
    """What theory promises each method; ValueError for the first that it does not allow, before anything is solved."""
    return [
        tw.predict(
            share.problem,
            penalty=share.penalty,
            link=method.link,
            rule=method.rule,
            oracle=method.oracle,
            step=method.step,
            group=group,
            split=share.owners,
            tol=tol,
        )
        for method in methods
    ]


def solve_one(
    share: Share,
    method: Method,
    group: tw.Group,
    limits: Limits,
    number: int | None,
    heard: Callable[[tw.Moment], bool],
) -> tw.Solution:
    """One method to its end; `heard` is told of each certificate, and ends the run by a true answer."""
    checkpoint = limits.checkpoint
    if checkpoint is not None and number is not None:
        checkpoint = checkpoint.with_stem(f"{checkpoint.stem}-{number}")
    return tw.solve(
        share.problem,
        penalty=share.penalty,
        link=method.link,
        rule=method.rule,
        oracle=method.oracle,
        step=method.step,
        group=group,
        split=share.owners,
        tol=limits.tol,
        max_rounds=limits.max_rounds,
        check_every=limits.check_every,
        seed=limits.seed,
        callback=lambda moment, x: heard(moment),
        checkpoint=checkpoint,
    )


@contextmanager
def interruptible(alone: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: in one process it ends a run at its next certificate, the second time at once.

    Several processes would not stop in the same round: there it ends all at once.
    """
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note) if alone else None
    try:
        yield lambda: pressed
    finally:
        if alone:
            signal.signal(signal.SIGINT, before)


def about_problem(share: Share, promised: tw.Prediction) -> dict[str, Any]:
    """The problem and its constants, for JSON."""
    constants = asdict(promised.constants)
    largest = max(constants.pop("workers"))
    return {
        "problem": repr(share.problem),
        "rows": share.rows,
        "penalty": None if share.penalty is None else repr(share.penalty),
        "l2": share.l2,
        "constants": {**constants, "largest": largest},
    }
