"""Which link carries which parameters, and when: policies by name, shape and size, and links that follow each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

from thinwire._check import call, fault
from thinwire.link import Link
from thinwire.lowrank import LowRank
from thinwire.spec import to_text

SMALL = 1024
"""Elements below which a parameter is sent uncompressed by default, as vectors (biases, norms) of any length are."""


@dataclass(frozen=True)
class Stages:
    """Links that follow each other as training goes on: compression that grows, for instance.

    Args:
        links: from which step on each holds; one from step 0. What two links that follow each other both remember
            (h_i and h̄, say) is handed on; what only the next one does starts from zero. `attach(warmup_steps=…)` has
            a link's first steps sent whole, which needs no stage of its own.

    Raises:
        ValueError: what is no link, no link from step 0, a step below 0, or a link that pays back its errors before
            one that does not: what it still owes would be lost.

    >>> import thinwire as tw
    >>> stages = tw.Stages({0: tw.diana(tw.Rotated(bits=3)), 1000: tw.diana(tw.Rotated(bits=1))})
    >>> stages.at(999), stages.at(1000)
    (diana(Rotated(bits=3)), diana(Rotated(bits=1)))
    """

    links: Mapping[int, Link]

    def __post_init__(self) -> None:
        where, steps = call("Stages", links=dict(self.links)), sorted(self.links)
        if not steps or steps[0] != 0:
            raise ValueError(fault(where, "one link holds from step 0, none from before", steps))
        for link in self.in_order:
            if not isinstance(link, Link):
                raise ValueError(fault(where, "stages are links, whose memories fit each other", link))
        for before, after in zip(self.in_order, self.in_order[1:], strict=False):
            owes, pays = (link.recursion(1 << 16, 4).cumulative for link in (before, after))
            if owes and not pays:
                rule = f"{before!r} still owes what it has not sent when {after!r} takes over"
                raise ValueError(fault(where, rule, None, "Let both be ef14, or start with ef21."))

    @property
    def in_order(self) -> list[Link]:
        """The links, the first one first."""
        return [self.links[step] for step in sorted(self.links)]

    def at(self, step: int) -> Link:
        """The link of a step."""
        return self.links[max(begin for begin in self.links if begin <= step)]

    def __str__(self) -> str:
        return f"stages({', '.join(f'{step}: {to_text(self.links[step])}' for step in sorted(self.links))})"


Sender = Link | LowRank | Stages
"""What a group of parameters may travel by."""


@dataclass(frozen=True)
class Rule:
    """Some parameters, and what they travel by.

    Args:
        sender: a link, LowRank, or stages of links; None: they are sent as they are, in 32 bits.
        names: a pattern, as of file names, that the parameter's whole name matches: "*.embedding.weight", "layers.0.*".
        min_ndim: dimensions that it has at least; 2 leaves out biases and norms.
        min_size: elements that it has at least.

    >>> import thinwire as tw
    >>> rule = tw.Rule(tw.dcgd(tw.Rotated(bits=3)), names="*.weight", min_ndim=2)
    >>> rule.covers("0.weight", (64, 64)), rule.covers("0.weight", (64,)), rule.covers("0.bias", (64,))
    (True, False, False)
    """

    sender: Sender | None
    names: str = "*"
    min_ndim: int = 0
    min_size: int = 0

    def covers(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether this rule is about the parameter of that name and shape."""
        return fnmatchcase(name, self.names) and len(shape) >= self.min_ndim and prod(shape) >= self.min_size

    def __str__(self) -> str:
        limits = [f"{name}={value}" for name in ("min_ndim", "min_size") if (value := getattr(self, name))]
        return f"rule({', '.join([text_of(self.sender), repr(self.names), *limits])})"


@dataclass(frozen=True, init=False)
class Policy:
    """Which parameters travel by what: the first rule that covers one decides; what none covers is sent as it is.

    A link alone, where a policy could stand, means `Policy.usual(link)`.

    >>> import thinwire as tw
    >>> fine, coarse = tw.diana(tw.Rotated(bits=3)), tw.diana(tw.Rotated(bits=1))
    >>> policy = tw.Policy(tw.Rule(fine, "*embedding*"), tw.Rule(coarse, min_ndim=2, min_size=1024))
    >>> [policy.number("embedding.weight", (256, 64)), policy.number("0.weight", (64, 64)), policy.number("b", (64,))]
    [0, 1, None]
    """

    rules: tuple[Rule, ...]

    def __init__(self, *rules: Rule) -> None:
        object.__setattr__(self, "rules", rules)

    @classmethod
    def usual(cls, sender: Sender) -> Policy:
        """All matrices of at least 1024 elements by one link, everything else as it is."""
        return cls(Rule(sender, min_ndim=2, min_size=SMALL))

    def number(self, name: str, shape: tuple[int, ...]) -> int | None:
        """Which rule decides; None where the parameter is sent as it is."""
        for number, rule in enumerate(self.rules):
            if rule.covers(name, shape):
                return None if rule.sender is None else number
        return None

    def __str__(self) -> str:
        first = self.rules[0].sender if self.rules else None
        if first is not None and self == Policy.usual(first):
            return text_of(first)
        return f"policy({', '.join(map(str, self.rules))})"


def text_of(sender: Sender | None) -> str:
    """A sender as text, the same on all workers if it is the same."""
    if sender is None:
        return "as it is"
    return str(sender) if isinstance(sender, Stages) else to_text(sender)
