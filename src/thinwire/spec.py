"""Links and compressors as text, for command lines and configuration files: `"diana(randk(0.1) >> dither(bits=4))"`.

The text is a Python expression over the lower-case names of the compressors and presets, read as data: nothing of it
is ever evaluated.
"""

from __future__ import annotations

import ast
import inspect
import math
from difflib import get_close_matches
from typing import Any

from thinwire import compressors
from thinwire._check import fault
from thinwire.compressors import Chain, Compressor, Scaled
from thinwire.link import Link
from thinwire.lowrank import LowRank
from thinwire.presets import PRESETS

COMPRESSORS: dict[str, type[Compressor]] = {
    "identity": compressors.Identity,
    "float16": compressors.Float16,
    "bfloat16": compressors.BFloat16,
    "dither": compressors.Dither,
    "ternary": compressors.Ternary,
    "natural": compressors.Natural,
    "natural_dither": compressors.NaturalDither,
    "rotated": compressors.Rotated,
    "sign": compressors.Sign,
    "randk": compressors.RandK,
    "permk": compressors.PermK,
    "topk": compressors.TopK,
    "induced": compressors.Induced,
}
NAMES = {cls: name for name, cls in COMPRESSORS.items()}


def parse_sender(text: str) -> Link | LowRank:
    """What gradients may travel by, as a text names it: a link, or lowrank(rank).

    Raises:
        ValueError: as for `parse_link`.

    >>> parse_sender("lowrank(4)"), parse_sender("diana(rotated(1))")
    (LowRank(rank=4), diana(Rotated(bits=1)))
    """
    made = _parse(text)
    return made if isinstance(made, LowRank) else parse_link(text)


def parse_link(text: str) -> Link:
    """The link that a text names.

    Raises:
        ValueError: the text is no expression, or names something that does not exist; the message lists what does.

    >>> parse_link("diana(randk(0.1) >> dither(bits=4))")
    diana(RandK(k=0.1) >> Dither(bits=4))
    """
    made = _parse(text)
    if isinstance(made, LowRank):
        way_out = "Use it in attach, or in reduce_gradients_."
        raise ValueError(fault(f"link {text!r}", f"{made!r} carries matrices of gradients, no vectors", None, way_out))
    if not isinstance(made, Link):
        raise ValueError(fault(f"link {text!r}", "a link is a preset", made, f"For example diana({text.strip()})."))
    return made


def parse_compressor(text: str) -> Compressor:
    """The compressor that a text names; errors as for `parse_link`.

    >>> parse_compressor("randk(0.01, block=64).contractive()").delta(6400)
    0.01
    """
    made = _parse(text)
    if not isinstance(made, Compressor):
        raise ValueError(fault(f"compressor {text!r}", "it names a compressor", made))
    return made


def to_text(what: Link | LowRank | Compressor) -> str:
    """The text that `parse_sender`, `parse_link` or `parse_compressor` turns back into an equal object.

    >>> to_text(parse_link("ef21( topk(0.01,block = 1024) )"))
    'ef21(topk(0.01, block=1024))'
    """
    if isinstance(what, LowRank):
        return f"lowrank({what.rank}{'' if what.memory else ', memory=False'})"
    if isinstance(what, Link):
        inner = [] if what.method == "lag" else [to_text(what.compressor)]
        return f"{what.method}({', '.join(inner + ([] if what.zeta is None else [f'zeta={what.zeta}']))})"
    if isinstance(what, Chain):
        return f"{to_text(what.select)} >> {to_text(what.code)}"
    if isinstance(what, Scaled):
        inner_text = to_text(what.inner)
        return f"({inner_text}).contractive()" if isinstance(what.inner, Chain) else f"{inner_text}.contractive()"
    shown = []
    for name, value in what.arguments().items():
        text = to_text(value) if isinstance(value, Compressor) else "inf" if value == math.inf else repr(value)
        shown.append(text if name in ("k", "biased", "remainder") else f"{name}={text}")
    return f"{NAMES[type(what)]}({', '.join(shown)})"


def _parse(text: str) -> Any:
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body, text)
    except (SyntaxError, RecursionError, MemoryError) as error:  # the last two: nested too deeply for the parser
        why = getattr(error, "msg", "too many levels")
        raise ValueError(
            fault(f"spec {text!r}", "it is an expression such as 'diana(randk(0.1) >> dither(bits=4))'", why)
        ) from None


def _value(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id="inf"):
            return math.inf
        case ast.Name(id=name):
            return _call(name, (), {}, text)
        case ast.BinOp(left=left, op=ast.RShift(), right=right):
            first, second = _value(left, text), _value(right, text)
            if not (isinstance(first, Compressor) and isinstance(second, Compressor)):
                raise ValueError(
                    fault(f"spec {text!r}", "both sides of >> are compressors", f"{first!r} >> {second!r}")
                )
            try:
                return first >> second
            except TypeError as error:
                raise ValueError(fault(f"spec {text!r}", str(error))) from None
        case ast.Call(func=ast.Attribute(value=inner, attr="contractive"), args=[], keywords=[]):
            made = _value(inner, text)
            if isinstance(made, Compressor):
                return made.contractive()
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if all(k.arg for k in keywords):
            named = {str(keyword.arg): _value(keyword.value, text) for keyword in keywords}
            if len(named) < len(keywords):
                raise ValueError(fault(f"spec {text!r}", f"{name}: an argument is given once", ast.unparse(node)))
            return _call(name, tuple(_value(arg, text) for arg in args), named, text)
    raise ValueError(
        fault(f"spec {text!r}", "only names, calls, numbers, texts and >> may stand here", ast.unparse(node))
    )


def _call(name: str, args: tuple[Any, ...], named: dict[str, Any], text: str) -> Any:
    known: dict[str, Any] = {**COMPRESSORS, **PRESETS, "lowrank": LowRank}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        listed = f"Compressors: {', '.join(COMPRESSORS)}. Presets: {', '.join(PRESETS)}. Matrices: lowrank."
        raise ValueError(fault(f"spec {text!r}", "this name does not exist", name, hint + listed))
    make = known[name]
    takes = inspect.signature(make)
    try:
        takes.bind(*args, **named)
    except TypeError as error:
        raise ValueError(
            fault(f"spec {text!r}", f"{name}: {error}", None, f"It is {name}{takes_text(takes)}.")
        ) from None
    try:
        return make(*args, **named)
    except TypeError as error:
        raise ValueError(fault(f"spec {text!r}", f"{name}: {error}")) from None


def takes_text(signature: inspect.Signature) -> str:
    """A signature as a user types it: names and defaults, no types."""
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in signature.parameters.values()]
    return f"({', '.join(shown)})"
