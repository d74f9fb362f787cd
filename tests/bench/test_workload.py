"""The tasks: the same for every contender, different for every worker and step, and there is something to learn."""

from __future__ import annotations

import torch

from thinwire.bench.workload import Teaching, Workload, Writing


def trained(task: Workload, steps: int, workers: int) -> tuple[float, float]:
    """The held-out loss before and after, as plain data-parallel training has it."""
    model = task.model()
    optimizer = task.optimizer(model, None)
    before = task.held_out(model)
    assert optimizer is not None
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = task.rate(step)
        for rank in range(workers):
            (task.loss(model, step, rank) / workers).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = task.held_out(model)
    assert before is not None
    assert after is not None
    return before, after


def test_the_perceptron_learns_beyond_guessing() -> None:
    before, after = trained(task := Teaching(steps=60, params=50_000), steps=60, workers=2)
    guessing = torch.tensor(float(task.classes)).log().item()  # the loss of who knows the classes and nothing else
    assert after < guessing < before


def test_the_gpt_learns() -> None:
    before, after = trained(Writing(steps=8), steps=8, workers=1)
    assert after < before


def test_replicas_are_equal_and_batches_are_not() -> None:
    task = Teaching(steps=12, params=20_000)
    first, second = (torch.cat([p.flatten() for p in task.model().parameters()]) for _ in range(2))
    assert torch.equal(first, second)
    inputs = [task.samples(4, step, rank)[0] for step in range(2) for rank in range(2)]
    assert all(not torch.equal(one, other) for n, one in enumerate(inputs) for other in inputs[:n])
    again = task.samples(4, 1, 1)
    assert torch.equal(again[0], inputs[-1])


def test_sizes_are_near_what_was_asked_for() -> None:
    for params in (100_000, 7 * 1024**2, 25_000_000):
        task = Teaching(steps=12, params=params)
        # the width is a multiple of 8, so it is off by at most 4: relatively 4 / width, and twice that in its square
        assert abs(task.layers * task.width**2 / params - 1) <= 2 * 4 / task.width + 16 / task.width**2
