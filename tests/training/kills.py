"""Processes of which one is killed at a given point of a step; what becomes of the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

import thinwire as tw
from thinwire.comm import groups
from thinwire.comm.base import Lane
from thinwire.training.ddp import Wire

from .jobs import build, data

SIZE = 3
STEP = 3
"""The step in which the victim dies, of those points that are in a step."""
LIMIT = 60.0
"""Of a collective, in seconds; nobody has to wait for it, but where groups are made:"""
MAKING = 10.0
PATIENCE = 120.0
"""Of the test: for a busy machine, on which processes are slow to start."""


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: object, name: str, when: Callable[..., bool] = lambda *a: True, *, after: bool = False) -> None:
    """Have the victim die in front of a call of owner.name, or behind it."""
    plain = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        fatal = when(*arguments)
        if fatal and not after:
            die()
        result = plain(*arguments, **named)
        if fatal:
            die()
        return result

    setattr(owner, name, deadly)


def in_forward(wire: Wire, net: torch.nn.Module) -> None:
    net.second.register_forward_hook(die)


def in_backward(wire: Wire, net: torch.nn.Module) -> None:
    net.second.weight.register_hook(die)


def between_frames(wire: Wire, net: torch.nn.Module) -> None:
    before(wire._way.reducer, "reduce", lambda number: number == 1)


def encoded(wire: Wire, net: torch.nn.Module) -> None:
    before(wire._way.reducer.group, "all_to_all")


def on_the_way_up(wire: Wire, net: torch.nn.Module) -> None:
    before(wire._way.reducer.group, "all_to_all", after=True)


def on_the_way_down(wire: Wire, net: torch.nn.Module) -> None:
    before(wire._way.reducer.group, "all_gather", lambda data, lane=Lane.WORKERS: lane is Lane.OWNERS, after=True)


IN_A_STEP = [in_forward, in_backward, between_frames, encoded, on_the_way_up, on_the_way_down]


def before_attach() -> None:
    before(groups, "_new")


def between_groups() -> None:
    made = []
    before(groups, "_new", lambda *_: bool(made) or made.append(1))


def in_agreement() -> None:
    before(tw.ProcessGroup, "agree")


IN_ATTACH = [before_attach, between_groups, in_agreement]


def in_load(wire: Wire, net: torch.nn.Module) -> None:
    before(wire._way.reducer.group, "all_gather")


def work(rank: int, victim: int, point: Callable[..., None]) -> str:
    """Train, resume, and train on, or as far as one gets."""
    doomed = rank == victim
    net, model = build()
    if doomed and point in IN_ATTACH:
        point()
    limit = MAKING if point in IN_ATTACH else LIMIT
    wire = tw.attach(model, "diana(rotated(1))", route="sharded", timeout=limit)

    def step(number: int) -> Tensor:
        if number == STEP and doomed and point in IN_A_STEP:
            point(wire, net)
        loss = model(data(rank, number)).square().mean()
        loss.backward()
        return loss

    for number in range(STEP):
        step(number)
    state = wire.state_dict()
    if doomed and point is in_load:
        point(wire, net)
    wire.load_state_dict(state)
    for number in range(STEP, STEP + 2):
        step(number)
    return "finished"


Work = Callable[[int, int, Callable[..., None]], str]


def process(rank: int, victim: int, port: int, point: Callable[..., None], said: Connection, work: Work) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=SIZE, timeout=timedelta(seconds=LIMIT))
    try:
        said.send(work(rank, victim, point))
    except Exception as error:
        said.send(f"{type(error).__name__}: {error}")


class Doomed:
    """SIZE processes, one of which is to die at a point of its `work`."""

    def __init__(self, victim: int, point: Callable[..., None], work: Work = work) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        ears, mouths = zip(*(context.Pipe(duplex=False) for _ in range(SIZE)), strict=True)
        self.victim, self._ears = victim, ears
        self._processes = [
            context.Process(target=process, args=(rank, victim, port, point, mouths[rank], work), daemon=True)
            for rank in range(SIZE)
        ]
        for one in self._processes:
            one.start()
        for mouth in mouths:
            mouth.close()

    def endings(self) -> dict[int, str]:
        """What each survivor said, once it has ended by itself."""
        ends = {}
        for rank in range(SIZE):
            if rank != self.victim:
                assert self._ears[rank].poll(PATIENCE), f"rank {rank} says nothing"
                ends[rank] = self._ears[rank].recv()
        for rank, one in enumerate(self._processes):
            one.join(PATIENCE)
            assert one.exitcode == (-signal.SIGKILL if rank == self.victim else 0), f"rank {rank}: {one.exitcode}"
        return ends

    def close(self) -> None:
        for one in self._processes:
            one.kill()
            one.join()
