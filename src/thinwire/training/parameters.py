"""Which parameters of a model DDP reduces, and how their gradients travel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import fault


@dataclass(frozen=True)
class Reduced:
    """The parameters that DDP reduces, by name: those whose gradients are dense, and those whose are sparse.

    Both in the order of registration, a shared one by its first name.
    """

    dense: dict[str, Parameter]
    sparse: dict[str, Parameter]


def reduced(model: DistributedDataParallel) -> Reduced:
    """Exactly the parameters that DDP reduces: that require gradients, and that it was not told to ignore.

    A gradient is sparse if the first module that holds the parameter is an embedding with sparse=True.

    Raises:
        ValueError: nothing is left, or a parameter is complex.

    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> net = torch.nn.ModuleDict({"words": torch.nn.Embedding(9, 2, sparse=True), "out": torch.nn.Linear(2, 9)})
    >>> found = reduced(DistributedDataParallel(net))
    >>> list(found.dense), list(found.sparse)
    (['out.weight', 'out.bias'], ['words.weight'])
    >>> dist.destroy_process_group()
    """
    dense: dict[str, Parameter] = {}
    sparse: dict[str, Parameter] = {}
    met: set[int] = set()
    for prefix, part in model.module.named_modules():
        tables = isinstance(part, torch.nn.Embedding | torch.nn.EmbeddingBag) and part.sparse
        for own, p in part.named_parameters(recurse=False):
            # DDP knows the root's own parameters as ".weight"
            if not p.requires_grad or id(p) in met or f"{prefix}.{own}" in model.parameters_to_ignore:
                continue
            met.add(id(p))
            (sparse if tables else dense)[f"{prefix}.{own}" if prefix else own] = p
    where = "attach(model, …)"
    if not dense:
        way_out = "Leave such a model to DDP."
        raise ValueError(fault(where, "the model has dense gradients for DDP to reduce", list(sparse), way_out))
    for name, p in (dense | sparse).items():
        if p.is_complex():
            way_out = "Hold it as two real parameters, and use torch.complex on them."
            raise ValueError(fault(where, "parameters are real numbers", f"{name} of {p.dtype}", way_out))
    return Reduced(dense, sparse)
