"""Checkpoints in a folder: a file for each rank, written whole or not at all, and a list of them when all are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch

from thinwire._check import fault
from thinwire.comm import Group, ProcessGroup
from thinwire.training.state import together

LIST, SHARED = "complete.json", "shared.pt"
NAME = re.compile(r"step-(\d+)")


class Shared(Protocol):
    """What is the same on all ranks: a model, an optimiser, a schedule, a GradScaler."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Remembers(Protocol):
    """What has a memory on each rank: a Wire, a LinkMemory."""

    @property
    def group(self) -> Group | None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any] | None, /, *, strict: bool = True) -> None: ...


class Checkpoints:
    """A training's checkpoints, in a folder that all workers can reach.

    Each rank writes its own memory, rank 0 also what all ranks have alike. A file is written beside its place, made to
    reach the disk, and then put there; when all ranks have written theirs, rank 0 writes the list that makes the
    checkpoint complete, with the length and the CRC-32 of each file. What is not complete does not count.

    Args:
        folder: where, one for each training; it is made if it is not there. In it, `step-00001000/` holds `rank-0.pt`,
            …, `shared.pt` and `complete.json`.
        wire: what `attach` returned, or a LinkMemory.
        keep: complete checkpoints that stay, the latest ones.
        shared: by name, what has a `state_dict` that is the same on all ranks: the model, the optimiser, …

    >>> import tempfile, torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> def training(folder, steps):
    ...     model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     wire = tw.attach(model, "diana(rotated(bits=2))")
    ...     checkpoints = tw.Checkpoints(folder, wire, model=model, optimizer=optimizer)
    ...     start = checkpoints.load()
    ...     for step in range(start, steps):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(8, 64)).square().mean().backward()
    ...         optimizer.step()
    ...         checkpoints.save(step + 1)
    ...     wire.close()
    ...     return start
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     training(folder, steps=3), training(folder, steps=5)
    (0, 3)
    >>> dist.destroy_process_group()
    """

    def __init__(self, folder: str | Path, wire: Remembers, *, keep: int = 2, **shared: Shared) -> None:
        self.folder = Path(folder)
        if keep < 1:
            raise ValueError(fault(f"Checkpoints(keep={keep})", "keep must be at least 1"))
        self._wire, self._keep, self._shared = wire, keep, shared
        self._group = wire.group or ProcessGroup()
        self._mine = f"rank-{self._group.ranks.start}.pt"
        self._first = self._group.ranks.start == 0

    def save(self, step: int) -> None:
        """Write the checkpoint of this step. All workers call this together, between two backward passes.

        Raises:
            OSError: this rank could not write. PeerError: another one could not. The checkpoint does not count then.
            ValueError: something in it could not be loaded again: tensors, numbers, texts, lists and dicts can.
        """
        place, files, failure = self._place(step), dict[str, list[int]](), None
        try:
            place.mkdir(parents=True, exist_ok=True)
            if self._first:
                (place / LIST).unlink(missing_ok=True)
                files[SHARED] = _write(place / SHARED, {name: s.state_dict() for name, s in self._shared.items()})
            files[self._mine] = _write(place / self._mine, self._wire.state_dict())
        except Exception as error:  # whatever it is, all are told, so that nobody waits
            failure = error
        together(self._group, "Checkpoints", failure)
        everyone = self._gathered(*files[self._mine])
        try:
            if self._first:
                held = len(self._group.ranks)
                files |= {f"rank-{held * p}.pt": row for p, row in enumerate(everyone[::held])}
                _replace(place / LIST, json.dumps({"step": step, "files": files}).encode())
                self._tidy(step)
        except OSError as error:
            failure = error
        together(self._group, "Checkpoints", failure)

    def load(self, *, strict: bool = True) -> int:
        """Go on from the latest complete checkpoint; gives its step, or 0 if there is none. All workers call it.

        On another number of workers too: rank r takes what the old rank r saved, if there was one, and otherwise joins
        (`Wire.load_state_dict`). A checkpoint of which any rank finds a file damaged is named in a warning, and the one
        before it is taken.

        Args:
            strict: as for `Wire.load_state_dict`.

        Raises:
            ValueError: all that is there is damaged, or does not fit.
            PeerError: another worker's memory was refused.
        """
        steps, spoilt = (self._complete() if self._first else []), False
        while (step := self._gathered(steps.pop() if steps else -1)[0][0]) >= 0:
            failure: Exception | None = None
            mine: dict[str, Any] | None = None
            shared: dict[str, Any] = {}
            try:
                files = _listed(self._place(step) / LIST)
                shared = _read(self._place(step) / SHARED, files[SHARED])
                mine = _read(self._place(step) / self._mine, files[self._mine]) if self._mine in files else None
            except Exception as error:  # of unpickling too: whatever the bytes happen to mean
                failure = error
            try:
                together(self._group, "Checkpoints", failure)
            except Exception as error:
                warnings.warn(f"thinwire: the checkpoint of step {step} is left out: {error}", stacklevel=2)
                spoilt = True
                continue
            together(self._group, "Checkpoints", self._unlike(shared))
            self._wire.load_state_dict(mine, strict=strict)
            for name, part in self._shared.items():
                part.load_state_dict(shared[name])
            return step
        if spoilt:
            raise ValueError(fault(f"Checkpoints({str(self.folder)!r})", "none of its checkpoints can be read"))
        return 0

    def _unlike(self, shared: Mapping[str, Any]) -> ValueError | None:
        if shared.keys() == self._shared.keys():
            return None
        rule = f"beside the memory of the wire it holds {', '.join(shared) or 'nothing'}"
        return ValueError(fault("Checkpoints", rule, [*self._shared], "Name the same objects as when saving."))

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _all(self) -> dict[int, Path]:
        """All steps of which there is something, and where."""
        found = {path: NAME.fullmatch(path.name) for path in self.folder.glob("step-*")}
        return {int(match[1]): path for path, match in found.items() if match}

    def _complete(self) -> list[int]:
        """The steps whose checkpoints are complete, in order."""
        return sorted(step for step, path in self._all().items() if (path / LIST).exists())

    def _tidy(self, step: int) -> None:
        """Remove what is older than the checkpoints that stay, complete or not."""
        stay = [s for s in self._complete() if s <= step][-self._keep :]
        for s, path in self._all().items():
            if s < stay[0]:
                shutil.rmtree(path, ignore_errors=True)

    def _gathered(self, *numbers: int) -> list[list[int]]:
        """What each worker says, in rank order."""
        row = torch.tensor([numbers], dtype=torch.int64).view(torch.uint8).to(self._group.device)
        everyone = self._group.all_gather(row.repeat(len(self._group.ranks), 1)).wait()
        return everyone.cpu().view(torch.int64).tolist()


class _Counted:
    """A file that knows the length and the CRC-32 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = self.sum = 0

    def write(self, data: bytes) -> int:
        self.sum = zlib.crc32(data, self.sum)
        self.length += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write(path: Path, content: Mapping[str, Any]) -> list[int]:
    """Save to a file, whole or not at all; its length and CRC-32. Only what can be loaded again is put there."""
    beside = path.with_name(path.name + ".new")
    try:
        with open(beside, "wb") as file:
            counted = _Counted(file)
            torch.save(dict(content), counted)  # type: ignore[arg-type]  # it only writes
            file.flush()
            os.fsync(file.fileno())
        try:
            torch.load(beside, weights_only=True, mmap=True, map_location="cpu")
        except Exception as error:  # of unpickling: whatever was put in
            rule = f"{path.name} holds what torch.load(…, weights_only=True) refuses ({str(error).splitlines()[0]})"
            raise ValueError(fault("Checkpoints", rule, None, "Leave it out, or save it by other means.")) from error
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _settle(path.parent)
    return [counted.length, counted.sum]


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _listed(path: Path) -> dict[str, list[int]]:
    """Length and CRC-32 of each file of a checkpoint."""
    try:
        return json.loads(path.read_bytes())["files"]  # type: ignore[no-any-return]  # whatever it is, `_read` finds out
    except ValueError as error:
        raise ValueError(fault("Checkpoints", f"{path} is damaged ({error})")) from error


def _read(path: Path, told: list[int]) -> dict[str, Any]:
    """What a file holds, if it is the one that was written."""
    found, length = 0, 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 24):
            found, length = zlib.crc32(piece, found), length + len(piece)
    if [length, found] != told:
        written = f"{told[0]} with {told[1]:08x} were written"
        rule = f"{path} is damaged: {length} bytes with CRC-32 {found:08x}, and {written}"
        raise ValueError(fault("Checkpoints", rule))
    return torch.load(path, weights_only=True, map_location="cpu")  # type: ignore[no-any-return]  # untyped in torch
