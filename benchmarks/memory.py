"""What thinwire keeps from step to step, in bytes a parameter, for each kind of link: counted, not computed.

    thinwire lab --hosts 4 --rate none -- python benchmarks/memory.py

A model of a million parameters trains three steps with each link; then every tensor that its wire holds is counted
once, by its memory. DDP's own buckets and the optimiser's state are not in it.
"""

from __future__ import annotations

import gc
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

LINKS = (
    ("dcgd(rotated(3))", None),
    ("dcgd(rotated(3))", 0.9),
    ("diana(rotated(1))", None),
    ("diana(rotated(1))", 0.9),
    ("ef21(topk(0.01))", None),
    ("ef14(topk(0.01))", None),
    ("marina(randk(0.1, block=256))", None),
    ("dasha(rotated(1))", None),
)


def held(before: set[int]) -> int:
    """Bytes of all tensors that are alive and were not before, each piece of memory once."""
    gc.collect()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors() if id(t) not in before}
    return sum(storages.values())


def tensors() -> list[torch.Tensor]:
    """Every tensor that Python knows of."""
    return [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for text, momentum in LINKS:
        model = DistributedDataParallel(torch.nn.Linear(1024, 1024, bias=False))
        before = {id(t) for t in tensors()}
        wire = tw.attach(model, text, momentum=momentum)
        for _ in range(3):
            model(torch.randn(8, 1024)).square().mean().backward()
            model.zero_grad()
        kept = held(before)
        if dist.get_rank() == 0:
            note = "" if momentum is None else f", momentum={momentum}"
            line = f"{text + note:40} {kept / 1024**2:6.1f} bytes a parameter, {wire.stats().routes[0].split()[-1]}"
            sys.stdout.write(line + "\n")
        wire.close()
        del wire, model
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
