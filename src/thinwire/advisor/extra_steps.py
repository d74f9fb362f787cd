"""How many more steps a training takes for what a choice leaves out: an estimate, with its range.

SGD at its best learning rate needs, for a given progress, steps in proportion to

    1 + (tr Σ / B + e) / ‖G‖²

with G the gradient without noise, tr Σ / B the noise of the mean over the batch, and e the square error that
compression adds to it (McCandlish et al., "An empirical model of large-batch training", 2018, eq. 2.7, with e as
further noise). Against e = 0, since E‖ḡ‖² = ‖G‖² + tr Σ / B, that is a factor of

    1 + r²,   r² = e / E‖ḡ‖²

whatever the noise scale: it cancels. It is the most that independent errors cost; where progress is held up by
curvature and not by noise they cost nothing. So the factor lies between 1 and 1 + r², and what is expected is the
geometric middle. Errors that are paid back later (error feedback) are no noise, but as good as a stale gradient while
they are owed: they are counted alike. benchmarks/extra_steps.py holds this against trainings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from thinwire.advisor.findings import Candidate, Gradients
from thinwire.exchange import default_down
from thinwire.link import Link
from thinwire.lowrank import LowRank


@dataclass(frozen=True)
class Extra:
    """Steps to the same loss, as times those with the exact mean: a range, what is expected, and where it is from.

    >>> Extra.of(0.21, source="measured")
    Extra(low=1.0, expected=1.1, high=1.21, source='measured')
    """

    low: float
    expected: float
    high: float
    source: str

    @classmethod
    def of(cls, error: float, *, source: str) -> Extra:
        """Of r²."""
        return cls(1.0, math.sqrt(1 + error), 1 + error, source)


NONE = Extra(1.0, 1.0, 1.0, "exact")


def pays_back(sender: Link | LowRank) -> bool:
    """Whether what a message leaves out is remembered as an error, or left for later messages."""
    if isinstance(sender, LowRank):
        return True
    return sender.compressor.omega(1 << 20) is None or sender.recursion(1 << 20, 2).cumulative


def from_gradients(found: Gradients, candidate: Candidate, sender: Link | LowRank) -> Extra:
    """Of a candidate that was tried on real gradients.

    r² is the drift, which compares errors with the raw gradients whatever is sent; where errors are paid back the drift
    hides them, and with raw gradients the error of one step is the better measure: the larger of the two.
    """
    owes = pays_back(sender) and candidate.momentum is None
    error = max(candidate.drift, candidate.error) if owes else candidate.drift
    return Extra.of(error, source=f"tried on {found.steps} steps' gradients")


def from_theory(link: Link, workers: int, values: int, *, sharded: bool) -> Extra | None:
    """Of a link of which nothing was measured: by the variance of its mean and, in the sharded route, of the answer.

    That variance is relative to the mean of ‖v_i‖², which is between ‖v̄‖², where workers' vectors are alike, and
    n ‖v̄‖², where they are nothing but noise. None where the theory says nothing: of compressors that are biased.
    """
    bound = link.bind(workers)
    if bound.compressor.omega(values) is None or bound.recursion(values, workers).cumulative:
        return None
    answer = default_down(bound, values).bind(1).compressor.omega(-(-values // workers)) if sharded else 0.0
    alike = bound.compressor.mean_variance(values, workers)
    low, high = ((1 + up) * (1 + (answer or 0.0)) - 1 for up in (alike, workers * alike))
    return Extra(1.0, math.sqrt(1 + math.sqrt(low * high)), 1 + high, "by its ω, at worst: not tried on gradients")


def told(extra: Extra | None) -> str:
    """In a table: '1.02 (to 1.05)'.

    >>> told(None), told(NONE), told(Extra(1.0, 1.1, 1.21, "measured"))
    ('not known', '1', '1.1 (to 1.21)')
    """
    if extra is None:
        return "not known"
    if extra.high < 1.0005:
        return "1"
    return f"{extra.expected:.3g} (to {extra.high:.3g})"
