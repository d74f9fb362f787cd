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
LINKS = "A text becomes a link by tw.parse_link."


@dataclass(frozen=True)
class Stages:
    """Links that follow each other as training goes on: compression that grows, for instance.

    Args:
        links: from which step on each holds; one from step 0. What two links that follow each other both remember
            (h_i and h̄, say) is handed on; what only the next one does starts from zero. `attach(warmup_steps=…)` has
            a link's first steps sent whole, which needs no stage of its own.

    Raises:
        ValueError: a step that is no whole number, no link from step 0, a step below 0, what is no link, or a link
            that pays back its errors before one that does not: what it still owes would be lost.

    >>> import thinwire as tw
    >>> stages = tw.Stages({0: tw.diana(tw.Rotated(bits=3)), 1000: tw.diana(tw.Rotated(bits=1))})
    >>> stages.at(999), stages.at(1000)
    (diana(Rotated(bits=3)), diana(Rotated(bits=1)))
    """

    links: Mapping[int, Link]

    def __post_init__(self) -> None:
        where = call("Stages", links=dict(self.links))
        for step, link in self.links.items():
            if type(step) is not int:
                raise ValueError(fault(where, "steps are whole numbers", step))
            if not isinstance(link, Link):
                raise ValueError(fault(where, "each stage is a link", link, LINKS))
        steps = sorted(self.links)
        if not steps or steps[0] != 0:
            raise ValueError(fault(where, "one link holds from step 0, none from before", steps))
        object.__setattr__(self, "links", {step: self.links[step] for step in steps})  # a copy that stays as it is
        for before, after in zip(self.in_order, self.in_order[1:], strict=False):
            owes, pays = (link.recursion(1 << 16, 4).cumulative for link in (before, after))
            if owes and not pays:
                rule = f"{before!r} still owes what it has not sent when {after!r} takes over"
                raise ValueError(fault(where, rule, None, "Let both be ef14, or start with ef21."))

    @property
    def in_order(self) -> list[Link]:
        """The links, the first one first."""
        return list(self.links.values())

    def at(self, step: int) -> Link:
        """The link of a step."""
        return self.links[max(begin for begin in self.links if begin <= step)]

    def __str__(self) -> str:
        return f"stages({', '.join(f'{step}: {to_text(link)}' for step, link in self.links.items())})"


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

    Raises:
        ValueError: what is none of these.

    >>> import thinwire as tw
    >>> rule = tw.Rule(tw.dcgd(tw.Rotated(bits=3)), names="*.weight", min_ndim=2)
    >>> rule.covers("0.weight", (64, 64)), rule.covers("0.weight", (64,)), rule.covers("0.bias", (64,))
    (True, False, False)
    """

    sender: Sender | None
    names: str = "*"
    min_ndim: int = 0
    min_size: int = 0

    def __post_init__(self) -> None:
        where = call("Rule", sender=self.sender, names=self.names, min_ndim=self.min_ndim, min_size=self.min_size)
        if not isinstance(self.sender, Link | LowRank | Stages | None):
            raise ValueError(fault(where, "sender is a link, LowRank, Stages of links, or None", self.sender, LINKS))
        if not isinstance(self.names, str):
            raise ValueError(fault(where, "names is one pattern", self.names, "For several, several rules."))
        for name in ("min_ndim", "min_size"):
            if type(value := getattr(self, name)) is not int or value < 0:
                raise ValueError(fault(where, f"{name} is a whole number, at least 0", value))

    def covers(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether this rule is about the parameter of that name and shape."""
        return fnmatchcase(name, self.names) and len(shape) >= self.min_ndim and prod(shape) >= self.min_size

    def __str__(self) -> str:
        limits = [f"{name}={value}" for name in ("min_ndim", "min_size") if (value := getattr(self, name))]
        return f"rule({', '.join([text_of(self.sender), repr(self.names), *limits])})"


@dataclass(frozen=True, init=False)
class Policy:
    """Which parameters travel by what: the first rule that covers one decides; what none covers is sent as it is.

    A link alone, where a policy could stand, means `Policy.usual(link)`. A rule that decides about no parameter of the
    model is named in a warning, or with `strict` in an error.

    Raises:
        ValueError: no rule, or what is none.

    >>> import thinwire as tw
    >>> fine, coarse = tw.diana(tw.Rotated(bits=3)), tw.diana(tw.Rotated(bits=1))
    >>> policy = tw.Policy(tw.Rule(fine, "*embedding*"), tw.Rule(coarse, min_ndim=2, min_size=1024))
    >>> [policy.number("embedding.weight", (256, 64)), policy.number("0.weight", (64, 64)), policy.number("b", (64,))]
    [0, 1, None]
    """

    rules: tuple[Rule, ...]

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise ValueError(fault("Policy()", "a policy has a rule at least", None, "Rule(None): all as it is."))
        if odd := [rule for rule in rules if not isinstance(rule, Rule)]:
            way_out = "Policy.usual(link) is the policy that a link alone means."
            raise ValueError(fault("Policy(…)", "a policy is made of rules", odd[0], way_out))
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

    def idle(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """What is to be said of rules that decide about none of these parameters, given as {name: shape}.

        >>> import thinwire as tw
        >>> tw.Policy(tw.Rule(tw.dcgd(tw.Rotated(bits=3)), "*embeding*")).idle({"embedding.weight": (256, 64)})
        ["rule(dcgd(rotated(bits=3)), '*embeding*') covers no parameter of this model"]
        """
        said, left = [], set(shapes)
        for rule in self.rules:
            covered = {name for name, shape in shapes.items() if rule.covers(name, shape)}
            if not covered:
                said.append(f"{rule} covers no parameter of this model")
            elif not covered & left:
                said.append(f"{rule} decides about no parameter: the rules before it cover all that it covers")
            left -= covered
        return said

    def __str__(self) -> str:
        first = self.rules[0].sender
        if first is not None and self == Policy.usual(first):
            return text_of(first)
        return f"policy({', '.join(map(str, self.rules))})"


def text_of(sender: Sender | None) -> str:
    """A sender as text, the same on all workers if it is the same."""
    if sender is None:
        return "as it is"
    return str(sender) if isinstance(sender, Stages) else to_text(sender)
