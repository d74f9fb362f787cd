"""What is best by the predictions, and whether steps are as predicted: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from thinwire.advisor.units import seconds_text
from thinwire.auto.candidates import kind

MARGIN = 1.05
"""What is simpler is taken if it is no slower than the fastest by this factor."""
GAIN = 1.1
"""So much faster than what is measured now another way must be, to be turned to."""
DRIFT = 1.3
"""A step that takes so much longer, or shorter, than predicted is no longer the one that was predicted."""
LASTING = 2
"""Windows in a row."""


@dataclass(frozen=True)
class Decision:
    """The way to go, what a step by it is expected to take, and why."""

    name: str
    seconds: float
    why: str


def corrected(predicted: Mapping[str, float], corrections: Mapping[str, float]) -> dict[str, float]:
    """Predictions times what measured steps were of predicted ones: of that way, or else of its kind.

    >>> corrected({"float32": 1.0, "bfloat16": 0.5, "dcgd(rotated(bits=3))": 0.25}, {"float32": 2.0})
    {'float32': 2.0, 'bfloat16': 1.0, 'dcgd(rotated(bits=3))': 0.25}
    """
    by_kind = {kind(name): factor for name, factor in corrections.items()}
    return {name: told * corrections.get(name, by_kind.get(kind(name), 1.0)) for name, told in predicted.items()}


def decide(
    expected: Mapping[str, float], needed: Mapping[str, float], now: str, measured: float, *, first: bool
) -> Decision:
    """The simplest of those that are about the fastest to the same loss; once chosen, only what is clearly faster.

    Args:
        expected: seconds of a step by each way, the simplest first.
        needed: steps to the same loss by each, as times those with the exact mean.
        now: the way that gradients go.
        measured: what a step takes by it.
        first: whether nothing was chosen yet.

    >>> needed = {"float32": 1.0, "bfloat16": 1.0, "dcgd(rotated(bits=3))": 1.03}
    >>> expected = {"float32": 1.0, "bfloat16": 0.52, "dcgd(rotated(bits=3))": 0.5}
    >>> print(decide(expected, needed, "float32", 1.0, first=True).why.replace(": ", ":\\n"))
    bfloat16 is the simplest within 5% of the fastest:
    float32 1 s, bfloat16 520 ms, dcgd(rotated(bits=3)) 500 ms (1.03 times the steps)
    >>> decide({"float32": 1.0, "bfloat16": 0.95}, needed, "float32", 1.0, first=False).name
    'float32'
    """
    costs = {name: seconds * needed[name] for name, seconds in expected.items()}
    least = min(costs.values())
    name = next(name for name, cost in costs.items() if cost <= MARGIN * least)
    told = ", ".join(_told(each, seconds, needed[each]) for each, seconds in expected.items())
    if name == now:
        return Decision(name, measured, f"{name} stays, which takes {seconds_text(measured)}: {told}")
    if not first and now in needed and GAIN * costs[name] > measured * needed[now]:
        return Decision(
            now, measured, f"{now} stays, no other is {GAIN - 1:.0%} faster than its {seconds_text(measured)}: {told}"
        )
    what = "the fastest" if costs[name] == least else f"the simplest within {MARGIN - 1:.0%} of the fastest"
    return Decision(name, expected[name], f"{name} is {what}: {told}")


def _told(name: str, seconds: float, needed: float) -> str:
    more = f" ({needed:.3g} times the steps)" if needed >= 1.005 else ""
    return f"{name} {seconds_text(seconds)}{more}"


@dataclass(frozen=True)
class Watch:
    """Predicted against measured steps, window by window.

    >>> watch = Watch(1.0).after(1.4)
    >>> watch.drifted, watch.after(1.4).drifted, watch.after(1.1).after(1.4).drifted
    (False, True, False)
    """

    expected: float
    strikes: int = 0

    def after(self, measured: float) -> Watch:
        """A window later, in the median of which a step took so long."""
        off = measured > DRIFT * self.expected or DRIFT * measured < self.expected
        return Watch(self.expected, self.strikes + 1 if off else 0)

    @property
    def drifted(self) -> bool:
        """Whether it lasts."""
        return self.strikes >= LASTING
