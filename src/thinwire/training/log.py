"""A training's figures as they come: JSON Lines, a line for each step, and TensorBoard."""

from __future__ import annotations

import atexit
import json
import math
import os
import shlex
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from thinwire._check import fault
from thinwire.link import Link
from thinwire.report.provenance import provenance
from thinwire.report.runlog import KIND
from thinwire.report.values import finite
from thinwire.spec import to_text
from thinwire.training.stats import Tally

if TYPE_CHECKING:
    from thinwire.training.policy import Sender
    from thinwire.training.reducer import Reducer

INTERVAL = 1.0
"""Seconds between two times of writing: what a process that is killed can lose."""
FIGURES = ("bytes_up", "bytes_down", "bytes_in", "dense_bytes", "encode", "wire", "decode", "exposed", "exposed_work")
"""What a line says of a tally, summed over its steps; the last five are not taken of an all-reduce of PyTorch's."""
SHOWN = ("seconds", "bytes_up", "bytes_down", "ratio", "relative_error", "encode", "wire", "decode", "exposed")
"""What TensorBoard is given of a line."""


class Board(Protocol):
    """What is asked of a `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def flush(self) -> None: ...


@dataclass
class _Window:
    """The steps of one line, and what was added to it."""

    begin: float
    end: float
    step: int = 0
    tallies: list[Tally] = field(default_factory=list)
    errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    metrics: dict[str, float | str | None] = field(default_factory=dict)


class Log:
    """The log of a training, which `wire.log` begins.

    The file has a header line and then a line for each step (or each `every` steps): `step`, the last one's number;
    `time`, seconds since the log began; `seconds` of these `steps`, from end to end, so that whatever the loop does is
    in them; the sums of `Tally`'s figures over them; `ratio`; in every 16th step the `relative_error` of what this
    process sent, and `errors` by parameter; `skipped` steps; `notes` that are new; and `metrics`, what the script
    added. NaN and Inf are null.

    A step is charged for the making of a small record. A thread writes what there is once a second, in whole lines, and
    the rest at `close` or at the end of the program.

    >>> import tempfile, torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    >>> wire = tw.attach(model, "dcgd(rotated(bits=3))")
    >>> file = tempfile.mkdtemp() + "/run.jsonl"
    >>> log = wire.log(file)
    >>> for _ in range(3):
    ...     loss = model(torch.randn(8, 64)).square().mean()
    ...     loss.backward()
    ...     log.add(loss=loss, lr=0.1)
    >>> wire.close(); dist.destroy_process_group()
    >>> import json, pathlib
    >>> header, *lines = map(json.loads, pathlib.Path(file).read_text().splitlines())
    >>> header["link"], [line["step"] for line in lines], sorted(lines[0]["metrics"])
    ('dcgd(rotated(bits=3))', [1, 2, 3], ['loss', 'lr'])
    """

    def __init__(
        self, file: Path | None, header: Mapping[str, Any], notes: list[str], every: int = 1, board: Board | None = None
    ) -> None:
        self._file, self._notes, self._every, self._board = file, notes, every, board
        self._noted = len(notes)
        self._start = time.perf_counter()
        self._window = _Window(self._start, self._start)
        self._full: deque[_Window] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if file is not None:
            self._append([header])
            self._thread = threading.Thread(target=self._run, name="thinwire log", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def add(self, **metrics: float | str) -> None:
        """Figures of the script's own for the line of the last step: call it after `backward()`.

        A tensor of one element is read, for which a GPU is waited for; of two of one name the later one stays. On ranks
        that keep no log nothing happens.

        Raises:
            TypeError: neither a number nor a text.
        """
        if self._thread is None:
            return
        read = {name: _plain(name, value) for name, value in metrics.items()}
        with self._lock:
            self._window.metrics |= read

    def close(self) -> None:
        """Write what is left. What comes after it is not logged."""
        if self._thread is None or self._closing.is_set():
            return
        self._closing.set()
        self._thread.join()
        atexit.unregister(self.close)

    def heard(self, step: int, tally: Tally, errors: Mapping[str, tuple[float, float]]) -> None:
        """Take a step that has ended; `tally` may still grow until the next one does."""
        if self._thread is None or self._closing.is_set():
            return
        now = time.perf_counter()
        with self._lock:
            if len(self._window.tallies) == self._every:
                self._full.append(self._window)
                self._window = _Window(self._window.end, self._window.end)
            window = self._window
            window.step, window.end = step, now
            window.tallies.append(tally)
            window.errors.update(errors)
            window.notes += self._notes[self._noted :]
            self._noted = len(self._notes)

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._closing.wait(INTERVAL)
            if ending and (self._window.tallies or self._window.metrics):
                self._full.append(self._window)
            lines = [self._line(self._full.popleft()) for _ in range(len(self._full))]
            if lines:
                self._append(lines)
                self._show(lines)

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        if self._file is None:
            return
        try:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(text)
        except OSError as error:
            self._file = None
            warnings.warn(f"thinwire: the log ends, its file cannot be written ({error}).", stacklevel=2)

    def _line(self, window: _Window) -> dict[str, Any]:
        total = Tally()
        for tally in window.tallies:
            total.add(tally)
        taken = FIGURES if total.encode + total.wire else FIGURES[:4]
        line: dict[str, Any] = {
            "step": window.step,
            "time": round(window.end - self._start, 6),
            "seconds": round(window.end - window.begin, 6),
            "steps": total.steps,
            **{name: round(getattr(total, name), 6) for name in taken},
            "ratio": finite(round(total.ratio, 4)),
            "skipped": total.skipped,
        }
        if window.errors:
            line["relative_error"] = round(total.relative_error, 6)
            line["errors"] = {name: round(_ratio(*pair), 6) for name, pair in window.errors.items()}
        if window.notes:
            line["notes"] = window.notes
        return line | {"metrics": window.metrics}

    def _show(self, lines: list[dict[str, Any]]) -> None:
        if self._board is None:
            return
        try:
            self._give(self._board, lines)
        except Exception as error:  # whatever it is: the file goes on
            self._board = None
            warnings.warn(f"thinwire: TensorBoard is given no more figures ({error}).", stacklevel=2)

    def _give(self, board: Board, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            own = {f"thinwire/{name}": line.get(name) for name in SHOWN}
            errors = {f"thinwire error/{name}": value for name, value in line.get("errors", {}).items()}
            for tag, value in {**own, **errors, **line["metrics"]}.items():
                if isinstance(value, int | float):
                    board.add_scalar(tag, value, line["step"])
        board.flush()


NO_LOG = Log(None, {}, [])
"""Takes everything and keeps nothing."""


def begin(
    path: str | Path,
    rank: int,
    facts: Mapping[str, Any],
    every: int,
    tensorboard: str | Path | Board | None,
    notes: list[str],
) -> Log:
    """A log, on rank 0, or on each where `{rank}` is in the path; on others one that takes figures and drops them.

    An earlier run's log is gone on with: another header, and more lines.

    Raises:
        ValueError: the file cannot be written, or holds something else.
    """
    if every < 1:
        raise ValueError(fault(f"wire.log(every={every})", "every must be at least 1"))
    text = str(path)
    if rank and "{rank}" not in text:
        return NO_LOG
    file = Path(text.replace("{rank}", str(rank)))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _mend(file)
    except OSError as error:
        rule = f"the file cannot be written: {error.strerror or error}"
        raise ValueError(fault(f"wire.log({text!r})", rule, None, "Choose another one.")) from error
    header = {
        "kind": KIND,
        "schema": 1,
        "rank": rank,
        "every": every,
        **facts,
        "notes": list(notes),
        "command": shlex.join(sys.argv),
        "provenance": provenance(),
    }
    return Log(file, header, notes, every, _board(tensorboard))


def facts_of(reducer: Reducer) -> dict[str, Any]:
    """What a header says of a wire: what travels how."""
    frames: list[dict[str, Any]] = [
        {
            "link": None if frame.sender is None else _words(frame.sender),
            "route": carrier.route,
            "parameters": {slot.name: list(slot.shape) for slot in frame.slots},
        }
        for frame, carrier in zip(reducer.frames, reducer.carriers, strict=True)
    ]
    asked = reducer.settings.facts()
    sent = {frame["link"]: None for frame in frames if frame["link"]}
    return {
        **asked,
        "link": ", ".join(sent) or "as they are",
        "policy": asked["link"],
        "workers": reducer.group.size,
        "parameters": sum(frame.d for frame in reducer.frames),
        "frames": frames,
    }


def _words(sender: Sender) -> str:
    return to_text(sender) if isinstance(sender, Link) else str(sender)


def _mend(file: Path) -> None:
    """Make an earlier log end with a whole line; a kill may have cut the last one off."""
    if not file.is_file() or not file.stat().st_size:
        file.touch()
        return
    with file.open("r+b") as old:
        try:
            known = json.loads(old.readline()).get("kind") == KIND
        except (ValueError, AttributeError):
            known = False
        if not known:
            rule = "a log goes on in a file that wire.log made, or begins a new one"
            raise ValueError(fault(f"wire.log({str(file)!r})", rule, None, "Choose another name."))
        old.seek(-1, os.SEEK_END)
        if old.read() != b"\n":
            old.seek(0)
            old.truncate(old.read().rfind(b"\n") + 1)


def _board(wanted: str | Path | Board | None) -> Board | None:
    if not isinstance(wanted, str | Path):
        return wanted
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        way_out = "Install it: pip install 'thinwire[tensorboard]'."
        where = f"wire.log(tensorboard={str(wanted)!r})"
        raise ValueError(fault(where, "TensorBoard is not installed", None, way_out)) from None
    made: Board = SummaryWriter(str(wanted))
    return made


def _plain(name: str, value: object) -> float | str | None:
    """A metric as JSON has it."""
    try:
        number = value.item() if isinstance(value, Tensor) else value
        if isinstance(number, str | int):
            return number
        told: float | None = finite(float(number))  # type: ignore[arg-type]  # whatever is no number is told so
        return told
    except (TypeError, ValueError, RuntimeError):
        rule = "a figure is a number, a tensor of one element, or a text"
        raise TypeError(fault(f"log.add({name}=…)", rule, type(value).__name__)) from None


def _ratio(wrong: float, told: float) -> float:
    return math.sqrt(wrong / told) if told else 0.0
