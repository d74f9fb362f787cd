"""The worker of `thinwire bench step`: one process in each host holds a replica for every contender and takes turns.

    python -m thinwire.bench.step_worker PLAN      under torchrun's environment; PLAN is `StepPlan.as_json`

1. Every contender is built: a replica from the same seed, a process group of its own, an optimiser of its own.
2. A round is a turn of each. A turn is `TURN` steps between two meetings of all workers.
3. At its end each contender's held-out loss is told, by rank 0.

A contender that fails on any worker is dropped by all: the others find out when its collectives end at their time
limit. One that hangs beyond that ends the process, with the stacks of its threads on stderr.

Events: `begin` and `turn` from every rank at each turn, `failed` from each rank on which a contender did, `result` from
every rank for each contender that reached the end, `built` and `done` once from every rank.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from thinwire.baselines import METHODS, Choice, Prepared
from thinwire.bench.contenders import Contender
from thinwire.bench.step_plan import PATIENCE, TURN, WARM_UP, StepPlan
from thinwire.bench.workload import Workload
from thinwire.lab.workers import Emit, Traffic, emitter

DENSE_STEPS = 2
"""The fewest steps after which PowerSGD may begin; they are in the warm-up."""


class Entrant:
    """A contender on this worker: its replica, its optimiser, and how many steps it has taken."""

    def __init__(self, contender: Contender, workload: Workload, rank: int, seconds: float) -> None:
        self.name = contender.name
        self._workload, self._rank = workload, rank
        self.model: nn.Module = workload.model()
        self._prepared: Prepared | None = None
        self._module = self.model
        if contender.method is not None:
            group = dist.new_group(timeout=timedelta(seconds=seconds))
            assert isinstance(group, dist.ProcessGroup)  # this process is a member
            choice = Choice(contender.link, contender.momentum, DENSE_STEPS, contender.rank, group, seconds)
            self._prepared = METHODS[contender.method](self.model, choice)
            self._module = self._prepared.model
        self._optimizer = workload.optimizer(self.model, contender.momentum)
        self._steps = 0
        self.warm: Mapping[str, Any] = {}

    def step(self) -> None:
        """One training step, from batch to new weights."""
        self._workload.loss(self._module, self._steps, self._rank).backward()  # type: ignore[no-untyped-call]
        if self._prepared is not None:
            self._prepared.after_backward()
        if self._optimizer is not None:
            self._optimizer.param_groups[0]["lr"] = self._workload.rate(self._steps)
            self._optimizer.step()
        self._module.zero_grad()
        self._steps += 1

    def stats(self) -> Mapping[str, Any]:
        """thinwire's figures so far; nothing from others."""
        return {} if self._prepared is None else self._prepared.stats()

    def close(self) -> None:
        """End what runs beside it."""
        if self._prepared is not None:
            self._prepared.close()


class Race:
    """All contenders on this worker."""

    def __init__(self, plan: StepPlan, rank: int, emit: Emit) -> None:
        self._plan, self._rank, self._emit = plan, rank, emit
        self._workload = plan.workload(rank)
        self._parameters = sum(parameter.numel() for parameter in self._workload.model().parameters())
        self._limit = plan.turn_limit(self._parameters)
        # who fails late must find the others still waiting for its word
        self._meeting = dist.new_group(timeout=timedelta(seconds=3 * self._limit))
        self._traffic = Traffic(plan.hosts)
        self._entrants: dict[str, Entrant] = {}

    def run(self) -> bool:
        """Build, race, tell the results. Whether every contender got to the end."""
        for contender in self._plan.contenders:
            self._guarded(contender.name, lambda c=contender: self._build(c))  # type: ignore[misc]
        start = self._workload.held_out(self._workload.model()) if self._rank == 0 else None
        self._emit("built", parameters=self._parameters, batch=self._workload.batch, loss=start)
        for number in range(self._plan.rounds):
            for contender in self._plan.order(number):
                if contender.name in self._entrants:
                    self._turn(number, contender.name)
        for entrant in self._entrants.values():
            loss = self._workload.held_out(entrant.model) if self._rank == 0 else None
            self._emit("result", name=entrant.name, loss=loss, stats=entrant.stats(), warm=entrant.warm)
        return len(self._entrants) == len(self._plan.contenders)

    def close(self) -> None:
        """End what the contenders run beside them, when all workers are done with them."""
        self._meet(False)
        for entrant in self._entrants.values():
            entrant.close()

    def _build(self, contender: Contender) -> None:
        self._entrants[contender.name] = Entrant(contender, self._workload, self._rank, self._limit)

    def _turn(self, number: int, name: str) -> None:
        entrant, seconds = self._entrants[name], list[float]()
        before = self._traffic.sent()  # ahead of the meeting: over loopback all workers share the counter

        def take() -> None:
            for _ in range(TURN):
                began = time.perf_counter()
                entrant.step()
                seconds.append(time.perf_counter() - began)

        if self._guarded(name, take):
            self._emit("turn", round=number, name=name, seconds=seconds, sent=self._traffic.sent() - before)
        if number == WARM_UP - 1:
            entrant.warm = entrant.stats()

    def _guarded(self, name: str, do: Callable[[], None]) -> bool:
        """Do it on all workers at once; where it fails on any, the contender is out on all."""
        self._emit("begin", name=name)
        faulthandler.dump_traceback_later(2 * self._limit, exit=True)
        self._meet(False)
        said: str | None = None
        try:
            do()
        except Exception as error:
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}"
            self._emit("failed", name=name, error=said)
        faulthandler.cancel_dump_traceback_later()
        if self._meet(said is not None):
            self._entrants.pop(name, None)
            return False
        return True

    def _meet(self, failed: bool) -> bool:
        """Wait for all workers; whether any of them has failed."""
        flag = torch.tensor([int(failed)])
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._meeting)
        return bool(flag.item())


def main() -> None:
    """Race as the command line says, as the rank that the environment says."""
    plan = StepPlan.from_json(sys.argv[1])
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    emit = emitter(rank)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    dist.init_process_group("gloo")
    race = Race(plan, rank, emit)
    well = race.run()
    race.close()
    emit("done")
    if not well:
        os._exit(0)  # what is left of a contender that failed may wait for ever in its threads
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
