"""DDP's own all-reduce, in 32 or 16 bits: what "auto" attaches where compression does not pay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import fault
from thinwire.comm import Group, ProcessGroup
from thinwire.training import elastic
from thinwire.training.log import NO_LOG, Board, Log, begin
from thinwire.training.state import together
from thinwire.training.stats import Stats, Tally


class PlainWire:
    """The same figures and calls as `Wire` has, over PyTorch's all-reduce. It remembers nothing.

    >>> import torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> model = DistributedDataParallel(torch.nn.Linear(64, 64))
    >>> wire = PlainWire(model, torch.float32, "one worker has nobody to talk to")
    >>> model(torch.randn(8, 64)).square().mean().backward()
    >>> wire.stats().total.steps, wire.stats().routes
    (1, ("4160 values by DDP's all-reduce of float32",))
    >>> dist.destroy_process_group()
    """

    def __init__(self, model: DistributedDataParallel, dtype: torch.dtype, reason: str) -> None:
        self._values = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._dtype, self._reason = dtype, reason
        self._group = model.process_group
        self._last, self._total = Tally(), Tally()
        self._before = 0  # steps that were made before this wire's
        self._log = NO_LOG
        model.register_comm_hook(self, _hook)

    def stats(self) -> Stats:
        """Bytes of the last step and of all. Seconds are not taken: the all-reduce is PyTorch's."""
        last, total = Tally(), Tally()
        last.add(self._last)
        total.add(self._total)
        kind = str(self._dtype).removeprefix("torch.")
        return Stats(last, total, (f"{self._values} values by DDP's all-reduce of {kind}",), (self._reason,))

    @property
    def group(self) -> Group:
        """The workers."""
        return ProcessGroup(self._group)

    def state_dict(self) -> dict[str, Any]:
        """Nothing is remembered but the number of steps."""
        return {"version": 1, "plain": True, "steps": self._steps}

    @property
    def _steps(self) -> int:
        return self._before + self._total.steps

    def load_state_dict(self, state: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on at the step of a state; None for a worker that joins. All workers call this together.

        Raises:
            ValueError: the state of a link, if `strict`: it remembers what would be lost here; or the states of the
                workers are not of one save.
            PeerError: another worker's state was refused.
        """
        refusal: ValueError | None = None
        if strict and state is not None and not state.get("plain"):
            link = state.get("settings", {}).get("link")
            way_out = (
                f"Attach with the link that it was saved with: attach(model, {link!r}); or drop what it remembers with "
                "strict=False."
            )
            refusal = ValueError(
                fault("load_state_dict", "auto chose a plain all-reduce here", f"a state of {link}", way_out)
            )
        group = self.group
        together(group, "load_state_dict", refusal)
        self._before = elastic.agreed(elastic.tell(group, state, False)).steps - self._total.steps

    def log(self, path: str | Path, *, every: int = 1, tensorboard: str | Path | Board | None = None) -> Log:
        """Keep a log of the training from here on, as `Wire.log` does; of bytes and of whole steps' seconds."""
        self._log.close()
        kind = str(self._dtype).removeprefix("torch.")
        facts = {"link": f"all-reduce of {kind}", "workers": self._group.size(), "parameters": self._values}
        self._log = begin(path, self._group.rank(), facts, every, tensorboard, [self._reason])
        return self._log

    def close(self) -> None:
        """End the log."""
        self._log.close()

    def receive(self, bucket: GradBucket) -> Future[Tensor]:
        """Start PyTorch's own all-reduce of a bucket, and count its bytes."""
        n = self._group.size()
        share = (n - 1) / n * bucket.buffer().numel()
        tally = Tally(steps=int(bucket.is_last()), dense_bytes=8 * share)
        tally.bytes_up = tally.bytes_down = round(self._dtype.itemsize * share)
        tally.bytes_in = 2 * tally.bytes_up
        if bucket.index() == 0:
            self._last = Tally()
        self._last.add(tally)
        self._total.add(tally)
        if bucket.is_last():
            self._log.heard(self._steps, self._last, {})
        reduce = default_hooks.allreduce_hook if self._dtype == torch.float32 else default_hooks.bf16_compress_hook
        return reduce(self._group, bucket)


def _hook(wire: PlainWire, bucket: GradBucket) -> Future[Tensor]:
    return wire.receive(bucket)


# DDP compares the annotations with the types themselves, not with their names.
_hook.__annotations__ = {"wire": PlainWire, "bucket": GradBucket, "return": Future[torch.Tensor]}
