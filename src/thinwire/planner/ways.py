"""The ways to solve a problem that are weighed: rule × link × oracle × step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from thinwire.convex import ADIANA, LSVRG, Full, Gradient, LoCoDL, Nesterov, Oracle, Scaffnew
from thinwire.convex.methods.base import Rule
from thinwire.link import Link
from thinwire.spec import parse_link

PLAIN = "dcgd(identity())"
EXACT = Full()
CODES = ("natural()", "dither(bits=4)", "rotated(bits=3)", "rotated(bits=2)", "rotated(bits=1)", "ternary()")
FRACTIONS = (0.5, 0.25, 0.1, 0.03)
"""Of the coordinates: what Rand-K keeps, which natural or ternary compression then shortens."""
KEPT = (0.25, 0.1, 0.03)
"""The same for Top-K."""
BATCHES = (0.05, 0.2)
"""Of a worker's rows."""
LONGER = {"locodl": (), "adiana": (2.0, 4.0, 8.0), "diana": (2.0, 4.0), "ef21": (4.0, 16.0, 64.0)}
"""Steps beyond theory's, by so many times. What is known of them is what a trial shows. LoCoDL's is already the longest
that gradient descent allows."""
RULES: dict[str, Rule] = {
    "gradient": Gradient(),
    "nesterov": Nesterov(),
    "adiana": ADIANA(),
    "scaffnew": Scaffnew(),
    "locodl": LoCoDL(),
}


@dataclass(frozen=True)
class Way:
    """One way: what `thinwire solve` and `solve` take.

    Args:
        rule: a name of `RULES`.
        link: as text.
        oracle: where the workers' vectors come from.
        times: the step, so many times theory's.

    >>> Way("locodl", "dcgd(rotated(bits=1))", times=2.0).text
    'locodl theory*2: dcgd(rotated(bits=1))'
    """

    rule: str
    link: str
    oracle: Oracle = EXACT
    times: float = 1.0

    @property
    def text(self) -> str:
        """As `thinwire solve --compare` reads it."""
        parts = [self.rule] if self.rule != "gradient" else []
        if isinstance(self.oracle, LSVRG):
            parts.append(f"lsvrg(batch={self.oracle.batch})")
        if self.times != 1:
            parts.append(f"theory*{self.times:g}")
        return f"{' '.join(parts)}: {self.link}" if parts else self.link

    @property
    def dense(self) -> bool:
        """Whether vectors travel whole."""
        return self.link == PLAIN

    @property
    def root(self) -> Way:
        """The same way at theory's step."""
        return replace(self, times=1.0)

    @property
    def family(self) -> str:
        """Ways that theory treats alike, and is alike in error about."""
        if self.oracle != EXACT:
            return f"lsvrg {self.link.partition('(')[0]}"
        return self.link.partition("(")[0] if self.rule == "gradient" else self.rule

    @property
    def slows(self) -> bool:
        """Whether its rate can only fall: of gradient descent on a quadratic, the logarithm of the gap is convex."""
        return self.rule == "gradient"

    @property
    def messages(self) -> int:
        """What a worker sends in a round, one after the other."""
        return 2 if self.rule == "adiana" else 1

    def parsed(self) -> Link:
        """The link."""
        return parse_link(self.link)


def ways(d: int, n: int, m: int) -> Iterator[Way]:
    """All that are weighed for vectors of d, n workers, and m rows in the largest shard; theory refuses some later.

    >>> texts = [way.text for way in ways(100, 20, 400)]
    >>> texts[:3]
    ['dcgd(identity())', 'nesterov: dcgd(identity())', 'scaffnew: dcgd(identity())']
    """
    for rule in ("gradient", "nesterov", "scaffnew"):
        yield Way(rule, PLAIN)
    codes = list(CODES)
    if n <= d:
        codes.append("permk() >> natural()")
    codes += [
        f"randk({part:g}) >> {code}" for part in FRACTIONS if part * d >= 1 for code in ("natural()", "ternary()")
    ]
    for rule, link in (("locodl", "dcgd"), ("adiana", "diana"), ("gradient", "diana")):
        longer = LONGER[rule if rule in LONGER else link]
        yield from (Way(rule, f"{link}({code})", times=times) for code in codes for times in (1.0, *longer))
    links = [f"ef21(topk({part:g}))" for part in KEPT if part * d >= 1]
    yield from (Way("gradient", link, times=times) for link in links for times in (1.0, *LONGER["ef21"]))
    for batch in sorted({max(1, round(part * m)) for part in BATCHES}):
        if batch < m:
            yield from (Way("gradient", link, LSVRG(batch=batch)) for link in (PLAIN, "diana(rotated(bits=1))"))
