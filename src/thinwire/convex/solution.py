"""What a solver returns: the point, why it stopped there, what is known of it, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from thinwire.convex.certificate import Certificate
from thinwire.convex.shards import Array
from thinwire.convex.wire import Traffic
from thinwire.report.convergence import Curve, convergence
from thinwire.theory import Plan


class Status(Enum):
    """Why a solver stopped; the value is advice.

    >>> import thinwire as tw
    >>> print(tw.Status.SPENT.value)
    max_rounds were not enough: pass more, a larger step ("theory*4"), or an accelerated rule.
    """

    CONVERGED = "the certificate is within tol."
    SPENT = 'max_rounds were not enough: pass more, a larger step ("theory*4"), or an accelerated rule.'
    ROUNDING = "the rounding of float32 was reached: pass float64 data."
    FLOOR = (
        "this method stops at a floor: use diana or another link that learns, and an oracle that forgets its variance."
    )
    STALLED = "no progress over the last half of the rounds: the rounding of float64, or a step that is too large."
    DIVERGED = "the iterates grew without bound: the step is too large; step='theory' is safe."
    STOPPED = "the callback asked to stop."


@dataclass(frozen=True)
class Moment:
    """A checked iterate: after `round` rounds and `seconds`, its certificate, and the bytes of one worker so far.

    >>> import numpy as np, thinwire as tw
    >>> tw.solve(tw.SquaredLoss(np.eye(2), [1, 2])).history[0].value
    1.25
    """

    round: int
    seconds: float
    up: int
    down: int
    sent: int
    value: float
    mapping: float
    gap: float | None

    @classmethod
    def of(cls, k: int, seconds: float, traffic: Traffic, found: Certificate) -> Moment:
        """What was found after k rounds."""
        return cls(k, seconds, traffic.up, traffic.down, traffic.sent, found.value, found.mapping, found.gap)


@dataclass(frozen=True, eq=False)
class Solution:
    """What `solve` found.

    Args:
        x: (d,), the same on all workers; with an intercept, its coordinates come last.
        status: why it stopped.
        certificate: what is known of x.
        rounds: communication rounds.
        bytes_up, bytes_down: of one worker, to and from a server, as papers count.
        bytes_sent: what one worker handed to the collectives.
        bytes_checks: what the certificates cost beside that.
        seconds: of wall-clock time.
        plan: the theorem that the step came from, and what it promised.
        history: the checked iterates.
        optimum: min P, if it was given.

    >>> import numpy as np, thinwire as tw
    >>> solution = tw.solve(tw.SquaredLoss(np.eye(2), [1, 2]), tol=1e-12)
    >>> solution.converged, solution.x.round(3)
    (True, array([1., 2.]))
    """

    x: Array
    status: Status
    certificate: Certificate
    rounds: int
    bytes_up: int
    bytes_down: int
    bytes_sent: int
    bytes_checks: int
    seconds: float
    plan: Plan
    history: Sequence[Moment] = field(repr=False)
    optimum: float | None = None

    @property
    def converged(self) -> bool:
        """Whether the certificate is within tol."""
        return self.status is Status.CONVERGED

    def suboptimality(self) -> list[float | None]:
        """P − min P of every moment of the history; an upper bound, its gap, where min P was not given."""
        return [moment.gap if self.optimum is None else moment.value - self.optimum for moment in self.history]

    @property
    def curve(self) -> Curve:
        """The history, to be drawn."""
        rounds, sent, seconds = zip(
            *((moment.round, moment.up, moment.seconds) for moment in self.history), strict=True
        )
        return Curve(rounds, sent, seconds, [moment.value for moment in self.history], self.suboptimality())

    def plot(self, path: str | Path | None = None) -> str:
        """Suboptimality against rounds, bytes and seconds, as SVG text, which is also written to `path`.

        It is P(x) − min P, where that was given, otherwise the certified gap; where neither is known, P(x) less the
        least value of the history. The axis says which. Several solutions in one picture: `thinwire solve --plot`.

        >>> import numpy as np, thinwire as tw
        >>> tw.solve(tw.SquaredLoss(np.eye(2), [1, 2], l2=0.1), tol=1e-12).plot()[:4]
        '<svg'
        """
        svg = convergence({"": self.curve}, self.optimum)
        if path is not None:
            Path(path).write_text(svg, encoding="utf-8")
        return svg

    def as_dict(self) -> dict[str, Any]:
        """All but x, for JSON."""
        counted = ("rounds", "bytes_up", "bytes_down", "bytes_sent", "bytes_checks", "seconds", "optimum")
        return {
            "status": self.status.name.lower(),
            "advice": self.status.value,
            **{name: getattr(self, name) for name in counted},
            "certificate": asdict(self.certificate),
            "plan": {**asdict(self.plan), "more": dict(self.plan.more)},
            "history": [asdict(moment) for moment in self.history],
        }
