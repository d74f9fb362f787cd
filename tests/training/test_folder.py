"""Checkpoints in a folder: complete or not there, the last ones kept, damage named, other numbers of workers."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thinwire as tw
from tests.comm.ranks import run_ranks

from . import saving
from .fleet import Fleet

LINK = tw.diana(tw.Rotated(bits=2))


def train(group: tw.Group, folder: Path, steps: int, *, every: int = 2, keep: int = 2) -> tuple[int, Tensor]:
    """A small training that goes on from what is in the folder: where it began, and the weights at its end."""
    rank = group.ranks.start
    weights = torch.nn.init.normal_(torch.empty(40, 40), generator=torch.Generator().manual_seed(1))
    net = nn.Linear(40, 40, bias=False)
    net.weight.data = weights
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
    memory = tw.LinkMemory(group=group)
    checkpoints = tw.Checkpoints(folder, memory, keep=keep, model=net, optimizer=optimizer)
    start = checkpoints.load()
    for step in range(start, steps):
        x = torch.randn(8, 40, generator=torch.Generator().manual_seed(100 * rank + step))
        optimizer.zero_grad()
        net(x).square().mean().backward()
        tw.reduce_gradients_(net.named_parameters(), LINK, memory, momentum=0.9)
        optimizer.step()
        if (step + 1) % every == 0:
            checkpoints.save(step + 1)
    return start, net.weight.detach()


def run(workers: int, folder: Path, steps: int, **options: Any) -> list[tuple[int, Tensor]]:
    return run_ranks(workers, lambda group: train(group, folder, steps, **options))


def test_a_training_that_is_cut_off_gives_the_weights_of_one_that_is_not(tmp_path: Path) -> None:
    whole = run(3, tmp_path / "whole", 8)
    assert [start for start, _ in run(3, tmp_path / "cut", 5)] == [0, 0, 0]
    rest = run(3, tmp_path / "cut", 8)
    assert [start for start, _ in rest] == [4, 4, 4]
    for (_, ours), (_, wanted) in zip(rest, whole, strict=True):
        assert torch.equal(ours, wanted)


@pytest.mark.parametrize("workers", [2, 4])
def test_other_numbers_of_workers_go_on(tmp_path: Path, workers: int) -> None:
    run(3, tmp_path, 4)
    found = run(workers, tmp_path, 8)
    assert [start for start, _ in found] == [4] * workers
    assert all(torch.equal(weights, found[0][1]) for _, weights in found)
    assert [start for start, _ in run(3, tmp_path, 8)] == [8, 8, 8]


def test_the_last_ones_stay_and_what_is_not_complete_does_not_count(tmp_path: Path) -> None:
    run(2, tmp_path, 7, every=1, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{k:08d}" for k in (5, 6, 7)]
    kept = tmp_path / "step-00000007"
    assert sorted(path.name for path in kept.iterdir()) == ["complete.json", "rank-0.pt", "rank-1.pt", "shared.pt"]
    (kept / "complete.json").unlink()  # as a kill while writing leaves it
    (kept / "rank-1.pt").rename(kept / "rank-1.pt.new")
    assert run(2, tmp_path, 6)[0][0] == 6
    shutil.rmtree(tmp_path / "step-00000006")
    assert run(2, tmp_path, 5)[0][0] == 5
    assert run(2, tmp_path / "another", 0)[0][0] == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: (p / "rank-1.pt").write_bytes(b"\x01" + (p / "rank-1.pt").read_bytes()[1:]), "rank-1.pt is damaged"),
        (lambda p: (p / "rank-1.pt").write_bytes((p / "rank-1.pt").read_bytes()[:100]), "100 bytes with CRC-32"),
        (lambda p: (p / "rank-1.pt").unlink(), "No such file or directory"),
        (lambda p: (p / "shared.pt").write_bytes(b""), "shared.pt is damaged"),
        (lambda p: (p / "complete.json").write_text('{"step": '), "complete.json is damaged"),
    ],
)
def test_damage_is_named_and_the_one_before_is_taken(tmp_path: Path, spoil: Any, said: str) -> None:
    run(2, tmp_path, 4)
    spoil(tmp_path / "step-00000004")
    with warnings.catch_warnings(record=True, action="always") as heard:
        assert [start for start, _ in run(2, tmp_path, 2)] == [2, 2]
    assert len(heard) == 2, "each rank hears of it"
    for warning in heard:
        assert "the checkpoint of step 4 is left out" in str(warning.message)
    assert any(said in str(warning.message) for warning in heard), [str(warning.message) for warning in heard]
    spoil(tmp_path / "step-00000002")
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="none of its checkpoints can be"):
        run(2, tmp_path, 2)


class Failing:
    """An object whose state is no state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    group = tw.LocalGroup(2)
    memory = tw.LinkMemory(group=group)
    odd = tw.Checkpoints(tmp_path, memory, odd=Failing({"group": group}))
    with pytest.raises(ValueError, match=r"shared.pt holds what torch.load\(…, weights_only=True\) refuses"):
        odd.save(3)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    plain = tw.Checkpoints(tmp_path, memory, plain=Failing({}))
    plain.save(3)
    with pytest.raises(ValueError, match=r"it holds plain; got \['other'\]. Name the same objects"):
        tw.Checkpoints(tmp_path, memory, other=Failing({})).load()
    with pytest.raises(ValueError, match="keep must be at least 1"):
        tw.Checkpoints(tmp_path, memory, keep=0)


def test_a_rank_that_cannot_write_is_named_and_nothing_counts(tmp_path: Path) -> None:
    run(3, tmp_path, 2)

    def work(group: tw.ProcessGroup) -> str:
        memory = tw.LinkMemory(group=group)
        if group.ranks.start == 1:
            memory.state_dict = Failing(OSError(28, "No space left on device")).state_dict  # type: ignore[method-assign]
        try:
            tw.Checkpoints(tmp_path, memory).save(4)
        except (OSError, tw.PeerError) as error:
            return str(error)
        return "nothing"

    for rank, said in enumerate(run_ranks(3, work)):
        assert "No space left on device" in said
        assert rank == 1 or "rank 1 could not go on" in said
    assert json.loads((tmp_path / "step-00000002" / "complete.json").read_text())["step"] == 2
    assert not (tmp_path / "step-00000004" / "complete.json").exists()


def test_dcp_keeps_each_ranks_memory(fleet: Fleet, tmp_path: Path) -> None:
    """On as many workers bit for bit, by save and by async_save; on fewer and on more too."""
    for found in fleet.run(saving.through_dcp, str(tmp_path)):
        assert found["same"] == [True, True]
        assert found["steps"] == 3
        assert found.get("fewer", 3) == 3
        assert found["more"] == 3
