"""What the processes of a fleet run with torch.distributed.checkpoint."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

from . import jobs, reducers


def _trained(rank: int, steps: int, group: dist.ProcessGroup | None = None) -> tuple[DistributedDataParallel, Any]:
    net, model = jobs.build(process_group=group)
    wire = tw.attach(model, "diana(rotated(2))", momentum=0.9, route="sharded")
    for step in range(steps):
        net.zero_grad()
        model(jobs.data(rank, step)).square().mean().backward()
    return model, wire


def through_dcp(rank: int, size: int, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {"same": []}
    model, wire = _trained(rank, 3)
    saved = reducers.bits(wire.state_dict())
    dcp.save({"model": model, "wire": tw.PerRank(wire)}, checkpoint_id=f"{folder}/all")
    dcp.async_save({"wire": tw.PerRank(wire)}, checkpoint_id=f"{folder}/async").result()
    for name in ("all", "async"):
        _, fresh = _trained(rank, 1)
        dcp.load({"wire": tw.PerRank(fresh)}, checkpoint_id=f"{folder}/{name}")
        found["same"].append(reducers.bits(fresh.state_dict()) == saved)
        found["steps"] = fresh.state_dict()["steps"]
        fresh.close()
    wire.close()
    pair = dist.new_group([0, 1])
    if rank < 2:
        _, fewer = _trained(rank, 0, pair)
        dcp.load({"wire": tw.PerRank(fewer)}, checkpoint_id=f"{folder}/all", process_group=pair)
        found["fewer"] = fewer.state_dict()["steps"]
        dcp.save({"wire": tw.PerRank(fewer)}, checkpoint_id=f"{folder}/pair", process_group=pair)
        fewer.close()
    dist.barrier()
    _, more = _trained(rank, 0)
    planner = DefaultLoadPlanner(allow_partial_load=True)
    dcp.load({"wire": tw.PerRank(more)}, checkpoint_id=f"{folder}/pair", planner=planner)
    found["more"] = more.state_dict()["steps"]
    more.close()
    return found
