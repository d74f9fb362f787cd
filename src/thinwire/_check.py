"""Argument checks and the one format of thinwire's error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def fault(where: str, rule: str, given: object = None, way_out: str = "") -> str:
    """`where`: the rule; what was given; the way out.

    >>> fault("Dither(bits=9)", "bits must be 2 to 8", 9, "Use Float16() for more.")
    'Dither(bits=9): bits must be 2 to 8; got 9. Use Float16() for more.'
    """
    text = f"{where}: {rule}"
    if given is not None:
        text += f"; got {given!r}"
    if not text.endswith("."):
        text += "."
    return f"{text} {way_out}".rstrip()


def call(cls: str, **arguments: Any) -> str:
    """How a call is shown in messages.

    >>> call("RandK", k=0.1)
    'RandK(k=0.1)'
    """
    return f"{cls}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def in_range(where: str, name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(fault(where, f"{name} must be {low} to {high}", value))


def one_of(where: str, name: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError, listing what exists, unless value is one of choices."""
    listed = list(choices)
    if value not in listed:
        near = get_close_matches(str(value), [str(choice) for choice in listed], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        raise ValueError(fault(where, f"{name} must be one of {', '.join(map(repr, listed))}", value, hint))
