"""What a wire is attached to: a model that can have a hook of ours, what it trains, and its workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from thinwire._check import fault
from thinwire.comm.process import ProcessGroup
from thinwire.training.parameters import Reduced, reduced


@dataclass(frozen=True)
class Trained:
    """What `attach` was given, and found out.

    Args:
        model: the wrapped model.
        parameters: those that DDP reduces.
        group: its workers, in groups of their own.
        scaler, optimizers: as for `attach`.
    """

    model: DistributedDataParallel
    parameters: Reduced
    group: ProcessGroup
    scaler: GradScaler | None = None
    optimizers: Sequence[Optimizer] = ()

    @classmethod
    def of(
        cls,
        model: DistributedDataParallel,
        *,
        scaler: GradScaler | None,
        optimizer: Optimizer | Iterable[Optimizer],
        timeout: float,
        checksum: bool,
    ) -> Trained:
        """All workers call this together.

        Raises:
            TypeError: model is no DistributedDataParallel.
            ValueError: it cannot have a hook of ours.
            PeerError: a worker is missing.
        """
        if not isinstance(model, DistributedDataParallel):
            way_out = "Wrap the model first; without DDP use tw.reduce_gradients_."
            rule = "model is a DistributedDataParallel"
            raise TypeError(fault("attach(model, …)", rule, type(model).__name__, way_out))
        parameters = _reducible(model)
        optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        group = ProcessGroup.beside(model.process_group, timeout=timeout, checksum=checksum)
        return cls(model, parameters, group, scaler, optimizers)

    @property
    def facts(self) -> dict[str, object]:
        """What all workers must agree on beside the settings."""
        return {"scaler": self.scaler is not None, "optimizer": bool(self.optimizers)}

    @property
    def values(self) -> int:
        """How many are trained."""
        return sum(p.numel() for p in (self.parameters.dense | self.parameters.sparse).values())

    @property
    def named(self) -> dict[int, str]:
        """Names by parameters' ids."""
        return {id(p): name for name, p in (self.parameters.dense | self.parameters.sparse).items()}


def _reducible(model: DistributedDataParallel) -> Reduced:
    """The parameters that DDP reduces. Raises ValueError for a wrapping in which a hook of ours cannot work."""
    where = "attach(model, …)"
    if model._comm_hooks:
        hook = model._comm_hooks[0][0].__qualname__
        way_out = "Wrap it anew without; in place of mixed_precision=… use torch.autocast."
        if hook == "probe_hook":
            way_out = "A probe watches it: leave attach out as long as thinwire probe runs the script."
        raise ValueError(fault(where, "the model has no communication hook yet", hook, way_out))
    if any(hasattr(p, "_in_backward_optimizers") for p in model.parameters()):  # for which DDP has a hook of its own
        way_out = "Let the optimiser step after the backward pass."
        raise ValueError(fault(where, "gradients are there after the backward pass", "an optimiser in it", way_out))
    if getattr(model, "skip_all_reduce_unused_params", False):  # then not every bucket comes
        rule = "all parameters are reduced in every step"
        raise ValueError(fault(where, rule, "skip_all_reduce_unused_params=True", "Leave it False."))
    return reduced(model)
