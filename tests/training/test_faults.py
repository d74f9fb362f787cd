"""Workers that are late are waited for, and workers that are set up differently are refused before the first step."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import thinwire as tw
from thinwire.training import reducer

from .fleet import Fleet
from .jobs import train

ODD: dict[str, dict[str, Any]] = {
    "link": {"link": "diana(rotated(2))"},
    "auto": {"link": "auto"},
    "down": {"down": "diana(rotated(3))"},
    "route": {"route": "gather"},
    "momentum": {"momentum": 0.9},
    "warmup_steps": {"warmup_steps": 5},
    "seed": {"seed": 1},
    "checksum": {"checksum": False},
    "optimizer": {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)},
    "scaler": {"scaler": torch.amp.GradScaler("cpu", enabled=True)},
}
"""What one worker gives to `attach` and the others do not."""


def attach_oddly(rank: int, size: int, what: str) -> str:
    """Rank 1 is set up differently; what this rank is told."""
    given = {"link": "diana(rotated(1))", **(ODD.get(what, {}) if rank == 1 else {})}
    version = "0.0" if rank == 1 and what == "thinwire" else reducer.__version__
    names = ["first", "second"]
    if rank == 1 and what == "order":
        names.reverse()
    model = DistributedDataParallel(nn.ModuleDict({name: nn.Linear(64, 64) for name in names}))
    with mock.patch.object(reducer, "__version__", version), pytest.raises(tw.PeerError) as caught:
        tw.attach(model, **given)
    return str(caught.value)


@pytest.mark.parametrize("what", [*ODD, "thinwire", "order"])
def test_the_first_difference_is_named_at_the_start(fleet: Fleet, what: str) -> None:
    first = {"order": "first.weight = ", "auto": "link = "}.get(what, f"{what} = ")
    for message in fleet.run(attach_oddly, what):
        assert "thinwire: the workers differ: rank 0 has " in message
        ours, theirs = message.split("rank 1 has ")
        assert first in ours
        assert ("second.weight = " if what == "order" else first) in theirs


def train_with_a_pause(rank: int, size: int, paused: int) -> dict[str, Any]:
    """A training in which a worker stops itself in the middle of a step, until someone lets it go on."""
    if rank != paused:
        return train(rank, size, "diana(rotated(1))", steps=6)
    calls = iter(range(10**6))
    plain = reducer.Reducer.reduce

    def stopping(self: reducer.Reducer, number: int) -> Any:
        if next(calls) == 5:  # the second frame of the third step; all threads of the process stop
            os.kill(os.getpid(), signal.SIGSTOP)
        return plain(self, number)

    with mock.patch.object(reducer.Reducer, "reduce", stopping):
        return train(rank, size, "diana(rotated(1))", steps=6)


def test_who_is_late_is_waited_for(fleet: Fleet) -> None:
    """For longer than the others take to wonder, and less than their limit."""
    at_once = fleet.run(train_with_a_pause, -1)
    fleet.start(train_with_a_pause, 1)
    stat = Path(f"/proc/{fleet.processes[1].pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.02)
    time.sleep(2.5)  # several looks of a second
    os.kill(fleet.processes[1].pid or 0, signal.SIGCONT)
    for (good, late), punctual in zip(fleet.results(), at_once, strict=True):
        assert good, late
        assert late["losses"] == punctual["losses"]
        assert bool((late["weights"] == punctual["weights"]).all())
