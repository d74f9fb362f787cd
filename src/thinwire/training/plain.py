"""DDP's own all-reduce, in 32 or 16 bits: where compression does not pay, or not yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.futures import Future

from thinwire._check import fault
from thinwire.comm import Group
from thinwire.training import elastic
from thinwire.training.rates import Rates
from thinwire.training.reducer import Listener
from thinwire.training.state import together
from thinwire.training.stats import Tally
from thinwire.training.ways import Way

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""In which it may run, by name."""


class Plain(Way):
    """PyTorch's all-reduce of each bucket. What a link before it owed is added to the first step that is finite.

    Args:
        pg: DDP's group.
        group: the same workers, for what they have to agree on.
        values: how many are trained.
        dtype: torch.float32 or torch.bfloat16.
        steps: that were made before.
        owed: by parameter name, kept by the learning rates `rates.then`.
    """

    def __init__(
        self,
        pg: torch.distributed.ProcessGroup,
        group: Group,
        values: int,
        dtype: torch.dtype,
        *,
        steps: int = 0,
        owed: Mapping[str, Tensor] | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._pg, self._group, self._values, self._dtype = pg, group, values, dtype
        self._steps = steps
        self._last, self._total = Tally(), Tally()
        self._owed = dict(owed or {})
        self._finite: list[bool] = []
        self._under_way = False
        self.rates = rates or Rates()
        self.listener: Listener | None = None

    @property
    def name(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def tallies(self) -> tuple[Tally, Tally]:
        return self._last, self._total

    @property
    def routes(self) -> tuple[str, ...]:
        return (f"{self._values} values by DDP's all-reduce of {self.name}",)

    @property
    def idle(self) -> bool:
        return not self._under_way

    def facts(self) -> dict[str, Any]:
        return {"link": f"all-reduce of {self.name}", "workers": self._group.size, "parameters": self._values}

    def take(self, name: str, gradient: Tensor, scale: Tensor | None) -> None:
        """DDP's buckets are soon enough."""

    def receive(self, bucket: GradBucket, named: Sequence[tuple[str, Tensor]], scale: Tensor | None) -> Future[Tensor]:
        """Start PyTorch's own all-reduce of a bucket, and count its bytes."""
        if not self._under_way:
            self._begin()
        n, buffer, last = self._group.size, bucket.buffer(), bucket.is_last()
        share = (n - 1) / n * buffer.numel()
        tally = Tally(steps=int(last), dense_bytes=8 * share)
        narrow = self._dtype != torch.float32 and not buffer.is_sparse
        tally.bytes_up = tally.bytes_down = round((self._dtype if narrow else torch.float32).itemsize * share)
        tally.bytes_in = 2 * tally.bytes_up
        self._last.add(tally)
        self._total.add(tally)
        reduce = default_hooks.bf16_compress_hook if narrow else default_hooks.allreduce_hook
        if self._owed and not buffer.is_sparse:
            for name, gradient in named:
                if name in self._owed:
                    debt = self._owed[name] * self.rates.ratio(name)
                    gradient.add_((debt if scale is None else debt * scale).to(gradient.dtype))
            self._finite.append(False)  # and stays so, if this collective fails
            looked_at = partial(_looked_at, self._finite, len(self._finite) - 1)
            future = reduce(self._pg, bucket).then(looked_at)
        else:
            future = reduce(self._pg, bucket)
        if last:
            self._under_way = False
            self._steps += 1
            if self.listener is not None:
                self.listener(self._steps, self._last, {})
        return future

    def _begin(self) -> None:
        self._settle()
        self._under_way, self._last = True, Tally()

    def _settle(self) -> None:
        """What was owed is paid if the step was finite: all workers hold the same bits of it."""
        if self._finite and all(self._finite):
            self._owed = {}
        self._finite = []

    def owed(self) -> dict[str, Tensor]:
        self._settle()
        return self._owed

    def state_dict(self) -> dict[str, Any]:
        """The number of steps; and what is still owed, if no step came since a link owed it."""
        owed = {name: part.clone() for name, part in self.owed().items()}
        more = {"owed": owed, "rates": dict(self.rates.then), "world": self._group.size} if owed else {}
        return {"version": 1, "plain": True, "steps": self._steps, "dtype": self.name, **more}

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
            rule = "gradients go by a plain all-reduce here"
            refusal = ValueError(fault("load_state_dict", rule, f"a state of {link}", way_out))
        together(self._group, "load_state_dict", refusal)
        self._steps = elastic.agreed(elastic.tell(self._group, state, False)).steps
        self._finite, self._owed = [], {}
        if state is not None and state.get("owed"):
            part = self._group.size / state["world"]
            self._owed = {name: debt.to(self._group.device) * part for name, debt in state["owed"].items()}
            self.rates.then = state["rates"]

    def close(self) -> None:
        """Nothing of it runs beside the backward pass."""


def _looked_at(finite: list[bool], number: int, reduced: Future[Tensor]) -> Tensor:
    """Note whether a bucket is finite, in its place.

    It holds no wire: a thread of the group calls it, which must not be the last to let go of the group that it is of.
    """
    value = reduced.value()
    finite[number] = bool(value.isfinite().all())
    return value
