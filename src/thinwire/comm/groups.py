"""Groups of torch.distributed for collectives of our own: made, lent, and taken back."""

from __future__ import annotations

from datetime import timedelta
from weakref import WeakKeyDictionary

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from thinwire._check import fault
from thinwire.comm.peers import Peers

Pair = tuple[dist.ProcessGroup, dist.ProcessGroup]

_SPARE: WeakKeyDictionary[dist.ProcessGroup, dict[float, list[Pair]]] = WeakKeyDictionary()
"""Of each group of processes, by time limit: pairs that were lent, and came back.

They are not destroyed: torch names a new group of some of the processes by how many groups this process has, so that it
would find in the store where those of a destroyed one listened. (All members must have equally many; a group of all
processes has a name of another kind, which does not depend on that.)
"""
_made = 0


def borrow(pg: dist.ProcessGroup | None, timeout: float) -> Pair:
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
        return spare.pop(0)
    _made += 1
    peers = Peers(default_store(), f"thinwire/making/{_made}", among.rank(), among.size(), timeout)
    try:
        return _new(among, timeout), _new(among, timeout)
    except RuntimeError as error:
        raise peers.blame("making a group", error) from error


def give_back(pg: dist.ProcessGroup, pair: Pair, timeout: float) -> None:
    """Let a later `borrow` have the pair: all members must call this, when all its collectives are over."""
    _SPARE.setdefault(pg, {}).setdefault(timeout, []).append(pair)


def default_store() -> Store | None:
    """The store of torch.distributed, if it is initialised."""
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store() if dist.is_initialized() else None


def _new(pg: dist.ProcessGroup, timeout: float) -> dist.ProcessGroup:
    whole = pg.size() == dist.get_world_size()
    made = dist.new_group(
        None if whole else dist.get_process_group_ranks(pg),
        timeout=timedelta(seconds=timeout),
        backend=dist.get_backend(pg),
        use_local_synchronization=not whole,  # otherwise who is no member would have to come as well
    )
    assert isinstance(made, dist.ProcessGroup)  # this process is a member
    return made
