"""What the processes of a fleet run with LowRank, beside `jobs`."""

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
from torch.futures import Future

import thinwire as tw
from thinwire.training import frames

from . import jobs

SHAPES = {"c": (5, 13), "b": (512, 1111), "a": (64, 48), "v": (9,)}


def train_in_frames(rank: int, size: int, link: str, options: dict[str, Any]) -> dict[str, Any]:
    """`jobs.train` with a frame for each matrix."""
    with patch.multiple(frames, SMALLEST_FRAME=64 * 64, LARGEST_FRAME=64 * 64):
        return jobs.train(rank, size, link, **options)


def given(name: str, rank: int, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * step + 10 * rank + ord(name))
    return torch.randn(SHAPES[name], generator=generator)


def reduce(rank: int, size: int, link: str, steps: int) -> dict[str, list[Tensor]]:
    """Gradients of shapes that BLAS may cut differently, by `reduce_gradients_`."""
    parameters = {name: nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}
    memory, group = tw.LinkMemory(), tw.ProcessGroup()
    found: dict[str, list[Tensor]] = {name: [] for name in SHAPES}
    for step in range(steps):
        for name, p in parameters.items():
            p.grad = given(name, rank, step)
        tw.reduce_gradients_(parameters.items(), link, memory, group)
        for name, p in parameters.items():
            assert p.grad is not None
            found[name].append(p.grad.clone())
    return found


def beside_pytorch(rank: int, size: int, rank_of_matrices: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    """The gradients of ours and of PyTorch's PowerSGD, step after step, each model trained by its own."""
    net, model = jobs.build()
    wire = tw.attach(model, tw.LowRank(rank_of_matrices), warmup_steps=2)
    (carrier, _), (frame, _) = wire._way.reducer.carriers, wire._way.reducer.frames
    basis = torch.as_tensor(carrier.state_dict()["basis"]).view(len(frame.slots), rank_of_matrices, 64)
    first = {slot.name: q for slot, q in zip(frame.slots, basis, strict=True)}
    other_net, other = jobs.build()
    state = powerSGD_hook.PowerSGDState(None, rank_of_matrices, start_powerSGD_iter=2, min_compression_rate=1)
    names = {id(p): name for name, p in other_net.named_parameters()}

    def hook(_: object, bucket: GradBucket) -> Future[Tensor]:
        if state.iter == 2:  # its directions are drawn now: let them be ours
            matrices = [first[names[id(p)]].t() for p in bucket.parameters() if p.ndim > 1]
            state.q_memory_dict[bucket.index()] = torch.cat([q.reshape(-1) for q in matrices])
            state.p_memory_dict[bucket.index()] = torch.empty(len(matrices) * 64 * rank_of_matrices)
        return powerSGD_hook.powerSGD_hook(state, bucket)

    other.register_comm_hook(None, hook)
    found = []
    for step in range(steps):
        for one, ddp in ((net, model), (other_net, other)):
            one.zero_grad()
            ddp(jobs.data(rank, step)).square().mean().backward()
        found.append((jobs.gradients(net), jobs.gradients(other_net)))
        for one in (net, other_net):
            with torch.no_grad():
                for p in one.parameters():
                    p -= 0.5 * p.grad
    wire.close()
    return found


def resume_in_frames(rank: int, size: int, link: str, saved: list[dict[str, Any]], options: dict[str, Any]) -> Any:
    return train_in_frames(rank, size, link, {"saved": saved[rank], **options})
