"""A wire's memory for torch.distributed.checkpoint, which keeps one value of each name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from thinwire._check import fault
from thinwire.comm import ProcessGroup
from thinwire.training.checkpoint import Remembers


class PerRank:
    """A wire's memory in a checkpoint of torch.distributed.checkpoint: the rank is part of its name.

    Without it DCP, which keeps one value of each name, would keep one rank's memory and load it everywhere. Each rank's
    is one value, of bytes, so that it can be loaded into a wire that remembers nothing yet. It may be loaded on fewer
    workers; on more with `planner=DefaultLoadPlanner(allow_partial_load=True)`: who finds nothing joins.

    Args:
        wire: what `attach` returned, or a LinkMemory.

    >>> import tempfile, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    >>> wire = tw.attach(model, "diana(rotated(bits=2))")
    >>> model(torch.ones(8, 64)).square().mean().backward()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = dcp.save({"wire": tw.PerRank(wire)}, checkpoint_id=folder)
    ...     model(torch.ones(8, 64)).square().mean().backward()
    ...     dcp.load({"wire": tw.PerRank(wire)}, checkpoint_id=folder)
    >>> wire.state_dict()["steps"]
    1
    >>> wire.close(); dist.destroy_process_group()
    """

    def __init__(self, wire: Remembers) -> None:
        self._wire = wire
        self._name = f"rank-{(wire.group or ProcessGroup()).ranks.start}"
        self._said = b""

    def state_dict(self) -> dict[str, Any]:
        """This rank's memory, under its name."""
        room = io.BytesIO()
        torch.save(self._wire.state_dict(), room)
        self._said = room.getvalue()
        return {self._name: self._said}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from it. DCP loads into what `state_dict` gave: if it had nothing for this rank, that is still there.

        Raises:
            ValueError: as for `Wire.load_state_dict`, or the state is not one of a PerRank.
        """
        found = state.get(self._name)
        if not isinstance(found, bytes):
            raise ValueError(fault("PerRank", f"the state holds bytes under {self._name!r}", sorted(state)))
        joins = found is self._said
        self._wire.load_state_dict(None if joins else torch.load(io.BytesIO(found), weights_only=True))
