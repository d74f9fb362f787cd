"""What a training's log says: its steps in order, those that were done again counted once."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thinwire._check import fault

KIND = "thinwire training log"


@dataclass(frozen=True)
class RunLog:
    """One run: its last header, its lines, how often it went on, and seconds and bytes sent up to each line."""

    name: str
    header: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    sessions: int
    seconds: Sequence[float]
    sent: Sequence[float]

    @property
    def steps(self) -> list[int]:
        """The step that each line ends with."""
        return [line["step"] for line in self.lines]

    @property
    def metrics(self) -> list[str]:
        """The names of numbers that the script added, as they first came."""
        found = (name for line in self.lines for name, value in line["metrics"].items() if _number(value))
        return list(dict.fromkeys(found))

    def metric(self, name: str) -> list[float | None]:
        """A metric by line, None where it was not given or was no finite number."""
        values = (line["metrics"].get(name) for line in self.lines)
        return [value if _number(value) else None for value in values]

    def per_step(self, name: str) -> list[float]:
        """A figure of each line, divided by the line's steps; lines without it are left out."""
        return [line[name] / line["steps"] for line in self.lines if name in line]

    def median(self, name: str) -> float | None:
        """The median of `per_step` after the first tenth of the lines, in which much is made ready; None of nothing."""
        values = self.per_step(name)
        settled = values[len(values) // 10 :] if len(values) > 1 else values
        return statistics.median(settled) if settled else None

    @property
    def errors(self) -> dict[str, float]:
        """Each parameter's median relative error over the steps that looked, in the model's order."""
        seen: dict[str, list[float]] = {}
        for line in self.lines:
            for name, value in line.get("errors", {}).items():
                seen.setdefault(name, []).append(value)
        order = [name for frame in self.header.get("frames", ()) for name in frame["parameters"]][::-1]
        return {name: statistics.median(seen[name]) for name in [*order, *seen] if name in seen}

    @property
    def notes(self) -> list[str]:
        """All that was noted, once."""
        later = (note for line in self.lines for note in line.get("notes", ()))
        return list(dict.fromkeys([*self.header.get("notes", ()), *later]))


def parse_log(name: str, text: str) -> RunLog:
    """A log's text; a last line that is not whole, as while it is being written, is left out.

    A run that went on after a checkpoint did some steps again: the later ones count, with their seconds and bytes.

    Raises:
        ValueError: a line that is no JSON.
    """
    header: Mapping[str, Any] = {}
    kept: list[Mapping[str, Any]] = []
    sessions, fresh = 0, False
    for line in _records(name, text):
        if line.get("kind") == KIND:
            header, fresh = line, True
            sessions += 1
            continue
        if fresh and sessions > 1:
            while kept and kept[-1]["step"] >= line["step"]:
                kept.pop()
        fresh = False
        kept.append(line)
    seconds = _sums(line["seconds"] for line in kept)
    sent = _sums(line["bytes_up"] + line["bytes_down"] for line in kept)
    return RunLog(name, header, kept, sessions, list(seconds), list(sent))


def _records(name: str, text: str) -> Iterator[dict[str, Any]]:
    whole = text[: text.rfind("\n") + 1]
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ValueError(fault(f"{name}, line {number}", f"it is no JSON ({error})")) from None


def _sums(values: Iterable[float]) -> Iterator[float]:
    total = 0.0
    for value in values:
        total += value
        yield total


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
