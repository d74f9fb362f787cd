"""The worker of `thinwire bench collective`: every collective at every size, in turns.

    python -m thinwire.bench.collective_worker PLAN      under torchrun's environment; PLAN is `CollectivePlan.as_json`

Events: `turn` from every rank for each turn (seconds and bytes of one call), `done` once.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

import thinwire as tw
from thinwire.bench.collective_plan import ALLREDUCE, COLLECTIVES, CollectivePlan
from thinwire.lab.workers import Traffic, emitter


def calls(size: int, workers: int, gloo: dist.ProcessGroup, group: tw.Group) -> Mapping[str, Callable[[], object]]:
    """The collectives, by the names of `COLLECTIVES`, on a vector of `size` bytes."""
    vector = torch.zeros(size // 4)
    whole = vector.view(torch.uint8)[None]
    parts = whole.view(1, workers, -1)
    memory, link = tw.LinkMemory(), tw.dcgd(tw.Identity())

    def sharded() -> Tensor:
        return group.all_gather(group.all_to_all(parts).wait()[:, 0]).wait()

    made: tuple[Callable[[], object], ...] = (
        lambda: dist.all_reduce(vector, group=gloo),
        lambda: group.all_gather(whole).wait(),
        lambda: group.all_to_all(parts).wait(),
        sharded,
        lambda: tw.all_reduce(vector, link, memory, group, route=ALLREDUCE),
    )
    return dict(zip(COLLECTIVES, made, strict=True))


def main() -> None:
    """Measure as the command line says, as the rank that the environment says."""
    plan = CollectivePlan.from_json(sys.argv[1])
    torch.set_num_threads(1)
    rank, workers = int(os.environ["RANK"]), plan.hosts
    emit, traffic = emitter(rank), Traffic(workers)
    faulthandler.dump_traceback_later(plan.limit(0), exit=True)
    dist.init_process_group("gloo")
    gloo = dist.new_group(timeout=timedelta(seconds=plan.limit(max(plan.sizes))))
    assert isinstance(gloo, dist.ProcessGroup)  # this process is a member
    group = tw.ProcessGroup(timeout=plan.limit(max(plan.sizes)))
    for size in plan.sizes:
        made, repeats = calls(size, workers, gloo, group), plan.repeats(size)
        for number in range(plan.rounds(size)):
            for name in plan.order(number):
                faulthandler.dump_traceback_later(plan.limit(size), exit=True)
                before = traffic.sent()  # ahead of the barrier: over loopback all workers share the counter
                dist.barrier()
                began = time.perf_counter()
                for _ in range(repeats):
                    made[name]()
                seconds = time.perf_counter() - began
                dist.barrier()  # when everyone is through, what was sent has left
                sent = traffic.sent() - before
                emit("turn", size=size, round=number, name=name, seconds=seconds / repeats, sent=sent / repeats)
    dist.barrier()
    emit("done")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
