"""Trainings in whose middle gradients come to go another way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import thinwire as tw

from .jobs import Net, build, data, gradients, weights


def step(rank: int, net: Net, model: torch.nn.Module, number: int, *, poison: bool = False) -> Tensor:
    """The gradients of a step, along which the weights go if they are finite."""
    net.zero_grad()
    x = data(rank, number)
    if poison:
        x[0, 0] = float("nan")
    model(x).square().mean().backward()
    seen = gradients(net)
    if bool(seen.isfinite().all()):
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
    return seen


def turning(
    rank: int, size: int, first: str, turns: dict[int, str], steps: int, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Before each step named in `turns` the wire turns."""
    net, model = build()
    wire = tw.attach(model, first, **(options or {}))
    seen, ways = [], []
    for number in range(steps):
        if number in turns:
            wire.turn(turns[number], "as asked")
        seen.append(step(rank, net, model, number))
        ways.append(wire.way)
    found = {"gradients": seen, "weights": weights(net), "ways": ways, "stats": wire.stats(), "steps": wire.steps}
    wire.close()
    return found


def balance(rank: int, size: int, link: str, options: dict[str, Any], poisoned: bool) -> tuple[float, float, bool]:
    """What was told and what the workers' gradients were, summed up to the step that pays, without weights that move.

    Gives the largest difference, the largest sum, and whether something is owed in the end.
    """
    net, model = build()
    twin = Net()
    twin.load_state_dict(net.state_dict())
    wire = tw.attach(model, link, **options)
    told, wanted = torch.zeros(0), torch.zeros(0)
    for number in range(6):
        if number == 4:
            wire.turn("float32")
            if poisoned:  # which pays nothing, and of which nothing is taken
                net.zero_grad()
                x = data(rank, 77)
                if rank == 1:
                    x[0, 0] = float("nan")
                model(x).square().mean().backward()
                assert not bool(gradients(net).isfinite().all())
        net.zero_grad()
        model(data(rank, number)).square().mean().backward()
        twin.zero_grad()
        twin(data(rank, number)).square().mean().backward()
        mean = gradients(twin)
        torch.distributed.all_reduce(mean)
        told = gradients(net) + (told if len(told) else 0)
        wanted = mean / size + (wanted if len(wanted) else 0)
    owes = bool(wire._way.owed())
    wire.close()
    return float((told - wanted).abs().max()), float(wanted.abs().max()), owes


def interrupted(rank: int, size: int, turns: dict[int, str], steps: int, at: int) -> tuple[bool, bool]:
    """Whether a training that stops before step `at` and goes on from what was saved is the one that did not."""
    whole: list[Tensor] = []
    net, model = build()
    wire = tw.attach(model, "diana(rotated(1))")
    saved: dict[str, Any] = {}
    way = ""
    for number in range(steps):
        if number in turns:
            wire.turn(turns[number])
        if number == at:
            saved = {"wire": wire.state_dict(), "model": {k: v.clone() for k, v in net.state_dict().items()}}
            way = wire.way
        whole.append(step(rank, net, model, number))
    wire.close()
    net, model = build()
    net.load_state_dict(saved["model"])
    again = tw.attach(model, "diana(rotated(1))")
    again.turn(way)
    again.load_state_dict(saved["wire"])
    parts = []
    for number in range(at, steps):
        if number in turns and number != at:
            again.turn(turns[number])
        parts.append(step(rank, net, model, number))
    same = all(torch.equal(a, b) for a, b in zip(whole[at:], parts, strict=True))
    steps_same = again.steps == steps
    again.close()
    return same, steps_same


def refusals(rank: int, size: int) -> list[str]:
    """What is said where turning would lose something, or is none."""
    said = []

    def ask(wire: tw.Wire, what: Any) -> None:
        way = wire.way
        try:
            wire.turn(what)
        except (ValueError, tw.PeerError) as error:
            said.append(str(error))
        assert wire.way == way

    _, model = build()
    owing = tw.attach(model, "ef14(topk(0.1))")
    model(data(rank, 0)).square().mean().backward()
    ask(owing, "diana(rotated(1))")
    ask(owing, "lowrank(4)")
    ask(owing, torch.float16)
    owing.turn("float32")
    ask(owing, "diana(rotated(1))")
    owing.close()
    averaging = tw.attach(build()[1], "diana(rotated(1))", momentum=0.9)
    ask(averaging, "float32")
    ask(averaging, "float32" if rank == 1 else "bfloat16")
    averaging.close()
    summed = tw.attach((model := build()[1]), "ef14(bfloat16())")  # by the all-reduce, which topk cannot take
    model(data(rank, 0)).square().mean().backward()
    ask(summed, "ef14(topk(0.1))")
    summed.close()
    return said


def while_under_way(rank: int, size: int) -> list[str]:
    """What is said to one who turns in a hook of the backward pass, by a link and by DDP's own all-reduce."""
    said = []
    _, model = build()
    wire = tw.attach(model, "diana(rotated(1))")

    def ask(_: Tensor) -> None:
        try:
            wire.turn("dcgd(rotated(3))")
        except RuntimeError as error:
            said.append(str(error))

    for _ in range(2):
        x = data(rank, 0).requires_grad_()  # its gradient is the last one
        x.register_hook(ask)
        model(x).square().mean().backward()
        wire.turn("float32")
    wire.close()
    return said


def closed_in_each_state(rank: int, size: int) -> list[str]:
    """Each way can be closed, after which a step is refused and the model can be wrapped anew."""
    said = []
    for way in ("diana(rotated(1))", "float32", "bfloat16", "dcgd(rotated(3))"):
        _, model = build()
        wire = tw.attach(model, "diana(rotated(1))")
        wire.turn(way)
        model(data(rank, 0)).square().mean().backward()
        wire.close()
        try:
            model(data(rank, 0)).square().mean().backward()
        except RuntimeError as error:
            said.append(str(error))
    return said


def unpaid(rank: int, size: int) -> tuple[str, float, float]:
    """What is said where a state that owes would be loaded into a link; and what is owed there, and once turned."""
    _, model = build()
    wire = tw.attach(model, "ef14(topk(0.1))")
    model(data(rank, 0)).square().mean().backward()
    wire.turn("float32")
    state = wire.state_dict()
    owed = sum(float(part.square().sum()) for part in state["owed"].values())
    wire.close()
    again = tw.attach(build()[1], "ef14(topk(0.1))")
    said = ""
    try:
        again.load_state_dict(state)
    except ValueError as error:
        said = str(error)
    again.turn("float32")
    again.load_state_dict(state)
    kept = sum(float(part.square().sum()) for part in again.state_dict()["owed"].values())
    again.close()
    return said, owed, kept
