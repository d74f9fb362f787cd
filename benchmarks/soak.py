"""An hour of mixed faults: what becomes of the numbers, the memory, the file descriptors and the threads.

    python benchmarks/soak.py --minutes 60 --json benchmarks/results/soak.json

Workers train a small model by diana(rotated(1)) with local momentum and a GradScaler. Drawn by a seed: NaNs in one
worker's data (with them the scale falls, without them it grows), closing and attaching anew with the state handed over,
all by step; workers stopped for a while and workers killed -9, by the clock. Whoever survives a kill stays the same
process: it leaves the group, waits for the one that takes the dead one's place, and all go on from the newest step that
all of them saved. The last rank is never killed: its process, and this one, are what must stay flat.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw
from thinwire.report.provenance import provenance

LINK = "diana(rotated(1))"
SAVE_EVERY, ANEW_EVERY = 50, 330
NAN_EVERY, GROW_AFTER = 30, 18
"""Steps from one NaN to the next, on average, and without one until the scale grows: it does so a little more often."""
KILL_EVERY, PAUSE_EVERY, PAUSE = 40.0, 20.0, (0.2, 3.0)
"""Seconds, on average, and of a pause."""
LIMIT = 30.0
"""Of a collective, in seconds."""
WIDTH, BATCH = 64, 16

START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["__main__", "torch._dynamo"])  # what DDP would import, at every start of a worker


# ---- a worker ----


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
        said |= {"scale": training.scaler.get_scale(), "pid": os.getpid(), "generation": generation}
        say(training.folder, rank, **said)
        losses = []
        told = torch.tensor([float(rank == 0 and (store.check(["over"]) or training.step == until))])
        dist.broadcast(told, 0)
        over = bool(told.item())


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


# ---- the launcher ----


class Gang:
    """The workers' processes, and what is done to them."""

    def __init__(self, size: int, folder: Path, rest: float, until: int | None) -> None:
        self.size, self.folder, self.rest, self.until = size, folder, rest, until
        self.store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.generation = 0
        self.processes = [self._start(rank) for rank in range(size)]
        self.next_generation()

    def _start(self, rank: int) -> BaseProcess:
        asked = rank, self.size, self.folder, self.store.port, self.rest, self.until
        process = START.Process(target=work, args=asked, daemon=True)
        process.start()
        return process

    def next_generation(self) -> None:
        self.generation += 1
        self.store.set("generation", str(self.generation))

    def heal(self) -> None:
        """Have someone take the place of each that is dead, and all go on."""
        dead = [rank for rank, process in enumerate(self.processes) if process.exitcode not in (None, 0)]
        for rank in dead:
            log = (self.folder / f"rank-{rank}.log").read_text()
            assert self.processes[rank].exitcode == -signal.SIGKILL, f"a worker has failed by itself:\n{log}"
            self.processes[rank] = self._start(rank)
        if dead or self.store.check([f"lost/{self.generation}"]):
            self.next_generation()

    def ended(self) -> bool:
        return all(process.exitcode == 0 for process in self.processes)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def held(pid: int) -> dict[str, float]:
    """What a process holds now."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    fds, tasks = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task"))
    return {"rss_mb": resident / 1e6, "fds": fds, "threads": tasks}


def soak(gang: Gang, seconds: float, seed: int, every: float) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Do harm for so many seconds, and look at the processes every now and then."""
    draw, faults, samples = random.Random(seed), Counter[str](), list[dict[str, Any]]()
    begun = time.monotonic()
    next_kill, next_pause = (begun + draw.expovariate(1 / mean) for mean in (KILL_EVERY, PAUSE_EVERY))
    next_look = begun
    paused: tuple[int, float] | None = None  # a process that is stopped, and until when
    while (now := time.monotonic()) < begun + seconds:
        gang.heal()
        if paused and now > paused[1]:
            os.kill(paused[0], signal.SIGCONT)
            paused = None
        if now > next_pause and paused is None:
            paused = draw.choice(gang.processes).pid or 0, now + draw.uniform(*PAUSE)
            os.kill(paused[0], signal.SIGSTOP)
            faults["pauses"] += 1
            next_pause = now + draw.expovariate(1 / PAUSE_EVERY)
        if now > next_kill:
            draw.choice(gang.processes[:-1]).kill()
            faults["kills"] += 1
            next_kill = now + draw.expovariate(1 / KILL_EVERY)
        if now > next_look:
            who = {"launcher": os.getpid(), "survivor": gang.processes[-1].pid or 0}
            samples.append({"seconds": now - begun, **{name: held(pid) for name, pid in who.items()}})
            next_look = now + every
        time.sleep(0.1)
    if paused:
        os.kill(paused[0], signal.SIGCONT)
    return samples, faults


def finish(gang: Gang, seconds: float = 300.0) -> None:
    """Have the workers stop at their next checkpoint."""
    gang.store.set("over", "")
    deadline = time.monotonic() + seconds
    while not gang.ended():
        assert time.monotonic() < deadline, "the workers do not come to an end"
        gang.heal()
        time.sleep(0.1)


# ---- the verdict ----


def growth(seconds: np.ndarray, values: np.ndarray, blocks: int = 12) -> dict[str, float]:
    """A straight line through the means of blocks of the last three quarters: its growth in an hour, ± 95 %.

    Means of blocks, since samples that follow each other are alike; the first quarter is for caches to fill.
    """
    late = seconds >= seconds[-1] / 4
    x, y = (np.array([part.mean() for part in np.array_split(z[late], blocks)]) for z in (seconds, values))
    slope, height = np.polyfit(x - x.mean(), y, 1)
    spread = ((y - height - slope * (x - x.mean())) ** 2).sum() / (blocks - 2)
    error = 2.23 * (spread / ((x - x.mean()) ** 2).sum()) ** 0.5  # Student's t for 10 degrees of freedom
    return {"mean": float(height), "an_hour": float(3600 * slope), "plus_minus": float(3600 * error)}


def flat(one: dict[str, float]) -> bool:
    """No growth that is both beyond its uncertainty and above a hundredth of the whole an hour."""
    return one["an_hour"] <= one["plus_minus"] or one["an_hour"] <= 0.01 * one["mean"]


def read(folder: Path, size: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the workers said of their checkpoints, and of their failures."""
    lines = [json.loads(line) for r in range(size) for line in (folder / f"rank-{r}.jsonl").read_text().splitlines()]
    return [line for line in lines if "digest" in line], [line for line in lines if "failed" in line]


def verdict(folder: Path, size: int, samples: list[dict[str, Any]], reference: dict[int, str]) -> dict[str, Any]:
    points, failures = read(folder, size)
    digests: dict[int, set[str]] = {}
    for point in points:
        digests.setdefault(point["step"], set()).add(point["digest"])
    losses = [point["loss"] for point in sorted(points, key=lambda point: point["step"])]
    tenth = max(len(losses) // 10, 1)
    seconds = np.array([sample["seconds"] for sample in samples])
    grows = {
        who: {what: growth(seconds, np.array([s[who][what] for s in samples])) for what in ("rss_mb", "fds", "threads")}
        for who in ("launcher", "survivor")
    }
    named = Counter("names a rank" if "rank" in failure["error"] else failure["error"][:80] for failure in failures)
    return {
        "steps": max(digests),
        "checkpoints": len(points),
        "steps_saved_again": sum(len({p["generation"] for p in points if p["step"] == step}) > 1 for step in digests),
        "replicas_bit_equal": all(len(found) == 1 for found in digests.values()),
        "undisturbed_steps_compared": len(reference),
        "as_undisturbed": all(digests[step] == {digest} for step, digest in reference.items()),
        "first_loss": float(np.mean(losses[:tenth])),
        "last_loss": float(np.mean(losses[-tenth:])),
        "losses_finite": bool(np.isfinite(losses).all()),
        "scales": [min(p["scale"] for p in points), max(p["scale"] for p in points)],
        "generations": max(point["generation"] for point in points),
        "failures": dict(Counter(f["kind"] for f in failures)) | dict(named),
        "growth": grows,
        "flat": {who: {what: flat(one) for what, one in what_grows.items()} for who, what_grows in grows.items()},
    }


def undisturbed(size: int, steps: int) -> dict[int, str]:
    """The digests of the first steps of the same training, of which nobody is killed or stopped."""
    with tempfile.TemporaryDirectory() as folder:
        gang = Gang(size, Path(folder), 0.0, steps)
        try:
            while not gang.ended():
                assert all(process.exitcode in (None, 0) for process in gang.processes), "a worker has failed"
                time.sleep(0.1)
        finally:
            gang.end()
        return {point["step"]: point["digest"] for point in read(Path(folder), size)[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rest", type=float, default=0.02, help="seconds that a worker sleeps after each step")
    parser.add_argument("--compare", type=int, default=1000, help="steps that an undisturbed run is to agree on")
    parser.add_argument("--json", type=Path, help="where the figures go")
    asked = parser.parse_args()
    made = provenance()  # the code that runs, whatever is committed meanwhile
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gang = Gang(asked.workers, folder, asked.rest, None)
        seconds = 60 * asked.minutes
        try:
            samples, faults = soak(gang, seconds, asked.seed, every=max(seconds / 720, 0.5))
            finish(gang)
        finally:
            gang.end()
        steps = min(asked.compare, max(point["step"] for point in read(folder, asked.workers)[0]))
        found = verdict(folder, asked.workers, samples, undisturbed(asked.workers, steps))
    for what, value in {**faults, **found}.items():
        print(f"{what}: {json.dumps(value)}")
    if asked.json:
        settings = {"minutes": asked.minutes, "workers": asked.workers, "seed": asked.seed, "rest": asked.rest}
        whole = {"provenance": made, "settings": settings, "faults": faults, **found, "samples": samples}
        asked.json.write_text(json.dumps(whole, indent=1) + "\n")
    good = found["replicas_bit_equal"] and found["as_undisturbed"] and found["losses_finite"]
    sys.exit(not (good and all(all(what.values()) for what in found["flat"].values())))


if __name__ == "__main__":
    main()
