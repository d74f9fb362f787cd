"""Under torchrun a job of which a worker is killed goes on by itself, with the bits of one that ran undisturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from . import resumable
from .fleet import Fleet

ROOT = Path(__file__).parents[2]


def undisturbed(rank: int, size: int, folder: Path) -> torch.Tensor:
    folder.mkdir(exist_ok=True)
    return resumable.train(rank, size, folder, {})


RUN = [sys.executable, "-m", "torch.distributed.run"]
APART = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""A store for each start: in the one that agents share, Gloo finds where the processes of the last start listened."""


def test_torchrun_restarts_and_the_bits_are_the_same(fleet: Fleet, tmp_path: Path) -> None:
    """Rank 0 dies, and the store with it."""
    command = [*RUN, "--standalone", "--nproc-per-node=3", "--max-restarts=2", "-m", "tests.training.resumable"]
    env = {**os.environ, **APART, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, str(tmp_path / "killed"), "--die", "0:7"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            _, said = run.communicate(timeout=200)
        finally:
            run.terminate()  # in order, so that its workers end as well
    assert not run.returncode, said
    assert "exitcode: -9" in said
    killed = [torch.load(tmp_path / "killed" / f"end-{rank}.pt") for rank in range(3)]
    for whole in fleet.run(undisturbed, tmp_path / "whole"):
        for part in killed:
            assert bool((part == whole).all())
