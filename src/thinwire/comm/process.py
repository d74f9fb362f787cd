"""torch.distributed as a group: Gloo on CPUs, NCCL on GPUs, by the same calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from thinwire._check import call, fault, in_range
from thinwire.comm.base import Group, Lane, PeerError, Pending
from thinwire.comm.waiter import Waiter

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store, Work

DIRECT = 1 << 17
"""Bytes from which a message goes by sends and receives to each process by itself."""
GRACE = 3.0
"""Seconds that survivors wait for each other's word before they name who is missing."""
LOOK = 1.0
"""Seconds that a rank waits on the wire before it looks whether another one has given the group up."""


class ProcessGroup(Group):
    """The processes of a torch.distributed group, each holding `rows` workers (1, or a share of a simulated fleet).

    Args:
        pg: the group; None makes one of all processes, of its own, so that no other library's collectives mix with
            these. A group that is given must not be used by anyone else from another thread.
        answers: another group of the same processes, for the lane of the owners, whose collectives then need not keep
            an order with the others. None: made as well where pg is, otherwise pg does both.
        rows: workers held by each process.
        timeout: seconds that any collective may take before it is an error that names who is missing.
        store: where the survivors of a failure meet; None takes the default group's.

    Raises:
        RuntimeError: torch.distributed is not initialised and no group was given.

    >>> import torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> group = tw.ProcessGroup(timeout=60)
    >>> group, group.size, group.ranks
    (ProcessGroup(rank 0 of 1, rows=1), 1, range(0, 1))
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        pg: dist.ProcessGroup | None = None,
        *,
        answers: dist.ProcessGroup | None = None,
        rows: int = 1,
        timeout: float = 300.0,
        store: Store | None = None,
    ) -> None:
        where = call("ProcessGroup", rows=rows, timeout=timeout)
        in_range(where, "rows", rows, 1, 1 << 20)
        if not timeout > 0:
            raise ValueError(fault(where, "timeout must be positive, in seconds", timeout))
        if pg is None:
            pg, answers = own_group(None, timeout), own_group(None, timeout)
        self._pgs = {Lane.WORKERS: pg, Lane.OWNERS: answers or pg}
        self._rank = pg.rank()
        self._processes = pg.size()
        self._held = rows
        self._timeout = timedelta(seconds=timeout)
        self._store = store if store is not None else _default_store()
        self._waiters = {lane: Waiter(f"thinwire, {lane.name.lower()}") for lane in Lane}
        self.size = pg.size() * rows
        self.ranks = range(pg.rank() * rows, (pg.rank() + 1) * rows)
        name = getattr(pg, "group_name", pg.name())  # a bare backend, such as ProcessGroupGloo, has no name of its own
        self._words = f"thinwire/failed/{name}"
        on_gpu = "nccl" in str(pg.name()).lower()
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def __repr__(self) -> str:
        return f"ProcessGroup(rank {self._rank} of {self._processes}, rows={self._held})"

    @property
    def two_lanes(self) -> bool:
        """Whether what owners answer goes by a group of its own."""
        return self._pgs[Lane.OWNERS] is not self._pgs[Lane.WORKERS]

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """Everyone's rows, which lie in rank order already.

        Short ones on a CPU go as an all-to-all, which takes half the time of Gloo's all-gather.
        """
        data = data.contiguous()
        flat, processes = data.view(1, -1), self._processes
        out = flat.new_empty(processes, flat.shape[1])
        works: list[Work] = []
        if not out.numel():
            pass
        elif self.device.type != "cpu":
            works = self._begin(lane, lambda pg: [pg._allgather_base(out.view(-1), flat.view(-1))])
        elif flat.numel() < DIRECT:
            works = self._begin(lane, lambda pg: [pg.alltoall_base(out, flat.repeat(processes, 1), [], [])])
        else:
            works = self._direct(lane, out, flat.expand(processes, -1))
        return self._pending("all_gather", works, out.view(self.size, *data.shape[1:]), data, lane)

    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """1. Lay out by addressed process, sender's row, owner's row. 2. One all-to-all. 3. Owners' rows first."""
        b, rows, processes = data.shape[2], self._held, self._processes
        sent = data.view(rows, processes, rows, b).permute(1, 0, 2, 3).contiguous()
        out = torch.empty_like(sent)
        flat, room = sent.view(processes, -1), out.view(processes, -1)
        works: list[Work] = []
        if self.device.type == "cpu" and flat.numel() >= DIRECT:
            works = self._direct(lane, room, flat)
        elif flat.numel():
            works = self._begin(lane, lambda pg: [pg.alltoall_base(room, flat, [], [])])
        arranged = out.permute(2, 0, 1, 3)
        pending = self._pending("all_to_all", works, arranged, sent, lane)
        return replace(pending, wait=lambda: pending.wait().reshape(rows, self.size, b))

    def _direct(self, lane: Lane, out: Tensor, sent: Tensor) -> list[Work]:
        """Row p of `sent` to process p, everyone at once: for long messages quicker than Gloo's own all-to-all."""
        me, processes = self._rank, self._processes
        out[me] = sent[me]
        others = [(me + i) % processes for i in range(1, processes)]

        def start(pg: dist.ProcessGroup) -> list[Work]:
            received = [pg.recv([out[other]], other, 0) for other in reversed(others)]
            return received + [pg.send([sent[other]], other, 0) for other in others]

        return self._begin(lane, start)

    def _begin(self, lane: Lane, start: Callable[[dist.ProcessGroup], list[Work]]) -> list[Work]:
        try:
            return start(self._pgs[lane])
        except RuntimeError as error:
            raise self._blame("starting a collective", error) from error

    def _pending(self, name: str, works: list[Work], out: Tensor, sent: Tensor, lane: Lane) -> Pending:
        limit = self._timeout.total_seconds()
        deadline = time.monotonic() + limit

        def finish(sent: Tensor = sent) -> Tensor:  # keeps it alive until the wire is done with it
            for work in works:
                work.wait(timedelta(seconds=max(deadline - time.monotonic(), 0.01)))  # 0 would mean no limit
            return out

        if self.device.type != "cpu":  # there `wait` only orders streams, and NCCL's watchdog keeps the time
            return Pending(finish)
        future = self._waiters[lane].submit(finish)

        def look() -> None:
            if not future.done() and self._given_up():
                raise self._blame(name, RuntimeError("another rank has failed"))

        def wait() -> Tensor:  # none waits in vain for its own limit when another rank has failed
            while True:
                try:
                    return future.result(LOOK)
                except TimeoutError:
                    look()
                except RuntimeError as error:
                    raise self._blame(name, error) from error

        return Pending(wait, future.done, lambda heard: future.add_done_callback(lambda _: heard()), look)

    def _given_up(self) -> bool:
        try:
            return self._store is not None and self._store.check([self._words])
        except RuntimeError:  # the store is gone, and with it the rank that it lived in
            return True

    def _blame(self, name: str, error: RuntimeError) -> PeerError:
        """The error of a failed collective, with the ranks that do not answer.

        Each survivor leaves word in the store and waits a while for the words of the others: who leaves none is dead,
        stuck, or still busy with something else.
        """
        missing = self._silent()
        who = f"no answer from rank {', '.join(map(str, missing))}" if missing else "every rank still answers"
        limit = self._timeout.total_seconds()
        rule = f"{name} failed on rank {self._rank} of {self._processes} (limit {limit:g} s): {who}"
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return PeerError(fault("thinwire: a collective failed", rule, first, "See the log of the ranks named."))

    def _silent(self) -> Sequence[int]:
        if self._store is None:
            return []
        names = [f"{self._words}/{rank}" for rank in range(self._processes)]
        silent = [rank for rank in range(self._processes) if rank != self._rank]
        try:
            self._store.set(names[self._rank], "failed")
            self._store.set(self._words, "failed")
            deadline = time.monotonic() + GRACE
            while silent and time.monotonic() < deadline:
                silent = [rank for rank in silent if not self._store.check([names[rank]])]
                time.sleep(0.05)
        except RuntimeError:  # the store lives in rank 0, and went with it: dead, unless it has left its word
            return [0] if 0 in silent else silent
        return silent


def own_group(pg: dist.ProcessGroup | None, timeout: float) -> dist.ProcessGroup:
    """A new group of the same processes, for collectives of our own: all of its members must call this."""
    if not dist.is_initialized():
        way_out = "Call torch.distributed.init_process_group first, or use LocalGroup(n)."
        raise RuntimeError(fault("ProcessGroup()", "torch.distributed is not initialised", None, way_out))
    made = dist.new_group(
        dist.get_process_group_ranks(pg) if pg is not None else None,
        timeout=timedelta(seconds=timeout),
        backend=dist.get_backend(pg),
        use_local_synchronization=pg is not None,
    )
    assert isinstance(made, dist.ProcessGroup)  # this process is a member
    return made


def _default_store() -> Store | None:
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store() if dist.is_initialized() else None
