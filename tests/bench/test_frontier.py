"""The frontier: what a cell still needs, records that survive a kill, rows dealt, a run that equals plain SGD."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from frontier_lib import experiments, images, methods, nets, order, plan, records, simulate, tasks


def record(loss: float | None) -> dict[str, Any]:
    return {"score": None if loss is None else {"loss": loss, "accuracy": None}}


CELL = plan.Cell("gpt", "dense", 4, 10, (0.1, 0.2, 0.4), seeds=3)


def done(losses: dict[float, float | None], cell: plan.Cell = CELL) -> dict[str, Any]:
    return {cell.config(rate, 0).key: record(loss) for rate, loss in losses.items()}


def wanted(cell: plan.Cell, found: dict[str, Any]) -> list[tuple[float, int]]:
    return [(config.rate, config.seed) for config in cell.missing(found)]


def test_a_cell_wants_its_grid_then_the_other_seeds_of_the_best() -> None:
    assert wanted(CELL, {}) == [(0.1, 0), (0.2, 0), (0.4, 0)]
    assert wanted(CELL, done({0.1: 2.0, 0.4: 3.0})) == [(0.2, 0)]
    assert wanted(CELL, done({0.1: 2.0, 0.2: 1.0, 0.4: 3.0})) == [(0.2, 1), (0.2, 2)]


@pytest.mark.parametrize(
    ("losses", "beyond"),
    [
        ({0.1: 1.0, 0.2: 2.0, 0.4: 3.0}, 0.05),
        ({0.1: 3.0, 0.2: 2.0, 0.4: 1.0}, 0.8),
        ({0.1: None, 0.2: None, 0.4: None}, 0.05),
    ],
)
def test_a_best_rate_at_the_edge_is_looked_beyond_once(losses: dict[float, float | None], beyond: float) -> None:
    found = done(losses)
    assert [rate for rate, _ in wanted(CELL, found)] == [pytest.approx(beyond)]
    found |= {CELL.config(beyond, 0).key: record(0.5)}
    assert CELL.best(found) == pytest.approx(beyond)
    assert [seed for _, seed in wanted(CELL, found)] == [1, 2]


def test_nothing_more_is_wanted_where_all_diverged() -> None:
    found = done({0.05: None, 0.1: None, 0.2: None, 0.4: None})
    assert CELL.best(found) is None
    assert wanted(CELL, found) == []
    assert CELL.runs(found) == []


def test_another_number_of_workers_takes_the_rate_over() -> None:
    cell = plan.Cell("gpt", "dense", 16, 10, (0.1, 0.2, 0.4), seeds=2, like=CELL)
    assert [(c.workers, c.rate) for c in cell.missing({})] == [(4, 0.1), (4, 0.2), (4, 0.4)]
    found = done({0.1: 2.0, 0.2: 1.0, 0.4: 3.0})
    assert [(c.workers, c.rate, c.seed) for c in cell.missing(found)] == [(16, 0.2, 0), (16, 0.2, 1)]


def test_a_run_that_is_under_way_is_not_begun_again() -> None:
    first = plan.next_run([CELL], {}, set())
    assert first is not None
    second = plan.next_run([CELL], {}, {first.key})
    assert second is not None
    assert second.rate == 0.2


def test_of_rates_that_are_as_good_the_lowest_is_taken() -> None:
    cell = plan.Cell("gpt", "dense", 4, 10, (0.1, 0.2, 0.4), seeds=1, tie=0.02)
    assert cell.best(done({0.1: 2.0, 0.2: 1.01, 0.4: 1.0})) == 0.2
    assert cell.best(done({0.1: 2.0, 0.2: 1.03, 0.4: 1.0, 0.8: 1.0})) == 0.4


def test_cells_come_method_by_method_and_sixteen_workers_after_four() -> None:
    found = order.cells(["gpt", "skewed"], ["dense", "rot3"], [4, 16], seeds=3)
    likes = [None if c.like is None else (c.like.task, c.like.workers, c.like.steps) for c in found]
    assert [(c.method, c.task, c.workers) for c in found[:3]] == [
        ("dense", "gpt", 4),
        ("dense", "skewed", 4),
        ("rot3", "gpt", 4),
    ]
    assert likes[:4] == [None, ("cnn", 4, 703)] * 2
    assert likes[4:] == [("gpt", 4, 400), ("cnn", 4, 703)] * 2


def test_records_are_read_again_and_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "runs.jsonl"
    first = records.Records(file)
    first.begin({"command": "c"})
    config = CELL.config(0.1, 0)
    first.add(config, record(1.0))
    whole = file.read_text()
    file.write_text(whole + '{"config": {"task"')
    again = records.Records(file)
    assert file.read_text() == whole
    assert set(again.runs) == {config.key}
    assert again.sessions == [{"command": "c"}]
    again.add(CELL.config(0.2, 0), record(2.0))
    assert records.Records(file).runs == again.runs


def test_every_method_says_what_it_needs() -> None:
    for method in methods.METHODS.values():
        if method.pending() is None:
            for workers in (4, 16):
                settings = method.settings(workers, seed=1)
                assert (settings.momentum, settings.geometry) == (method.momentum, method.geometry)
                assert settings.route in (None, "allreduce", "gather", "sharded")


def test_one_bit_adam_is_adam_until_it_is_frozen() -> None:
    """With a variance that is never frozen and m = its own average of the gradients, it is AdamW."""
    torch.manual_seed(0)
    first, second = nn.Linear(5, 3), nn.Linear(5, 3)
    second.load_state_dict(first.state_dict())
    mine = experiments.FrozenAdam(first, 0.01, until=100)
    theirs = torch.optim.AdamW(second.parameters(), 0.01, betas=(0.9, 0.95), weight_decay=0.1)
    told = simulate.Told(0.9, ["weight", "bias"])
    for _ in range(20):
        each = {"weight": torch.randn(1, 3, 5), "bias": torch.randn(1, 3)}
        told.add(each)
        mine.see(each)
        averages = simulate.cut(told.each, dict(first.named_parameters()), told.names)
        for name, p in first.named_parameters():
            p.grad = averages[name][0]
        for name, p in second.named_parameters():
            p.grad = each[name][0]
        mine.step()
        theirs.step()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-4, atol=1e-5)


def write_idx(file: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    file.write_bytes(gzip.compress(bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Fashion-MNIST of few images, whose label can be read off their first pixel."""
    for part, count in (("train", 640), ("t10k", 100)):
        labels = np.arange(count) % 10
        pixels = np.random.default_rng(0).integers(0, 20, (count, 28, 28))
        pixels[:, 10:18, 10:18] += 20 * labels[:, None, None]
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def test_idx_files_are_read_and_a_missing_one_is_told_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    found = images.load(folder)
    assert found.train[0].shape == (640, 1, 28, 28)
    assert found.train[0].mean().abs() < 1e-5
    assert found.test[1].tolist() == [i % 10 for i in range(100)]
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        images.load(tmp_path / "nowhere")


@pytest.mark.parametrize("workers", [4, 16])
def test_rows_are_dealt_to_one_worker_each(workers: int) -> None:
    labels = torch.arange(6400) % 10
    for few in (False, True):
        dealt = images.deal(labels, workers, seed=0, few_classes=few)
        assert dealt.shape == (workers, 6400 // workers)
        assert len(dealt.unique()) == dealt.numel()
        seen = [len(labels[rows].unique()) for rows in dealt]
        assert max(seen) <= 4 if few else min(seen) == 10
    rows = images.draws(dealt, batch=8, steps=10, seed=0)
    assert rows.shape == (10, workers, 8)
    for worker in range(workers):
        assert set(rows[:, worker].flatten().tolist()) <= set(dealt[worker].tolist())


def test_all_workers_gradients_at_once_are_those_of_each_by_itself() -> None:
    model = nets.ResNet().train()
    x, y = torch.randn(3, 8, 1, 28, 28), torch.randint(0, 10, (3, 8))
    told, losses = simulate.gradients(model, F.cross_entropy)(x, y)
    for worker in range(3):
        loss = F.cross_entropy(model(x[worker]), y[worker])
        assert torch.allclose(losses[worker], loss)
        for (name, _), g in zip(
            model.named_parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            assert torch.allclose(told[name][worker], g, rtol=1e-4, atol=1e-5 * float(g.abs().max()) + 1e-7)


def test_batch_norm_is_torchs_and_evaluates_as_it_was_settled() -> None:
    mine, theirs = nets.BatchNorm(3), nn.BatchNorm2d(3, momentum=None)
    x = 3 * torch.randn(64, 3, 4, 4) + 1
    assert torch.allclose(mine.train()(x), theirs.train()(x), atol=1e-5)
    nets.settle(mine, x)
    assert torch.allclose(mine.eval()(x[:5]), theirs.eval()(x[:5]), atol=1e-5)


def test_a_run_without_compression_is_plain_training(folder: Path) -> None:
    config = plan.Config("cnn", "dense", 4, 0.05, 0, 12)
    found = simulate.run(config, folder)
    task = tasks.TASKS["cnn"]
    data, model = task.data(folder, 4, 0, 12), task.model(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for step in range(12):
        x, y = data.batches(step)
        optimizer.param_groups[0]["lr"] = 0.05 * tasks.schedule(step, 12)
        optimizer.zero_grad()
        F.cross_entropy(model(x.flatten(0, 1)), y.flatten()).backward()
        optimizer.step()
    assert found["score"]["loss"] == pytest.approx(data.score(model).loss, rel=1e-3)
    assert found["ratio"] == pytest.approx(1, abs=0.01)
    assert all(error < 1e-5 and spread > 1 for _, error, spread in found["errors"])
    assert found["memory"] == 0


def test_the_error_is_that_of_the_estimate_and_the_memory_that_of_the_link(folder: Path) -> None:
    found = simulate.run(plan.Config("cnn", "rot1-m", 4, 0.1, 0, 20), folder)
    assert [step for step, *_ in found["errors"]] == list(range(2, 21, 2))
    assert all(0.05 < error < 1.5 for _, error, _ in found["errors"])
    assert 28 < found["ratio"] < 31
    # a worker's own average and shift, and the owners' shifts, which all hear; a quarter each of h̄ and the owner's own
    assert found["memory"] == pytest.approx(1 + 1 + 1 + 2 / 4, rel=0.02)
