"""What the processes of a fleet run for the tests of logs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

import thinwire as tw

from . import jobs


class Board:
    """What a SummaryWriter would have been given."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, float, int]] = []
        self.flushes = 0

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars.append((tag, scalar_value, global_step))

    def flush(self) -> None:
        self.flushes += 1


def logged(
    rank: int,
    size: int,
    file: str,
    *,
    link: str = "diana(rotated(1))",
    steps: int = 20,
    poison: int | None = None,
    state: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train with a log; step `poison` has a NaN on rank 1. What the wire counted, by step, as `stats` tells it."""
    _, model = jobs.build()
    wire = tw.attach(model, link)
    if state is not None:
        wire.load_state_dict(state[f"{rank}"])
    board = Board()
    log = wire.log(file, tensorboard=board if not rank else None, **options)
    told = []
    for step in range(steps):
        model.zero_grad()
        x = jobs.data(rank, step)
        if step == poison and rank == 1:
            x[0, 0] = float("nan")
        loss = model(x).square().mean()
        loss.backward()
        log.add(loss=loss, half=step / 2, word="a")
        told.append(wire.stats().last.as_dict())
    kept = wire.state_dict()
    wire.close()
    log.add(loss=1.0)  # after the end, nothing
    return {"told": told, "scalars": board.scalars, "flushes": board.flushes, "state": kept}


def logged_plain(rank: int, size: int, file: str) -> None:
    _, model = jobs.build()
    wire = jobs.plain_wire(model)
    log = wire.log(file)
    for step in range(3):
        model(jobs.data(rank, step)).square().mean().backward()
        log.add(loss=float("inf"))
    wire.close()


def refused(rank: int, size: int, folder: str) -> list[str]:
    """What is said to wrong arguments."""
    _, model = jobs.build()
    wire = tw.attach(model, "dcgd(rotated(3))")
    other = Path(folder) / f"other-{rank}"
    other.write_text("not mine\n")
    said = []
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # as where it is not installed
    for file, options in (
        (str(other) if not rank else "{rank}" + str(other), {}),
        ("/proc/nowhere/{rank}", {}),
        (f"{folder}/new-{{rank}}", {"every": 0}),
        (f"{folder}/new-{{rank}}", {"tensorboard": folder}),
    ):
        if file.startswith("{rank}"):
            file = str(Path(folder) / "other-{rank}")
        try:
            wire.log(file, **options)  # type: ignore[arg-type]
        except ValueError as error:
            said.append(str(error))
    log = wire.log(f"{folder}/kept-{{rank}}")
    for wrong in ([1.0], torch.ones(2)):
        try:
            log.add(loss=wrong)  # type: ignore[arg-type]
        except TypeError as error:
            said.append(str(error))
    wire.close()
    del sys.modules["torch.utils.tensorboard"]
    return said
