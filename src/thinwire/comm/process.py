"""torch.distributed as a group: Gloo on CPUs, NCCL on GPUs, by the same calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from torch import Tensor

from thinwire._check import call, fault, in_range
from thinwire.comm.base import Group, Lane, PeerError, Pending
from thinwire.comm.checksum import check, seal, sums, unseal
from thinwire.comm.groups import Lent, borrow, default_store, give_back
from thinwire.comm.peers import Peers
from thinwire.comm.waiter import Waiter

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store, Work

DIRECT = 1 << 17
"""Bytes from which a message goes by sends and receives to each process by itself."""
LOOK = 1.0
"""Seconds that a rank waits on the wire before it looks whether another one has given the group up."""
KNOCK = 1
"""The tag of messages that only try a connection; those that say something have 0."""
NOTHING = torch.zeros(1, dtype=torch.uint8)
"""What they say."""


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
        checksum: whether a CRC-32 goes with every block of bytes, so that damaged ones are an error that names the
            sender, and never averaged (`checksummed` says whether it does). Not on a GPU, whose bytes would have to be
            copied to the processor for it. The same on all processes, as `agree` sees to.

    Raises:
        RuntimeError: torch.distributed is not initialised and no group was given.

    >>> import torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> group = tw.ProcessGroup(timeout=60)
    >>> group, group.size, group.ranks
    (ProcessGroup(rank 0 of 1, rows=1, checksum=True), 1, range(0, 1))
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        pg: dist.ProcessGroup | Lent | None = None,
        *,
        answers: dist.ProcessGroup | None = None,
        rows: int = 1,
        timeout: float = 300.0,
        store: Store | None = None,
        checksum: bool = True,
    ) -> None:
        where = call("ProcessGroup", rows=rows, timeout=timeout)
        in_range(where, "rows", rows, 1, 1 << 20)
        _positive(where, timeout)
        self._lent = borrow(None, timeout) if pg is None else pg if isinstance(pg, Lent) else None
        if self._lent is not None:
            pg, answers, words = self._lent.workers, self._lent.answers, self._lent.words
        else:
            pg = cast(dist.ProcessGroup, pg)
            words = f"thinwire/failed/{getattr(pg, 'group_name', pg.name())}"  # a bare backend has no group_name
        self._pgs = {Lane.WORKERS: pg, Lane.OWNERS: answers or pg}
        self._rank, self._processes, self._held = pg.rank(), pg.size(), rows
        self._timeout = timeout
        self._waiters = {lane: Waiter(f"thinwire, {lane.name.lower()}") for lane in Lane}
        self.size = pg.size() * rows
        self.ranks = range(pg.rank() * rows, (pg.rank() + 1) * rows)
        on_gpu = "nccl" in str(pg.name()).lower()
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self.checksummed = checksum and not on_gpu
        self._peers = Peers(store if store is not None else default_store(), words, self._rank, pg.size(), timeout)

    def __repr__(self) -> str:
        place = f"rank {self._rank} of {self._processes}"
        return f"ProcessGroup({place}, rows={self._held}, checksum={self.checksummed})"

    @property
    def two_lanes(self) -> bool:
        """Whether what owners answer goes by a group of its own."""
        return self._pgs[Lane.OWNERS] is not self._pgs[Lane.WORKERS]

    @classmethod
    def beside(cls, pg: dist.ProcessGroup, *, timeout: float, checksum: bool) -> ProcessGroup:
        """The processes of `pg`, in torch groups that nobody else uses until `close` gives them back."""
        _positive("ProcessGroup.beside", timeout)
        return cls(borrow(pg, timeout), timeout=timeout, checksum=checksum)

    @property
    def pg(self) -> dist.ProcessGroup:
        """The group of torch.distributed that is behind the workers' lane."""
        return self._pgs[Lane.WORKERS]

    def close(self) -> None:
        """Give what was made for this group to the next one of the same processes, unless a collective has failed."""
        if self._lent is not None and not self._peers.given_up():
            give_back(self._lent, self._timeout)
        self._lent = None

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """A failure of torch.distributed in here, while doing `what`, is a PeerError that names who is missing."""
        try:
            yield
        except PeerError:
            raise
        except RuntimeError as error:
            raise self._peers.blame(what, error) from error

    def agree(self, facts: Mapping[str, object]) -> None:
        """Raise PeerError unless all processes hold the same facts, and the same `checksum`, naming what differs."""
        super().agree({"checksum": self.checksummed, **facts})

    def _tell(self, data: Tensor) -> Tensor:
        """With checksums in any case, so that processes which differ in that can say so."""
        flat, sealed = data.contiguous().view(1, -1), self.device.type == "cpu"
        told = self._exchange("agree", flat, Lane.WORKERS, lambda blocks: blocks.view(self.size, -1), sealed=sealed)
        return told.wait().cpu()

    def all_gather(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """Everyone's rows, which lie in rank order already.

        Short ones on a CPU go as an all-to-all, which takes half the time of Gloo's all-gather.
        """
        flat, shape = data.contiguous().view(1, -1), (self.size, *data.shape[1:])
        return self._exchange("all_gather", flat, lane, lambda blocks: blocks.view(shape), sealed=self.checksummed)

    def all_to_all(self, data: Tensor, lane: Lane = Lane.WORKERS) -> Pending:
        """1. Lay out by addressed process, sender's row, owner's row. 2. One all-to-all. 3. Owners' rows first."""
        b, rows, processes = data.shape[2], self._held, self._processes
        sent = data.view(rows, processes, rows, b).permute(1, 0, 2, 3).contiguous().view(processes, -1)

        def arrange(blocks: Tensor) -> Tensor:
            return blocks.view(processes, rows, rows, b).permute(2, 0, 1, 3).reshape(rows, self.size, b)

        return self._exchange("all_to_all", sent, lane, arrange, sealed=self.checksummed)

    def _exchange(
        self, name: str, blocks: Tensor, lane: Lane, arrange: Callable[[Tensor], Tensor], *, sealed: bool
    ) -> Pending:
        """A block of uint8 for each process, (processes, B), or the same one for all, (1, B).

        1. Seal each, if there are checksums; those of long blocks go by themselves, so that nothing long is copied for
        them, and nothing at all needs none. 2. Send. 3. Look at what comes, (processes, B), and arrange it.
        """
        sealed = sealed and blocks.shape[1] > 0
        direct = self.device.type == "cpu" and blocks.numel() >= DIRECT
        parts = [seal(blocks)] if sealed and not direct else [blocks, sums(blocks)] if sealed else [blocks]
        came = [part.new_empty(self._processes, part.shape[1]) for part in parts]
        sent, out = parts[0], came[0]
        works: list[Work] = []
        if direct:
            works = self._begin(name, lane, lambda pg: self._direct(pg, parts, came))
        elif self.device.type != "cpu" and len(sent) < self._processes and sent.shape[1]:
            works = self._begin(name, lane, lambda pg: [pg._allgather_base(out.view(-1), sent.view(-1))])
        elif sent.shape[1]:
            each = sent if len(sent) == self._processes else sent.repeat(self._processes, 1)
            works = self._begin(name, lane, lambda pg: [pg.alltoall_base(out, each, [], [])])

        def received() -> Tensor:
            if sealed and direct:
                check(out, came[1], self._rank)
            return arrange(unseal(out, self._rank) if sealed and not direct else out)

        return self._pending(name, works, received, parts, lane)

    def _direct(self, pg: dist.ProcessGroup, parts: Sequence[Tensor], came: Sequence[Tensor]) -> list[Work]:
        """Row p of each part to process p, or its only row, everyone at once; of what comes, row p is from process p.

        For long messages quicker than Gloo's own all-to-all. Each pair of processes has its messages in one order.
        """
        me, processes, works = self._rank, self._processes, []
        others = [(me + i) % processes for i in range(1, processes)]
        rows = [part.expand(processes, -1) for part in parts]
        for sent, out in zip(rows, came, strict=True):
            out[me] = sent[me]
            works += [pg.recv([out[other]], other, 0) for other in reversed(others)]
        for sent in rows:
            works += [pg.send([sent[other]], other, 0) for other in others]
        return works

    def _begin(self, name: str, lane: Lane, start: Callable[[dist.ProcessGroup], list[Work]]) -> list[Work]:
        with self.naming(name):
            return start(self._pgs[lane])

    def _knock(self, name: str, lane: Lane) -> None:
        """Raise PeerError if a connection is closed.

        Gloo tells whoever has yet to begin a message on it, but not who is amid one. So begin one, that none receives.
        """
        with self.naming(name):
            for other in range(self._processes):
                if other != self._rank:
                    self._pgs[lane].send([NOTHING], other, KNOCK)

    def _pending(
        self, name: str, works: list[Work], received: Callable[[], Tensor], sent: Sequence[Tensor], lane: Lane
    ) -> Pending:
        deadline = time.monotonic() + self._timeout

        def finish(sent: Sequence[Tensor] = sent) -> Tensor:  # keeps it alive until the wire is done with it
            for work in works:
                work.wait(timedelta(seconds=max(deadline - time.monotonic(), 0.01)))  # 0 would mean no limit
            return received()

        if self.device.type != "cpu":  # there `wait` only orders streams, and NCCL's watchdog keeps the time
            return Pending(finish)
        future = self._waiters[lane].submit(finish)

        def look() -> None:
            if future.done():
                return
            if self._peers.given_up():
                raise self._peers.blame(name, RuntimeError("another rank has failed"))
            self._knock(name, lane)

        def wait() -> Tensor:  # none waits in vain for its own limit when another rank has failed
            while True:
                try:
                    return future.result(LOOK)
                except TimeoutError:
                    look()
                except RuntimeError as error:
                    raise self._peers.blame(name, error) from error

        return Pending(wait, future.done, lambda heard: future.add_done_callback(lambda _: heard()), look)


def _positive(where: str, timeout: float) -> None:
    if not timeout > 0:
        raise ValueError(fault(where, "timeout must be positive, in seconds", timeout))
