"""A run's state on disk, a file for each rank: the last two, so that all have one in common wherever they stopped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thinwire._check import fault
from thinwire.comm import Group
from thinwire.convex.wire import Exact

KEPT = 2


class Checkpoint:
    """States by round, in one file.

    Args:
        path: where; "{rank}" in it becomes the first rank that this process holds.
        group: the workers.
        exact: to find the round that all have.
        run: a description of the run, which the state must be of.

    Raises:
        ValueError: the file is another run's.
    """

    def __init__(self, path: str | Path, group: Group, exact: Exact, run: str) -> None:
        name = str(path)
        if "{rank}" not in name and len(group.ranks) < group.size:
            rule = "each rank needs a file of its own"
            raise ValueError(fault(f"checkpoint={name!r}", rule, None, "Put {rank} into its name."))
        self.path = Path(name.replace("{rank}", str(group.ranks.start)))
        self._group, self._exact = group, exact
        self._run = hashlib.sha256(run.encode()).hexdigest()
        self._states: dict[int, Any] = {}

    def save(self, k: int, state: dict[str, Any]) -> None:
        """Write the state after k rounds; a file is replaced whole, or not at all."""
        self._states[k] = state
        while len(self._states) > KEPT:
            del self._states[min(self._states)]
        beside = self.path.with_name(self.path.name + ".new")
        torch.save({"run": self._run, "states": self._states}, beside)
        os.replace(beside, self.path)

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """The latest round that all ranks have, and its state; None if a rank has none."""
        where = f"checkpoint={str(self.path)!r}"
        if not self.path.parent.is_dir():
            raise ValueError(fault(where, "its folder does not exist", None, "Make it first."))
        if self.path.exists():
            try:
                found = torch.load(self.path, weights_only=False)
                run = found["run"]
            except Exception as error:  # of unpickling: whatever the bytes happen to mean
                rule = f"it is no checkpoint of a solver ({type(error).__name__})"
                raise ValueError(fault(where, rule, None, "Name another file, or remove it.")) from error
            if run != self._run:
                rule = "the state in it is another run's: of other data, parts, step or seed"
                way_out = "Name another file, or remove it."
                raise ValueError(fault(where, rule, None, way_out))
            self._states = dict(found["states"])
        rounds = np.full((len(self._group.ranks), KEPT), -1.0)
        rounds[:, : len(self._states)] = sorted(self._states)
        everyone = self._exact.all(rounds)
        common = set(everyone[0]).intersection(*map(set, everyone[1:])) - {-1.0}
        if not common:
            return None
        k = int(max(common))
        return k, self._states[k]
