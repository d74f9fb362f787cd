"""A worker of `soak.py`: it trains, and when the others lose one, it waits for the next group and goes on."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import random
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

LINK = "diana(rotated(1))"
SAVE_EVERY, ANEW_EVERY = 50, 330
NAN_EVERY, GROW_AFTER = 30, 18
"""Steps from one NaN to the next, on average, and without one until the scale grows: it does so a little more often."""
LIMIT = 30.0
"""Of a collective, in seconds."""
WIDTH, BATCH = 64, 16


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 8))


def batch(rank: int, step: int, size: int) -> Tensor:
    """This worker's inputs of a step; one worker's hold a NaN now and then."""
    x = torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(1000 * step + rank))
    draw = random.Random(step)
    if draw.randrange(NAN_EVERY) == 0 and draw.randrange(size) == rank:
        x[0, 0] = float("nan")
    return x


class Training:
    """All that is saved, and what it is attached to."""

    def __init__(self, rank: int, size: int, folder: Path) -> None:
        self.rank, self.size, self.folder, self.teacher = rank, size, folder, network(1)
        self.net = network(2)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=GROW_AFTER)
        self.step = 0
        self.attach()

    def attach(self) -> None:
        self.model = DistributedDataParallel(self.net)
        self.wire = tw.attach(self.model, LINK, momentum=0.9, route="sharded", scaler=self.scaler, timeout=LIMIT)
        alike = {"net": self.net, "optimizer": self.optimizer, "scaler": self.scaler}
        self.checkpoints = tw.Checkpoints(self.folder, self.wire, **alike)

    def anew(self) -> None:
        """Another DDP, another wire, the same memory."""
        state = self.wire.state_dict()
        self.wire.close()
        self.attach()
        self.wire.load_state_dict(state)

    def advance(self) -> float:
        if self.step and self.step % ANEW_EVERY == 0:
            self.anew()
        x = batch(self.rank, self.step, self.size)
        with torch.no_grad():
            y = self.teacher(x.nan_to_num())
        self.optimizer.zero_grad()
        loss = (self.model(x) - y).square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return float(loss.detach())

    def digest(self) -> str:
        whole = hashlib.sha256()
        for p in self.net.parameters():
            whole.update(p.detach().numpy().tobytes())
        return whole.hexdigest()[:16]


def live(
    rank: int, size: int, folder: Path, store: dist.Store, generation: int, rest: float, until: int | None
) -> None:
    """Train from the newest checkpoint on, until told to stop, or until step `until`, or until something fails."""
    limit = timedelta(seconds=LIMIT)
    named = dist.PrefixStore(f"generation/{generation}", store)
    dist.init_process_group("gloo", store=named, rank=rank, world_size=size, timeout=limit)
    training = Training(rank, size, folder)
    try:
        train(training, store, generation, rest, until)
    finally:
        training.wire.close()


def train(training: Training, store: dist.Store, generation: int, rest: float, until: int | None) -> None:
    rank, training.step = training.rank, training.checkpoints.load()
    losses: list[float] = []
    over = False
    while not over:
        losses.append(training.advance())
        time.sleep(rest)
        if training.step % SAVE_EVERY:
            continue
        training.checkpoints.save(training.step)
        said = {"step": training.step, "digest": training.digest(), "loss": float(np.nanmean(losses))}
        said |= {"scale": training.scaler.get_scale(), "pid": os.getpid(), "generation": generation, **in_use()}
        say(training.folder, rank, **said)
        losses = []
        told = torch.tensor([float(rank == 0 and (store.check(["over"]) or training.step == until))])
        dist.broadcast(told, 0)
        over = bool(told.item())


FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    """What glibc (2.33 and later) tells of its heap, in bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in FIELDS)


def in_use() -> dict[str, float]:
    """What this process has asked for and not given back: of the C library, tensors among it, and of Python's objects.

    The resident memory is more: it contains what the C library keeps free, between pieces that are in use.
    """
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    heap = mallinfo2()
    return {"heap_mb": (heap.uordblks + heap.hblkhd) / 1e6, "blocks_k": sys.getallocatedblocks() / 1e3}


def say(folder: Path, rank: int, **what: Any) -> None:
    with (folder / f"rank-{rank}.jsonl").open("a") as log:
        log.write(json.dumps({"time": time.time(), **what}) + "\n")


def work(rank: int, size: int, folder: Path, port: int, rest: float, until: int | None) -> None:
    """One generation after another, until the last one ends well."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    log = os.open(folder / f"rank-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2), os.close(log)
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    tried = 0
    while True:
        while (generation := int(store.get("generation"))) <= tried:
            time.sleep(0.1)
        tried = generation
        try:
            live(rank, size, folder, store, generation, rest, until)
            return
        except RuntimeError as error:  # what the loss of a worker looks like, in thinwire and in torch
            say(folder, rank, failed=generation, error=str(error), kind=type(error).__name__)
        store.set(f"lost/{generation}", "")
        leave()


def leave() -> None:
    """Let go of a group that has failed."""
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()
    else:  # if it failed while it was made, torch does not start anew with the numbers by which it names groups
        dist.distributed_c10d._world.group_count = 0
    gc.collect()
