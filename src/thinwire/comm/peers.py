"""The word that processes leave each other in a store when a collective fails: who is missing, and what went wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from torch._C._distributed_c10d import Store

from thinwire._check import fault
from thinwire.comm.base import PeerError
from thinwire.comm.checksum import Damaged

GRACE = 3.0
"""Seconds that survivors wait for each other's word before they name who is missing."""
FAILED = "failed"
"""The word of a process that has nothing to say but that it has given up."""


class Peers:
    """The processes of a group, as `rank` sees them.

    Args:
        store: where words are left; None: none are, and nobody is named.
        words: their place in it, the same for all processes.
        rank, processes: who this is, of how many.
        limit: seconds that a collective may take, for the message.
    """

    def __init__(self, store: Store | None, words: str, rank: int, processes: int, limit: float) -> None:
        self._store, self._words = store, words
        self._rank, self._processes, self._limit = rank, processes, limit

    def given_up(self) -> bool:
        """Whether a collective has failed on any process."""
        try:
            return self._store is not None and self._store.check([self._words])
        except RuntimeError:  # the store is gone, and with it the rank that it lived in
            return True

    def blame(self, name: str, error: RuntimeError) -> PeerError:
        """The error of a failed collective, with the ranks that do not answer, or whose bytes arrived damaged.

        Each survivor leaves word in the store. One whose bytes are damaged says whose, and need not wait for anyone;
        the others wait a while for the words of all: who leaves none is dead, stuck, or still busy with something else.
        """
        here = f"{name} failed on rank {self._rank} of {self._processes}"
        if isinstance(error, Damaged):
            ranks = ", ".join(map(str, error.senders))
            cause = f"the bytes that rank {ranks} sent to rank {self._rank} arrived damaged (wrong checksum)"
            self._leave(cause)
            return _damaged(here, cause)
        missing, cause = self._silent()
        if cause != FAILED:
            return _damaged(here, cause)
        who = f"no answer from rank {', '.join(map(str, missing))}" if missing else "every rank still answers"
        rule = f"{here} (limit {self._limit:g} s): {who}"
        way_out = "See the log of the ranks named."
        return PeerError(fault("thinwire: a collective failed", rule, _gist(error), way_out))

    def _leave(self, cause: str) -> None:
        if self._store is None:
            return
        try:
            self._store.set(f"{self._words}/{self._rank}", cause)
            self._store.compare_set(self._words, "", cause)  # the first to fail knows why; who comes later may not
        except RuntimeError:
            return  # the store is gone, and with it whoever could read this

    def _silent(self) -> tuple[Sequence[int], str]:
        """Who leaves no word, and what the first that did leave one said."""
        silent = [rank for rank in range(self._processes) if rank != self._rank]
        if self._store is None:
            return [], FAILED
        self._leave(FAILED)
        try:
            cause = self._store.get(self._words).decode()
            deadline = time.monotonic() + GRACE
            while silent and time.monotonic() < deadline and cause == FAILED:
                silent = [rank for rank in silent if not self._store.check([f"{self._words}/{rank}"])]
                time.sleep(0.05)
        except RuntimeError:  # the store lives in rank 0, and went with it: dead, unless it has left its word
            return ([0] if 0 in silent else silent), FAILED
        return silent, cause


def _damaged(here: str, cause: str) -> PeerError:
    way_out = (
        "Nothing of them was used. Go on from the last checkpoint; if it happens again, look at the memory and the"
        " network of the ranks named."
    )
    return PeerError(fault("thinwire: damaged bytes", f"{here}: {cause}", None, way_out))


def _gist(error: RuntimeError) -> str:
    """Gloo's first sentence, without the place in its source that stands before it."""
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[\S*\.\w+:\d+\] ", "", lines[0]).split(". ")[0] if lines else type(error).__name__
