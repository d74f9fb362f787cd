"""What the command line calls losses, rules and oracles, and how methods are written there."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import thinwire as tw
from thinwire._check import fault, one_of
from thinwire.convex.methods.base import Rule

T = TypeVar("T")

LOSSES: dict[str, Callable[..., tw.FiniteSum]] = {
    "logistic": tw.LogisticLoss,
    "squared": tw.SquaredLoss,
    "softmax": tw.SoftmaxLoss,
    "huber": tw.HuberLoss,
    "squared-hinge": tw.SquaredHingeLoss,
    "nonconvex-logistic": tw.NonconvexLogistic,
}
ORACLES: dict[str, Callable[..., tw.Oracle]] = {
    "full": tw.Full,
    "minibatch": tw.Minibatch,
    "lsvrg": tw.LSVRG,
    "saga": tw.SAGA,
    "page": tw.PAGE,
}
RULES: dict[str, Callable[..., Rule]] = {
    "gradient": tw.Gradient,
    "partial": tw.Partial,
    "nesterov": tw.Nesterov,
    "adiana": tw.ADIANA,
    "dore": tw.DORE,
    "mcm": tw.MCM,
    "ef21p": tw.EF21P,
    "scaffnew": tw.Scaffnew,
    "locodl": tw.LoCoDL,
    "intsgd": tw.IntSGD,
    "intdiana": tw.IntDIANA,
}
BUNDLED = {"logistic": "breast_cancer", "softmax": "digits", "squared": "diabetes", "huber": "diabetes"}
"""The data set of a loss where none is given; breast_cancer for the others."""


@dataclass(frozen=True)
class Call:
    """A name with arguments, as in "lsvrg(batch=8)"; compressors among them are written as in links.

    >>> Call.of("--oracle", "lsvrg(batch=8)", ORACLES).make(ORACLES)
    LSVRG(batch=8, p=None)
    """

    where: str
    name: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    @classmethod
    def of(cls, option: str, text: str, known: Mapping[str, object]) -> Call:
        """Read a text; ValueError where it is none, or names what is not known."""
        where = f"{option} {text!r}"
        found = re.fullmatch(r"([\w-]+)\s*(\(.*\))?", text.strip(), re.DOTALL)
        if found is None:
            raise ValueError(fault(where, f"it is one of {', '.join(known)}, with arguments or without"))
        name, arguments = found[1], found[2] or "()"
        one_of(where, option.lstrip("-"), name, known)
        try:
            tree = ast.parse(f"f{arguments}", mode="eval").body
        except SyntaxError as error:
            raise ValueError(fault(where, f"it is a name and arguments: {error.msg}")) from None
        if not isinstance(tree, ast.Call) or any(keyword.arg is None for keyword in tree.keywords):
            raise ValueError(fault(where, "it is a name and arguments"))
        named = {str(keyword.arg): _value(keyword.value) for keyword in tree.keywords}
        return cls(where, name, tuple(_value(node) for node in tree.args), named)

    def takes(self, known: Mapping[str, Callable[..., object]], argument: str) -> bool:
        """Whether it has an argument of this name, which was not given."""
        return argument in inspect.signature(known[self.name]).parameters and argument not in self.named

    def make(self, known: Mapping[str, Callable[..., T]], *more: Any, **also: Any) -> T:
        """Call it, with positional arguments before its own and named ones beside them."""
        takes = inspect.signature(known[self.name])
        try:
            takes.bind(*more, *self.positional, **self.named, **also)
        except TypeError as error:
            raise ValueError(fault(self.where, f"{self.name}: {error}")) from None
        return known[self.name](*more, *self.positional, **self.named, **also)


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return tw.parse_compressor(ast.unparse(node))


@dataclass(frozen=True)
class Method:
    """One row of the comparison: `text` is what was typed."""

    text: str
    link: tw.Link
    rule: Rule
    oracle: tw.Oracle
    step: float | str

    @property
    def dense(self) -> bool:
        """Whether it is gradient descent with whole vectors, which the others' bytes are measured by."""
        plain = self.link.method == "dcgd" and isinstance(self.link.compressor, tw.Identity)
        return plain and self.rule == tw.Gradient() and self.oracle == tw.Full()


def read_method(text: str, rule: str, oracle: str, step: str, batch: int | None) -> Method:
    """A link; or PARTS: LINK, where the parts, in any order, replace the rule, the oracle and the step.

    Without a link, as in "scaffnew:", it is the rule's usual one.

    >>> read_method("lsvrg(batch=4) theory*2: diana(ternary)", "gradient", "full", "theory", None).step
    'theory*2'
    """
    before, colon, link = text.rpartition(":")
    for part in re.findall(r"[^\s(]+(?:\((?:[^()]|\([^()]*\))*\))?", before) if colon else ():
        name = part.partition("(")[0]
        if name in RULES:
            rule = part
        elif name in ORACLES:
            oracle = part
        elif name.startswith("theory") or _is_number(name):
            step = part
        else:
            rule_text = "before the colon stand a rule, an oracle or a step"
            way_out = f"Rules: {', '.join(RULES)}. Oracles: {', '.join(ORACLES)}. Steps: theory, theory*8, 0.1."
            raise ValueError(fault(f"method {text!r}", rule_text, part, way_out))
    asked = Call.of("--oracle", oracle, ORACLES)
    also = {"batch": batch} if batch is not None and asked.takes(ORACLES, "batch") else {}
    made = Call.of("--rule", rule, RULES).make(RULES)
    return Method(
        text.strip(),
        tw.parse_link(link.strip() or made.usual),
        made,
        asked.make(ORACLES, **also),
        float(step) if _is_number(step) else step,
    )


def read_methods(texts: Sequence[str], rule: str, oracle: str, step: str, batch: int | None) -> tuple[Method, ...]:
    """All methods, each once; the arguments are those of `read_method`.

    >>> made = read_methods(["diana(ternary)", "saga: diana(ternary)"], "gradient", "full", "theory", 4)
    >>> [method.oracle for method in made]
    [Full(), SAGA(batch=4)]
    """
    made = {text: read_method(text, rule, oracle, step, batch) for text in (text.strip() for text in texts) if text}
    if batch is not None and not any(method.oracle.batch == batch for method in made.values()):
        raise ValueError(
            fault("--batch", "no oracle here draws samples", batch, "Add --oracle lsvrg, saga or minibatch.")
        )
    return tuple(made.values())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
