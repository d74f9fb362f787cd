"""Mixed precision with overflows now and then: what a GradScaler does under DDP, PyTorch's PowerSGD, and thinwire.

    python benchmarks/amp.py --steps 200 --workers 2

A small classifier in float16, whose loss scale doubles after every few steps without an overflow, and so overflows
again and again: a scaler at work, in fast motion. Prints how many steps each method skipped, when it skipped the last
one, which scale it ended with, and the loss of the last ten steps that counted.
"""

from __future__ import annotations

import argparse
import os
import socket
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

METHODS = ("DDP", "PowerSGD hook, rank 4", "ef14(topk(0.01))", "dcgd(rotated(3))", "diana(rotated(1)), momentum 0.9")
CLASSES, WIDTH, BATCH = 10, 128, 64


def train(rank: int, method: str, steps: int, growth_interval: int, seed: int) -> dict[str, Any]:
    """One training on one worker."""
    torch.manual_seed(seed)
    teacher = torch.randn(WIDTH, CLASSES)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
    model = DistributedDataParallel(net)  # so small that it is one bucket: PowerSGD's hook aborts on Gloo with two
    scaler = GradScaler("cpu", growth_interval=growth_interval)
    local = method.endswith("momentum 0.9")
    if method.startswith("PowerSGD"):
        state = PowerSGDState(None, matrix_approximation_rank=4, start_powerSGD_iter=2, min_compression_rate=1)
        model.register_comm_hook(state, powerSGD_hook)
    elif method != "DDP":
        tw.attach(model, method.split(", ")[0], momentum=0.9 if local else None, scaler=scaler)
    # an average is a tenth of the sum that SGD's momentum of 0.9 makes
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5 if local else 0.05, momentum=0.0 if local else 0.9)
    data = torch.Generator().manual_seed(1 + 100 * seed + rank)
    losses, skipped = [], []
    for step in range(steps):
        x = torch.randn(BATCH, WIDTH, generator=data)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = nn.functional.cross_entropy(model(x), (x @ teacher).argmax(1))
        scaler.scale(loss).backward()
        before = net[0].weight.detach().clone()
        scaler.step(optimizer)
        scaler.update()
        if torch.equal(before, net[0].weight):
            skipped.append(step)
        else:
            losses.append(loss.item())
    return {"skipped": skipped, "scale": scaler.get_scale(), "loss": sum(losses[-10:]) / len(losses[-10:])}


def worker(rank: int, port: int, options: argparse.Namespace) -> None:
    """All methods, one after the other; rank 0 prints."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=options.workers)
    if rank == 0:
        print(f"| {options.steps} steps | steps skipped | the last one | final scale | loss |")
        print("|---|---:|---:|---:|---:|")
    for method in METHODS:
        found = train(rank, method, options.steps, options.growth_interval, options.seed)
        last = found["skipped"][-1] if found["skipped"] else "none"
        if rank == 0:
            figures = [len(found["skipped"]), last, f"{found['scale']:g}", f"{found['loss']:.3f}"]
            print(f"| {method} | {' | '.join(map(str, figures))} |", flush=True)
    dist.destroy_process_group()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--growth-interval", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, options), options.workers)


if __name__ == "__main__":
    main()
