"""Files of measurements: which kind each one is, told from what is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from thinwire._check import fault
from thinwire.pages.advised import advice, advice_convex, probe
from thinwire.pages.frontier import frontier
from thinwire.pages.measured import TITLES, bench, demo, example
from thinwire.pages.predicted import predictions, scale
from thinwire.pages.solving import solving
from thinwire.pages.training import training
from thinwire.report.document import Section
from thinwire.report.runlog import KIND, RunLog, parse_log

Told = Mapping[str, Any]
KINDS: dict[str, tuple[str, Callable[[Told], bool], Callable[[str, Told], Section]]] = {
    "bench": ("thinwire bench --json", lambda told: told.get("benchmark") in TITLES, bench),
    "demo": ("thinwire demo", lambda told: {"transport", "baseline", "runs"} <= told.keys(), demo),
    "solve": ("thinwire solve --json", lambda told: {"methods", "problem", "tol"} <= told.keys(), solving),
    "scale": ("thinwire scale --json", lambda told: {"points", "fastest_from", "break_even"} <= told.keys(), scale),
    "probe": ("thinwire probe --json", lambda told: told.get("kind") == "probe", probe),
    "advice": ("thinwire advise --json", lambda told: told.get("kind") == "advice", advice),
    "convex advice": (
        "thinwire advise --convex --json",
        lambda told: told.get("kind") == "advice-convex",
        advice_convex,
    ),
    "predictions": ("benchmarks/calibrate.py", lambda told: {"steps", "sources"} <= told.keys(), predictions),
    "example": ("a script in examples/ with --save", lambda told: "grids" in told, example),
}
"""Kinds of JSON: who writes them, how they are told, and what part of the page they become."""
LINES = {"training log": "wire.log", "frontier": "benchmarks/frontier.py"}
"""Kinds of JSON Lines."""


def read(paths: Sequence[Path]) -> tuple[list[Section], dict[Path, str]]:
    """The parts of the page, training logs together and first, and the kind of each file.

    Raises:
        ValueError: a file that cannot be read, or is of no known kind.
    """
    logs: list[RunLog] = []
    sections: list[Section] = []
    kinds: dict[Path, str] = {}
    for path, name in zip(paths, names(paths), strict=True):
        text = _text(path)
        first = _first(text)
        if first.get("kind") == KIND:
            kinds[path] = "training log"
            logs.append(parse_log(name, text))
        elif "session" in first or "config" in first:
            kinds[path] = "frontier"
            sections.append(_made(path, "frontier", partial(frontier, name, _lines(text))))
        else:
            told = _json(path, text)
            kind = next((kind for kind, (_, fits, _) in KINDS.items() if fits(told)), None)
            if kind is None:
                raise _unknown(path)
            kinds[path] = kind
            sections.append(_made(path, kind, partial(KINDS[kind][2], name, told)))
    if logs:
        sections.insert(0, training(logs))
    return sections, kinds


def names(paths: Sequence[Path]) -> list[str]:
    """What each file is called: its name without the ending, and as many of its folders as tell it from the others.

    >>> names([Path("a/run.jsonl"), Path("b/run.jsonl")]), names([Path("runs/a.jsonl"), Path("runs/b.jsonl")])
    (['a/run', 'b/run'], ['a', 'b'])
    """
    parts = [Path(os.path.abspath(path)).with_suffix("").parts for path in paths]
    deepest = max(map(len, parts), default=1)
    for depth in range(1, deepest + 1):
        found = ["/".join(part[-depth:]) for part in parts]
        if len(set(found)) == len(found):
            break
    return found if parts else []


def _made(path: Path, kind: str, make: Callable[[], Section]) -> Section:
    try:
        return make()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        rule = f"it looks like the JSON of {kind}, but is not whole ({type(error).__name__}: {error})"
        raise ValueError(fault(f"report: {str(path)!r}", rule, None, "Measure anew with this version.")) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        rule = f"the file cannot be read: {error.strerror or error}"
        raise ValueError(fault(f"report: {str(path)!r}", rule)) from error
    except UnicodeDecodeError:
        raise _unknown(path) from None


def _first(text: str) -> Told:
    """The first line, if it is a JSON object by itself."""
    try:
        told = json.loads(text.partition("\n")[0])
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _lines(text: str) -> list[Told]:
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def _json(path: Path, text: str) -> Told:
    try:
        told = json.loads(text)
    except ValueError:
        raise _unknown(path) from None
    if not isinstance(told, dict):
        raise _unknown(path)
    return told


def _unknown(path: Path) -> ValueError:
    known = ", ".join([*LINES.values(), *(writer for writer, _, _ in KINDS.values())])
    rule = f"it is of no known kind; there are files of {known}"
    return ValueError(fault(f"report: {str(path)!r}", rule, None, "Leave it out, or measure with one of these."))
