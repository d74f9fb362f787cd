"""What can be done with a DDP model, each thing a scene that is played with plain DDP and with links, and compared."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw

from .jobs import Net, data
from .models import Pictures, Twice, Words

LINKS = (None, "dcgd(identity())", "diana(rotated(2))")
"""Plain DDP; its gradients by a link that changes nothing; and by one that does, with a memory."""


class Play:
    """One playing of a scene: what all ranks should hold alike (`synced`), and what is each one's own (`local`)."""

    def __init__(self, rank: int, link: str | None) -> None:
        self.rank, self._link = rank, link
        self.synced: list[Tensor] = []
        self.local: list[Tensor] = []
        self.steps: list[int] = []
        self._wires: list[tw.Wire] = []
        torch.manual_seed(1)

    def wrap(self, net: nn.Module, **ddp: Any) -> DistributedDataParallel:
        model = DistributedDataParallel(net, **ddp)
        if self._link is not None:
            self._wires.append(tw.attach(model, self._link))
        return model

    def net(self, **ddp: Any) -> tuple[Net, DistributedDataParallel]:
        net = Net()
        return net, self.wrap(net, **ddp)

    def loss(self, model: nn.Module, step: int, *arguments: Any) -> Tensor:
        return model(data(self.rank, step), *arguments).square().mean()

    def close(self) -> None:
        for wire in self._wires:
            self.steps.append(wire.stats().total.steps)
            wire.close()
        self._wires = []

    def step(self, net: nn.Module, *, local: bool = False) -> None:
        """Keep the gradients, and go a step along those that all ranks hold alike."""
        (self.local if local else self.synced).append(held(net))
        if not local:
            with torch.no_grad():
                for p in net.parameters():
                    if p.grad is not None:
                        p -= 0.3 * p.grad.to_dense()
        net.zero_grad()


def held(net: nn.Module) -> Tensor:
    """All gradients that are there, each led by its number."""
    parts = []
    for number, p in enumerate(net.parameters()):
        if p.grad is not None:
            parts += [torch.tensor([float(number)]), p.grad.detach().to_dense().reshape(-1)]
    return torch.cat(parts)


def accumulation(play: Play) -> None:
    net, model = play.net()
    for step in range(3):
        for part in range(step):
            with model.no_sync():
                play.loss(model, 10 * step + part).backward()
        play.loss(model, 10 * step + 9).backward()
        play.step(net)
    with model.no_sync():
        play.loss(model, 50).backward()
    play.step(net, local=True)
    play.loss(model, 51).backward()
    play.step(net)


def sync_is_decided_in_the_forward_pass(play: Play) -> None:
    net, model = play.net()
    with model.no_sync():
        loss = play.loss(model, 0)
    loss.backward()
    play.step(net, local=True)
    loss = play.loss(model, 1)
    with model.no_sync():
        loss.backward()
    play.step(net)
    play.loss(model, 2).backward()
    play.step(net)


def gradients_that_are_not_zeroed(play: Play) -> None:
    net, model = play.net()
    for step in range(3):
        play.loss(model, step).backward()
        play.synced.append(held(net))
    net.zero_grad(set_to_none=False)
    play.loss(model, 3).backward()
    play.step(net)


def unused_here_and_there(play: Play) -> None:
    net, model = play.net(find_unused_parameters=True)
    for step, users in enumerate(((0, 1, 2), (1,), (), (0, 2), (), (0, 1, 2))):
        play.loss(model, step, play.rank in users).backward()
        play.step(net)


def unused_and_accumulated(play: Play) -> None:
    net, model = play.net(find_unused_parameters=True)
    for step in range(3):
        with model.no_sync():
            play.loss(model, 10 * step, step == 1).backward()
        play.loss(model, 10 * step + 1, step == 2 and play.rank == 0).backward()
        play.step(net)


def static_graph(play: Play) -> None:
    net = Twice()
    model = play.wrap(net, static_graph=True)
    for step in range(4):
        play.loss(lambda x: model(x.requires_grad_()), step).backward()
        play.step(net)


def static_graph_with_accumulation(play: Play) -> None:
    net, model = play.net(static_graph=True)
    for step in range(3):
        if step:
            with model.no_sync():
                play.loss(model, 10 * step, False).backward()
        play.loss(model, 10 * step + 1, False).backward()
        play.step(net)


def four_steps(play: Play, net: nn.Module, model: DistributedDataParallel) -> None:
    """Of which the third one accumulates."""
    for step in range(4):
        if step == 2:
            with model.no_sync():
                play.loss(model, 10).backward()
        play.loss(model, step).backward()
        play.step(net)


def bucket_views(play: Play) -> None:
    four_steps(play, *play.net(gradient_as_bucket_view=True, bucket_cap_mb=0.02))


def frozen_and_thawed(play: Play) -> None:
    net, model = play.net(find_unused_parameters=True)
    for step in range(6):
        net.second.requires_grad_(step not in (2, 3))
        play.loss(model, step).backward()
        play.step(net)


def wrapped_anew(play: Play) -> None:
    """Frozen, thawed and grown: each time with a new DDP and a new wire."""
    net = Net()
    for number in range(4):
        net.second.requires_grad_(number != 1)
        if number == 3:
            net.extra = nn.Sequential(net.extra, nn.Tanh(), nn.Linear(64, 64))
        model = play.wrap(net)
        for step in range(2):
            play.loss(model, 10 * number + step).backward()
            play.step(net)
        play.close()


def two_at_once(play: Play) -> None:
    (net, model), (other, second) = play.net(), play.net(bucket_cap_mb=0.02)
    for step in range(3):
        losses = [play.loss(model, step), play.loss(second, 10 + step)]
        for loss, which in zip(losses, (net, other) if step % 2 else (other, net), strict=True):
            (losses[1] if which is other else losses[0]).backward()
            del loss
        play.step(net)
        play.step(other)


def one_feeds_the_other(play: Play) -> None:
    (net, model), (other, second) = play.net(), play.net()
    for step in range(3):
        play.loss(lambda x: second(model(x)), step).backward()
        play.step(net)
        play.step(other)


def evaluation_in_between(play: Play) -> None:
    net, model = play.net()
    for step in range(4):
        loss = play.loss(model, step)
        model.eval()
        with torch.no_grad():
            play.loss(model, 100)
        if step == 2:
            with torch.inference_mode():
                play.loss(model, 101)
            play.loss(net, 102)
        model.train()
        loss.backward()
        play.step(net)
    play.loss(model, 200)  # with gradients, for nothing
    with torch.no_grad():
        play.loss(model, 201)
    play.loss(model, 5).backward()
    play.step(net)


def two_forward_passes(play: Play) -> None:
    net, model = play.net()
    for step in range(3):
        (play.loss(model, step) + play.loss(model, 10 + step)).backward()
        play.step(net)


def a_second_backward_pass(play: Play) -> None:
    """On the same graph, and past DDP: DDP reduces neither, and the next step is not disturbed."""
    net, model = play.net()
    for step in range(3):
        loss = play.loss(model, step)
        loss.backward(retain_graph=True)
        play.synced.append(held(net))
        loss.backward()
        play.local.append(held(net))
        play.loss(net, 10 + step).backward()
        play.local.append(held(net))
        net.zero_grad()
        play.loss(model, 20 + step).backward()
        play.step(net)


def a_forward_pass_that_fails(play: Play) -> None:
    net, model = play.net()
    play.loss(model, 0).backward()
    play.step(net)
    with suppress(RuntimeError):
        model(torch.zeros(3, 5))
    with model.no_sync():
        play.loss(model, 1).backward()
    play.local.append(held(net))
    play.loss(model, 2).backward()
    play.step(net)


def sparse_embedding(play: Play) -> None:
    net = Words()
    four_steps(play, net, play.wrap(net))


def pictures(play: Play) -> None:
    for view in (False, True):
        net = Pictures()
        model = play.wrap(net, gradient_as_bucket_view=view)
        for step in range(3):
            play.loss(model, step).backward()
            assert net.second.weight.grad is not None
            play.step(net)
            play.loss(model, 100 + step)
        # the buffers of rank 0 are everyone's from the next forward pass on
        model(data(play.rank, 0))
        play.local.append(torch.cat([b.reshape(-1).float() for b in net.buffers()]))


def left_to_others(play: Play) -> None:
    """Parameters that DDP is told to ignore."""
    net = Net()
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(net, ["extra.weight", "second.bias"])
    model = play.wrap(net)
    for step in range(3):
        play.loss(model, step).backward()
        play.local.append(held(net))
        for p in (net.extra.weight, net.second.bias):
            p.grad = None
        play.step(net)


def gradients_that_hooks_change(play: Play) -> None:
    """On the way to `.grad` at any time; in `.grad`, by a hook that is older than the wire."""

    def clip(p: Tensor) -> None:
        p.grad = p.grad.clamp(-1e-3, 1e-3)

    net = Net()
    net.extra.weight.register_post_accumulate_grad_hook(clip)
    model = play.wrap(net)
    net.second.weight.register_hook(lambda g: g * 2)
    for step in range(3):
        play.loss(model, step).backward()
        play.step(net)


def copied(play: Play) -> None:
    """A copy of the model, as an average of its weights needs one: without hooks, trained alone."""
    net, model = play.net()
    play.loss(model, 0).backward()
    play.step(net)
    twin = copy.deepcopy(net)
    play.loss(twin, 1).backward()
    play.step(twin, local=True)
    play.loss(model, 1).backward()
    play.step(net)


def some_of_the_workers(play: Play) -> None:
    if play.rank == 0:  # members that have been in different numbers of groups
        dist.new_group([0], use_local_synchronization=True)
    group = dist.new_group([0, 2])
    if play.rank != 1:
        net, model = play.net(process_group=group)
        for step in range(3):
            play.loss(model, step).backward()
            play.step(net)


def uneven_inputs(play: Play) -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 64))
    model = play.wrap(net)
    with model.join():
        for step in range(2 + play.rank):
            play.loss(model, step).backward()
            play.step(net)
    play.synced = [torch.cat([p.detach().reshape(-1) for p in net.parameters()])]
    play.loss(model, 9).backward()
    play.step(net)


def compiled(play: Play, inside: bool, backend: str) -> None:
    net = Net()
    if inside:
        model: Any = play.wrap(torch.compile(net, backend=backend))  # type: ignore[arg-type]
        ddp = model
    else:
        ddp = play.wrap(net)
        model = torch.compile(ddp, backend=backend)
    for step in range(4):
        if step == 2:
            with ddp.no_sync():
                play.loss(model, 10).backward()
        loss = play.loss(model, step)
        if step == 3:
            with torch.no_grad():
                play.loss(model, 11)
        loss.backward()
        play.step(net)


SCENES = (
    accumulation,
    sync_is_decided_in_the_forward_pass,
    gradients_that_are_not_zeroed,
    unused_here_and_there,
    unused_and_accumulated,
    static_graph,
    static_graph_with_accumulation,
    bucket_views,
    frozen_and_thawed,
    wrapped_anew,
    two_at_once,
    one_feeds_the_other,
    evaluation_in_between,
    two_forward_passes,
    a_second_backward_pass,
    a_forward_pass_that_fails,
    sparse_embedding,
    pictures,
    left_to_others,
    gradients_that_hooks_change,
    copied,
    some_of_the_workers,
    uneven_inputs,
)


def play_all(rank: int, size: int, scene: str, arguments: tuple[Any, ...] = ()) -> list[dict[str, list[Any]]]:
    """The scene with each of LINKS: what was synced, what was local, and how many steps the wires count."""
    found = []
    for link in LINKS:
        play = Play(rank, link)
        globals()[scene](play, *arguments)
        play.close()
        found.append({"synced": play.synced, "local": play.local, "steps": play.steps})
    return found
