"""Groups of torch.distributed for collectives of our own: made, lent, and taken back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store

from thinwire._check import fault
from thinwire.comm.peers import Peers


@dataclass(frozen=True)
class Lent:
    """Two groups for one user, of the members of `among`; `words` is where in the store they leave word of failures."""

    among: dist.ProcessGroup
    workers: dist.ProcessGroup
    answers: dist.ProcessGroup
    words: str


_SPARE: WeakKeyDictionary[dist.ProcessGroup, dict[float, list[tuple[dist.ProcessGroup, dist.ProcessGroup, str]]]]
_SPARE = WeakKeyDictionary()
"""Of each group of processes, by time limit: what was lent, and came back.

They are not destroyed: making a group takes a moment, and whoever wraps a model anew needs the same ones again.
"""
_made = 0


def borrow(pg: dist.ProcessGroup | None, timeout: float) -> Lent:
    """Two groups of the processes of `pg`, or of all, which nobody else uses: all of its members must call this.

    Raises:
        RuntimeError: torch.distributed is not initialised.
        PeerError: a member does not come.
    """
    global _made
    if not dist.is_initialized():
        way_out = "Call torch.distributed.init_process_group first, or use LocalGroup(n)."
        raise RuntimeError(fault("ProcessGroup()", "torch.distributed is not initialised", None, way_out))
    among = pg if pg is not None else dist.group.WORLD
    assert among is not None  # there is one
    spare = _SPARE.get(among, {}).get(timeout)
    if spare:
        return Lent(among, *spare.pop(0))
    _made += 1
    peers = Peers(default_store(), f"thinwire/making/{_made}", among.rank(), among.size(), timeout)
    try:
        workers, answers = _new(among, timeout), _new(among, timeout)
        return Lent(among, workers, answers, f"thinwire/failed/{_nonce(workers, timedelta(seconds=timeout))}")
    except RuntimeError as error:
        raise peers.blame("making a group", error) from error


def give_back(lent: Lent, timeout: float) -> None:
    """Let a later `borrow` have it: all members must call this, when all its collectives are over."""
    back = lent.workers, lent.answers, lent.words  # without `among`, or its entry would keep it alive
    _SPARE.setdefault(lent.among, {}).setdefault(timeout, []).append(back)


def default_store() -> Store | None:
    """The store of torch.distributed, if it is initialised."""
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store() if dist.is_initialized() else None


def _nonce(pg: dist.ProcessGroup, limit: timedelta) -> int:
    """A number of rank 0's, new each time: under torchrun a store may outlive a restart, and what was said in it."""
    nonce = torch.tensor([int.from_bytes(os.urandom(7), "little")])
    if "nccl" in str(pg.name()).lower():
        nonce = nonce.to(torch.cuda.current_device())
    pg.broadcast(nonce, 0).wait(limit)
    return int(nonce)


def _new(pg: dist.ProcessGroup, timeout: float) -> dist.ProcessGroup:
    limit, whole = timedelta(seconds=timeout), pg.size() == dist.get_world_size()
    if not whole and dist.get_backend(pg) == "gloo":
        # torch would name it by how many groups this process has, and wait for ever for members that have more or fewer
        store = default_store()
        assert store is not None  # torch.distributed is initialised
        room = PrefixStore(f"thinwire/group/{_nonce(pg, limit)}", store)
        return cast(dist.ProcessGroup, dist.ProcessGroupGloo(room, pg.rank(), pg.size(), limit))  # it has its methods
    made = dist.new_group(
        None if whole else dist.get_process_group_ranks(pg),
        timeout=limit,
        backend=dist.get_backend(pg),
        use_local_synchronization=not whole,  # otherwise who is no member would have to come as well
    )
    assert isinstance(made, dist.ProcessGroup)  # this process is a member
    return made
