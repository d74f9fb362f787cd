"""An hour of mixed faults: what becomes of the numbers, the memory, the file descriptors and the threads.

    python benchmarks/soak.py --minutes 60 --json benchmarks/results/soak.json

Workers train a small model by diana(rotated(1)) with local momentum and a GradScaler. Drawn by a seed: NaNs in one
worker's data (with them the scale falls, without them it grows), closing and attaching anew with the state handed over,
all by step; workers stopped for a while and workers killed -9, by the clock. Whoever survives a kill stays the same
process: it leaves the group, waits for the one that takes the dead one's place, and all go on from the newest step that
all of them saved. The last rank is never killed: its process, and this one, are what must stay flat. What it has in use
is what it says itself at its checkpoints; its resident memory, which contains what the C library keeps free, is shown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from rich.console import Console
from soak_worker import SAVE_EVERY, work

from thinwire.report.grid import Grid
from thinwire.report.provenance import provenance

IN_USE = "heap_mb", "blocks_k"
NAMES = {
    "rss_mb": "resident memory, MB",
    "fds": "file descriptors",
    "threads": "threads",
    "heap_mb": "C heap, MB",
    "blocks_k": "Python blocks, k",
}

PAUSE_EVERY, PAUSE = 20.0, (0.2, 3.0)
"""Seconds from one to the next, on average, and of a pause."""

START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["__main__", "torch._dynamo"])  # what DDP would import, at every start of a worker


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


def soak(
    gang: Gang, seconds: float, seed: int, every: float, kill_every: float
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Do harm for so many seconds, and look at the processes every now and then."""
    draw, faults, samples = random.Random(seed), Counter[str](), list[dict[str, Any]]()
    begun = time.monotonic()
    next_kill, next_pause = (begun + draw.expovariate(1 / mean) for mean in (kill_every, PAUSE_EVERY))
    next_look = begun
    paused: tuple[int, float] | None = None  # a process that is stopped, and until when
    while (now := time.monotonic()) < begun + seconds:
        gang.heal()
        if paused and now > paused[1]:
            go_on(paused[0])
            paused = None
        if now > next_pause and paused is None:
            paused = draw.choice(gang.processes).pid or 0, now + draw.uniform(*PAUSE)
            os.kill(paused[0], signal.SIGSTOP)
            faults["pauses"] += 1
            next_pause = now + draw.expovariate(1 / PAUSE_EVERY)
        if now > next_kill:
            draw.choice(gang.processes[:-1]).kill()
            faults["kills"] += 1
            next_kill = now + draw.expovariate(1 / kill_every)
        if now > next_look:
            who = {"launcher": os.getpid(), "survivor": gang.processes[-1].pid or 0}
            samples.append({"seconds": now - begun, **{name: held(pid) for name, pid in who.items()}})
            next_look = now + every
        time.sleep(0.1)
    if paused:
        go_on(paused[0])
    return samples, faults


def go_on(pid: int) -> None:
    """End a pause, unless the process was killed in it."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def finish(gang: Gang, seconds: float = 300.0) -> None:
    """Have the workers stop at their next checkpoint."""
    gang.store.set("over", "")
    deadline = time.monotonic() + seconds
    while not gang.ended():
        assert time.monotonic() < deadline, "the workers do not come to an end"
        gang.heal()
        time.sleep(0.1)


def growth(seconds: np.ndarray, values: np.ndarray, blocks: int = 12) -> dict[str, float]:
    """A straight line through the means of blocks of the last three quarters: its growth in an hour, ± 95 %.

    Means of blocks, since samples that follow each other are alike; the first quarter is for caches to fill. Of fewer
    samples than blocks nothing can be told: NaN.
    """
    late = seconds >= seconds[-1] / 4
    if late.sum() < blocks:
        return {"mean": float(values.mean()), "an_hour": float("nan"), "plus_minus": float("nan")}
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
    logs = {rank: (folder / f"rank-{rank}.jsonl").read_text() for rank in range(size)}
    lines = [{"rank": rank, **json.loads(line)} for rank, log in logs.items() for line in log.splitlines()]
    return [line for line in lines if "digest" in line], [line for line in lines if "failed" in line]


def verdict(folder: Path, size: int, samples: list[dict[str, Any]], reference: dict[int, str]) -> dict[str, Any]:
    points, failures = read(folder, size)
    digests: dict[int, set[str]] = {}
    for point in points:
        digests.setdefault(point["step"], set()).add(point["digest"])
    losses = [point["loss"] for point in sorted(points, key=lambda point: point["step"])]
    tenth = max(len(losses) // 10, 1)
    in_use = columns_in_use(points, size - 1)
    grows = grown(columns(samples), in_use)
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
        "in_use": in_use,
        "growth": grows,
        "flat": {who: {what: flat(one) for what, one in what_grows.items()} for who, what_grows in grows.items()},
    }


def grown(samples: dict[str, Any], in_use: dict[str, list[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """How all that was looked at grew."""
    series = {who: (samples["seconds"], samples[who]) for who in ("launcher", "survivor")}
    series["survivor, in use"] = in_use["seconds"], {what: in_use[what] for what in IN_USE}
    return {
        who: {what: growth(np.array(seconds), np.array(values)) for what, values in looked_at.items()}
        for who, (seconds, looked_at) in series.items()
    }


def told(found: dict[str, Any]) -> Grid:
    """The figures as a table."""
    settings, faults = found["settings"], found["faults"]
    rows = [
        (f"{who}: {NAMES[what]}", *(f"{one[key]:.1f}" for key in one), "yes" if found["flat"][who][what] else "**no**")
        for who, grows in found["growth"].items()
        for what, one in grows.items()
    ]
    equal = found["replicas_bit_equal"] and found["as_undisturbed"]
    notes = (
        f"{found['steps']:,} steps, {found['checkpoints'] // settings['workers']} checkpoints, {found['generations']} "
        f"groups; bits {'equal' if equal else 'NOT equal'} on all workers, and to those of an undisturbed run over its "
        f"first {found['undisturbed_steps_compared'] * SAVE_EVERY:,} steps",
        f"loss {found['first_loss']:.2g} at first, {found['last_loss']:.2g} at last; loss scale from "
        f"{found['scales'][0]:g} to {found['scales'][1]:g}",
        "growth: of a line through the last three quarters, ± 95 %; flat: not above that, or below 1 % an hour",
    )
    quarters = [float(part.mean()) for part in np.array_split(found["samples"]["survivor"]["rss_mb"], 4)]
    of_each = ", ".join(f"{mb:.1f}" for mb in quarters)
    notes += (f"the survivor's resident memory in each quarter of the time: {of_each} MB",)
    done = f"{faults['kills']} kills, {faults['pauses']} pauses"
    title = f"{settings['minutes']:g} minutes, {settings['workers']} workers, {done}"
    return Grid(title, ("", "mean", "growth an hour", "±", "flat"), rows, notes=notes)


def columns(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """The samples, a list for each figure."""
    series = {
        who: {what: [round(sample[who][what], 2) for sample in samples] for what in samples[0][who]}
        for who in ("launcher", "survivor")
    }
    return {"seconds": [round(sample["seconds"], 1) for sample in samples], **series}


def columns_in_use(points: list[dict[str, Any]], survivor: int) -> dict[str, list[float]]:
    """What the survivor said that it has in use, a list for each figure."""
    said = [point for point in points if point["rank"] == survivor]
    series = {what: [round(point[what], 3) for point in said] for what in IN_USE}
    return {"seconds": [round(point["time"] - said[0]["time"], 1) for point in said], **series}


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
    parser.add_argument("--kill-every", type=float, default=40.0, help="seconds, on average")
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
            while not (folder / "rank-0.jsonl").exists():  # the first start takes long: everything is imported
                gang.heal()
                time.sleep(0.1)
            samples, faults = soak(gang, seconds, asked.seed, seconds / 720, asked.kill_every)
            finish(gang)
        finally:
            gang.end()
        steps = min(asked.compare, max(point["step"] for point in read(folder, asked.workers)[0]))
        found = verdict(folder, asked.workers, samples, undisturbed(asked.workers, steps))
    settings = {"minutes": asked.minutes, "workers": asked.workers, "seed": asked.seed, "rest": asked.rest}
    found = {"provenance": made, "settings": settings, "faults": faults, **found, "samples": columns(samples)}
    grid = told(found)
    grid.print(Console())
    if asked.json:
        file = {"benchmark": "soak", "command": shlex.join(["python", *sys.argv]), "grids": [asdict(grid)], **found}
        asked.json.write_text(json.dumps(file) + "\n")
    good = found["replicas_bit_equal"] and found["as_undisturbed"] and found["losses_finite"]
    sys.exit(not (good and all(all(what.values()) for what in found["flat"].values())))


if __name__ == "__main__":
    main()
