"""Workers that differ, are silent, or die: an error that names them, soon, and never a hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import thinwire as tw
from thinwire.comm.base import Lane
from thinwire.comm.peers import GRACE
from thinwire.comm.process import LOOK
from thinwire.rounds import finish

from .ranks import backend, run_ranks

FACTS = {"link": "diana(ternary)", "seed": 3, "layer.weight": (4, 5)}


class TestAgree:
    @pytest.mark.parametrize("rows", [1, 2])
    def test_equal_facts_pass(self, rows: int) -> None:
        run_ranks(3, lambda group: group.agree(FACTS), rows=rows)

    def test_one_process_agrees_with_itself(self) -> None:
        tw.LocalGroup(3).agree(FACTS)

    @pytest.mark.parametrize(
        "odd, message",
        [
            ({**FACTS, "seed": 4}, "rank 0 has 'seed = 3', rank 2 has 'seed = 4'"),
            ({**FACTS, "link": "ef21"}, r"rank 0 has 'link = diana\(ternary\)', rank 2 has 'link = ef21'"),
            ({"link": FACTS["link"], "seed": 3}, r"rank 0 has 'layer.weight = \(4, 5\)', rank 2 has 'nothing more'"),
            ({**FACTS, "more": 1}, "rank 0 has 'nothing more', rank 2 has 'more = 1'"),
            ({}, "rank 0 has 'link = .*', rank 2 has 'nothing more'"),
        ],
    )
    def test_the_first_difference_is_named_on_every_rank(self, odd: dict[str, object], message: str) -> None:
        def work(group: tw.ProcessGroup) -> None:
            with pytest.raises(tw.PeerError, match=message):
                group.agree(odd if group.ranks.start == 2 else FACTS)

        run_ranks(3, work)


@pytest.mark.parametrize("odd", [0, 1])
def test_groups_that_differ_in_their_checksums_say_so(odd: int) -> None:
    """Although what they gather to find it out is itself gathered."""

    def work(group: tw.ProcessGroup) -> None:
        mine = tw.ProcessGroup(group._pgs[Lane.WORKERS], checksum=group.ranks.start != odd, store=group._peers._store)
        ours, theirs = odd != 0, odd == 0
        with pytest.raises(tw.PeerError, match=f"rank 0 has 'checksum = {ours}', rank 1 has 'checksum = {theirs}'"):
            mine.agree(FACTS)

    run_ranks(2, work)


def test_a_rank_that_never_joins_is_named() -> None:
    limit = 1.5

    def work(group: tw.ProcessGroup) -> float:
        begun = time.monotonic()
        if group.ranks.start == 1:
            time.sleep(limit + GRACE + 1)  # alive, and busy with something else
            return 0.0
        exchange = tw.Exchange(tw.diana(tw.Ternary()), 10, group, route="gather")
        with pytest.raises(tw.PeerError, match=rf"limit {limit:g} s\): no answer from rank 1; got"):
            finish(exchange.round(torch.ones(1, 10), 0))
        return time.monotonic() - begun

    took = run_ranks(3, work, timeout=limit)
    assert limit <= max(took) < limit + GRACE + LOOK + 2  # 2 s for a busy machine


def test_a_failure_is_passed_on_before_the_others_own_limit() -> None:
    """Rank 0 gives up after one second; rank 1, whose limit is a minute, learns of it from the store."""

    def work(group: tw.ProcessGroup) -> float:
        begun = time.monotonic()
        if group.ranks.start == 2:
            time.sleep(GRACE + 3)
            return 0.0
        mine = tw.ProcessGroup(
            group._pgs[Lane.WORKERS], timeout=1.0 if group.ranks.start == 0 else 60.0, store=group._peers._store
        )
        with pytest.raises(tw.PeerError, match="no answer from rank 2"):
            mine.all_gather(torch.zeros(1, 4, dtype=torch.uint8)).wait()
        return time.monotonic() - begun

    assert max(run_ranks(3, work)) < 1.0 + LOOK + GRACE + 3


def test_limits_and_rows_are_checked() -> None:
    made = backend(dist.HashStore(), 0, 1, 5.0)
    with pytest.raises(ValueError, match="timeout must be positive"):
        tw.ProcessGroup(made, timeout=0.0)
    with pytest.raises(ValueError, match="rows must be 1 to"):
        tw.ProcessGroup(made, rows=0)
    with pytest.raises(RuntimeError, match=r"not initialised. Call torch.distributed.init_process_group first"):
        tw.ProcessGroup()
    with pytest.raises(ValueError, match="size must be 1 to"):
        tw.LocalGroup(0)


def worker(rank: int, size: int, rendezvous: str, said: Connection) -> None:
    """Rounds without end, until one fails; says that it has begun, and how it ended."""
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", _port(Path(rendezvous), rank), size, is_master=rank == 0, wait_for_workers=False)
    if rank == 0:
        Path(rendezvous).with_suffix(".tmp").write_text(str(store.port))
        Path(rendezvous).with_suffix(".tmp").rename(rendezvous)
    group = tw.ProcessGroup(backend(store, rank, size, 60.0), timeout=60.0, store=store)
    exchange = tw.Exchange(tw.diana(tw.Ternary()), 1000, group)
    try:
        for k in range(10**6):
            exchange.commit(finish(exchange.round(torch.ones(1, 1000), k)))
            if k == 3:
                said.send("begun")
    except tw.PeerError as error:
        said.send(str(error))


def _port(rendezvous: Path, rank: int) -> int:
    while rank and not rendezvous.exists():
        time.sleep(0.05)
    return int(rendezvous.read_text()) if rank else 0


def heard(said: Connection, seconds: float) -> str:
    assert said.poll(seconds), f"nothing in {seconds:g} s"
    return str(said.recv())


@pytest.mark.parametrize("killed", [0, 2])
def test_the_dead_are_named(killed: int, tmp_path: Path) -> None:
    """kill -9 in the midst of a run: the others end with PeerError, also if the store dies with rank 0.

    A pipe for each worker: a process killed while it writes to a shared queue would keep the others' lock for ever.
    """
    size, context = 3, multiprocessing.get_context("spawn")
    ears, mouths = zip(*(context.Pipe(duplex=False) for _ in range(size)), strict=True)
    workers = [
        context.Process(target=worker, args=(rank, size, str(tmp_path / "port"), mouths[rank]), daemon=True)
        for rank in range(size)
    ]
    for process in workers:
        process.start()
    try:
        assert [heard(ear, 60) for ear in ears] == ["begun"] * size
        pid = workers[killed].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        ends = [heard(ears[rank], 25) for rank in range(size) if rank != killed]
        assert time.monotonic() - begun < 2 * GRACE + 2 * LOOK + 5  # the collectives' own limit is a minute
    finally:
        for process in workers:
            process.kill()
            process.join(10)
    assert all(f"no answer from rank {killed};" in message for message in ends)
