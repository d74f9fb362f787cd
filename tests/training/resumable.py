"""A training that goes on from its newest checkpoint whenever it is started, and of which one worker dies now and then.

python -m torch.distributed.run --standalone --nproc-per-node=3 --max-restarts=2 -m tests.training.resumable FOLDER \
    --die 1:7 --die 0:11
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist

import thinwire as tw

from .jobs import build, data, weights

STEPS, EVERY = 14, 3


def train(rank: int, size: int, folder: Path, deaths: dict[int, int]) -> torch.Tensor:
    """Train to the end; deaths[i] is the step in which this rank dies if it has been started i times before."""
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    net, model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    wire = tw.attach(model, "diana(rotated(1))", momentum=0.9, route="sharded", timeout=60.0)
    checkpoints = tw.Checkpoints(folder, wire, model=net, optimizer=optimizer)
    first = checkpoints.load()
    for step in range(first, STEPS):
        if deaths.get(attempt) == step:  # in the backward pass, when half of the gradients are under way
            net.second.weight.register_hook(lambda _: os.kill(os.getpid(), signal.SIGKILL))
        optimizer.zero_grad()
        model(data(rank, step)).square().mean().backward()
        optimizer.step()
        if (step + 1) % EVERY == 0:
            checkpoints.save(step + 1)
    wire.close()
    return weights(net)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", action="append", default=[], help="rank:step, in the first start, the second …")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    deaths = {number: int(die.split(":")[1]) for number, die in enumerate(asked.die) if int(die.split(":")[0]) == rank}
    asked.folder.mkdir(parents=True, exist_ok=True)
    torch.save(train(rank, size, asked.folder, deaths), asked.folder / f"end-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
