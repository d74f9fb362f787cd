"""Under torchrun a job of which a worker is killed goes on by itself, with the bits of one that ran undisturbed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thinwire.lab import Lab

from ..lab.conftest import lack
from . import resumable
from .fleet import Fleet

ROOT = Path(__file__).parents[2]


def undisturbed(rank: int, size: int, folder: Path) -> torch.Tensor:
    return resumable.train(rank, size, folder, {})


RUN = [sys.executable, "-m", "torch.distributed.run"]
APART = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""A store for each start: in the one that agents share, Gloo finds where the processes of the last start listened."""


@pytest.fixture(scope="module")
def whole(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The weights at the end, if nobody dies."""
    first, *others = fleet.run(undisturbed, tmp_path_factory.mktemp("whole"))
    assert all(bool((other == first).all()) for other in others)
    return first


def ends(folder: Path) -> list[torch.Tensor]:
    return [torch.load(folder / f"end-{rank}.pt") for rank in range(3)]


def test_torchrun_restarts_and_the_bits_are_the_same(whole: torch.Tensor, tmp_path: Path) -> None:
    """Rank 0 dies, and the store with it."""
    command = [*RUN, "--standalone", "--nproc-per-node=3", "--max-restarts=2", "-m", "tests.training.resumable"]
    env = {**os.environ, **APART, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, str(tmp_path), "--die", "0:7"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            _, said = run.communicate(timeout=200)
        finally:
            run.terminate()  # in order, so that its workers end as well
    assert not run.returncode, said
    assert "exitcode: -9" in said
    assert all(bool((end == whole).all()) for end in ends(tmp_path))


@pytest.mark.lab
def test_so_do_torchruns_on_several_hosts(whole: torch.Tensor, tmp_path: Path) -> None:
    """An agent on each, which meet on the first; the others' workers end since they miss the dead one."""
    if reason := lack():
        pytest.skip(f"no lab on this machine: {reason}")
    meeting = "--nnodes=3 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=10.77.0.1:29400 --rdzv-id=job"
    agent = f"{shlex.join(RUN)} {meeting} --local-addr=10.77.0.$((RANK + 1)) --max-restarts=3"
    job = f"-m tests.training.resumable {shlex.quote(str(tmp_path))} --die 1:7"
    said: list[str] = []
    with Lab(3) as hosts:
        command = ["sh", "-c", f"cd {shlex.quote(str(ROOT))} && exec {agent} {job}"]
        codes = hosts.run(command, env=APART, timeout=200, on_line=lambda rank, stream, line: said.append(line))
    assert codes == [0, 0, 0], said
    assert any("exitcode: -9" in line for line in said)
    assert all(bool((end == whole).all()) for end in ends(tmp_path))
