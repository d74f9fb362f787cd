"""benchmarks/options.py: its Adam is torch's, every option trains, and its table compares each with its base."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from thinwire.demo.model import Gpt, next_byte_loss
from thinwire.demo.text import batch, load_corpus

PATH = Path(__file__).parents[2] / "benchmarks" / "options.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("options", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["options"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_adam_is_torchs(script: ModuleType) -> None:
    corpus, rate = load_corpus(), 2e-3
    ours = script.Run(script.OPTIONS["dense"], rate, 0, corpus)
    model = Gpt(script.SHAPE, 0)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": script.DECAY},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(script.BETA1, script.BETA2), eps=script.EPS)
    for step in range(3):
        ours.step(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * script.schedule(step)
        for rank in range(script.WORKERS):
            inputs, targets = batch(corpus.train, script.BATCH, script.SHAPE.context, 0, step, rank)
            (next_byte_loss(model(inputs), targets) / script.WORKERS).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = sum(rate * script.schedule(step) for step in range(3))
    for name, p in ours.model.named_parameters():
        # a step is at most about the rate; where a gradient is as small as its rounding, its sign may differ
        wrong = (p - model.get_parameter(name)).abs()
        assert wrong.max() <= 2 * moved, name
        assert wrong.mean() < 1e-3 * moved, name


def test_every_option_trains(script: ModuleType) -> None:
    """Beyond its dense steps, which are made few: each is told apart from what it is compared with."""
    corpus, weights = load_corpus(), {}
    for name, option in script.OPTIONS.items():
        made = script.Run(replace(option, dense=min(option.dense, 1)), 2e-3, 0, corpus)
        for step in range(3):
            made.step(step)
        assert made.x.isfinite().all(), name
        weights[name] = made.x
    for name, option in script.OPTIONS.items():
        if option.base:
            assert not torch.equal(weights[name], weights[option.base]), name


def test_the_table_compares_at_the_best_rates(script: ModuleType) -> None:
    def run(name: str, rate: float, seed: int, loss: float | None) -> dict[str, Any]:
        return {"name": name, "rate": rate, "seed": seed, "loss": loss, "ratio_whole": 7.0, "parameters": 10}

    runs = [run("ef14", 0.1, seed, 2.0 + 0.1 * seed) for seed in (0, 1)]
    runs += [run("ef14", 0.2, 0, 1.0), run("ef14", 0.2, 1, None)]
    runs += [run("ef14-8bit", 0.1, seed, 2.05) for seed in (0, 1)]
    runs += [run("ef14-growing", 0.2, seed, 1.5 + 0.1 * seed) for seed in (0, 1)]
    base, within, apart = script.grid(runs).rows
    assert base[1:4] == ["7.0", "0.1", "2.050 (2.000 – 2.100)"], "a rate at which a run diverged is not the best"
    assert within[-1] == "+0.000, within the seeds' spread"
    assert apart[-2:] == ["error feedback, Top-1 %", "-0.500"]
