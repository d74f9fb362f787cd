"""What the workers of one fit know together: that they do the same, sums over all rows, and lists of all classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thinwire._check import fault
from thinwire.comm import Group, PeerError
from thinwire.convex.wire import Exact, Traffic

Array = npt.NDArray[Any]


class Peers:
    """The workers of one fit, each process with rows of its own. All that it answers has the same bits everywhere.

    Args:
        group: who they are.
        seed: of all their draws.

    >>> import thinwire as tw
    >>> peers = Peers(tw.LocalGroup(3))
    >>> peers.sum(np.array([1.0, 2.0])), peers.classes("fit(X, y)", np.array(["b", "a", "b"]))
    (array([1., 2.]), array(['a', 'b'], dtype='<U1'))
    """

    def __init__(self, group: Group, seed: int = 0) -> None:
        self.group, self.seed = group, seed
        self._exact = Exact(group, Traffic())
        self._alone = len(group.ranks) == group.size

    def agree(self, facts: Mapping[str, object]) -> None:
        """Raise PeerError, naming what differs, unless all processes hold the same facts."""
        self.group.agree(facts)

    def sum(self, mine: Array) -> Array:
        """Σ over processes of a vector, (k,), in float64 and in rank order."""
        mine = np.asarray(mine, np.float64)
        if self._alone:
            return mine
        rows = np.zeros((len(self.group.ranks), mine.size))
        rows[0] = mine
        made: Array = self._exact.all(rows).sum(axis=0)
        return made

    def classes(self, where: str, y: Array) -> Array:
        """The union of all processes' labels, in order: numbers or texts.

        Raises:
            ValueError: there is one class only.
            PeerError: some labels are numbers, some are not.
        """
        mine = np.unique(y)
        everyone = mine if self._alone else self._union(where, mine)
        if len(everyone) < 2:
            raise ValueError(fault(where, "y must have at least two classes, not one class only", everyone.tolist()))
        return everyone

    def _union(self, where: str, mine: Array) -> Array:
        numbers = mine.dtype.kind in "fiub"
        self.agree({"labels": "numbers" if numbers else "texts"})
        try:
            text = json.dumps(mine.tolist()).encode()  # digits and signs enough to give every number back
        except TypeError:
            rule = "across processes labels must be numbers or texts"
            raise PeerError(fault(where, rule, type(mine.tolist()[0]).__name__)) from None
        width = int(self._exact.all(np.full((len(self.group.ranks), 1), float(len(text)))).max())
        row = np.frombuffer(text.ljust(width), np.uint8).astype(np.float64)
        everyone = self._exact.all(np.tile(row, (len(self.group.ranks), 1))).astype(np.uint8)
        found = np.unique([label for line in everyone for label in json.loads(line.tobytes())])
        return found.astype(mine.dtype) if mine.dtype.kind != "U" else found
