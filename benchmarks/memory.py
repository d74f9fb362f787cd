"""What thinwire keeps from step to step, in bytes a parameter, for each kind of link: counted, not computed.

    thinwire lab --hosts 4 --rate none -- python benchmarks/memory.py

A model of a million parameters trains three steps with each link; then every tensor that its wire keeps is counted
once, by its memory. DDP's own buckets and the optimiser's state are not in it.
"""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType

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
    ("lowrank(4)", None),
)


def held(root: object) -> int:
    """Bytes of all tensors that can be reached from an object of thinwire's, each piece of memory once."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType | tw.Group):
            continue
        seen[id(thing)] = thing
        if type(thing) is not torch.Tensor:
            waiting += gc.get_referents(thing)
    found = [thing.untyped_storage() for thing in seen.values() if type(thing) is torch.Tensor]
    return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for text, momentum in LINKS:
        model = DistributedDataParallel(torch.nn.Linear(1024, 1024, bias=False))
        wire = tw.attach(model, text, momentum=momentum)
        for _ in range(3):
            model(torch.randn(8, 1024)).square().mean().backward()
            model.zero_grad()
        kept = held(wire._way.reducer)
        if dist.get_rank() == 0:
            note = "" if momentum is None else f", momentum={momentum}"
            line = f"{text + note:40} {kept / 1024**2:6.1f} bytes a parameter, {wire.stats().routes[0].split()[-1]}"
            sys.stdout.write(line + "\n")
        wire.close()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
