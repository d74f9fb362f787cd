"""Compute that sleeps: a gradient is handed on as soon as its own layer is over, so that overlap is real."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from thinwire.bench.sleep import FORWARD, Accelerator, Sleeper, Sleeping
from thinwire.bench.workload import Teaching

SHAPES = [(8, 8), (8, 16), (8, 8), (8, 32)]
UNTIL = [0.0, 0.125, 0.375, 0.5, 1.0]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What happened, in order: the parts of a step that were slept through."""
    events: list[object] = []
    monkeypatch.setattr(Accelerator, "finish", lambda self, part: events.append(part))
    return events


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield
    dist.destroy_process_group()


def test_each_layer_takes_its_share_and_its_gradient_follows_at_once(slept: list[object]) -> None:
    model = Sleeper(SHAPES, seconds=1.0, seed=0)
    for number, weight in enumerate(model.weights):
        weight.register_post_accumulate_grad_hook(lambda _, number=number: slept.append(f"gradient {number}"))
    model().backward()
    forward = [FORWARD * until for until in UNTIL[1:]]
    assert slept[:4] == pytest.approx(forward)
    backward = [FORWARD + (1 - FORWARD) * (1 - until) for until in UNTIL[:4]]
    assert slept[4::2] == pytest.approx(backward[::-1])
    assert slept[5::2] == [f"gradient {number}" for number in (3, 2, 1, 0)]
    assert backward[0] == 1  # the whole step is over with the first layer's gradient


@pytest.mark.usefixtures("alone")
def test_ddps_buckets_leave_while_layers_before_them_still_sleep(slept: list[object]) -> None:
    model = DistributedDataParallel(Sleeper(SHAPES, seconds=1.0, seed=0), bucket_cap_mb=1e-5)

    def hook(_: None, bucket: dist.GradBucket) -> Future[Tensor]:
        slept.append(f"bucket {bucket.index()}")
        done: Future[Tensor] = Future()
        done.set_result(bucket.buffer())
        return done

    hook.__annotations__ = {}  # DDP compares them with types, and here they are text
    model.register_comm_hook(None, hook)
    model().backward()
    slept.clear()  # after the first step DDP makes its buckets anew, of one layer each
    model().backward()
    assert [type(event) for event in slept] == [float] * len(SHAPES) + [float, str] * len(SHAPES)
    assert slept[len(SHAPES) + 1 :: 2] == [f"bucket {number}" for number in range(len(SHAPES))]


def test_gradients_differ_from_step_to_step_and_from_worker_to_worker() -> None:
    seen = []
    for seed in (0, 1):
        model = Sleeper(SHAPES, seconds=0.0, seed=seed)
        for _ in range(2):
            model.zero_grad()
            model().backward()
            seen.append(torch.cat([weight.grad.flatten() for weight in model.weights if weight.grad is not None]))
    for number, one in enumerate(seen):
        assert one.shape == (sum(a * b for a, b in SHAPES),)
        assert all(not torch.equal(one, other) for other in seen[:number])


def test_what_is_written_into_a_gradient_does_not_come_back() -> None:
    """DDP writes the mean of all workers' gradients into it."""
    ours, other = (Sleeper(SHAPES, seconds=0.0, seed=0) for _ in range(2))
    for step in range(3):
        for model in (ours, other):
            model.zero_grad()
            model().backward()
        for mine, theirs in zip(ours.weights, other.weights, strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            assert torch.equal(mine.grad, theirs.grad), f"step {step}"
            mine.grad.zero_()


def test_a_sleeping_workload_has_the_shapes_of_its_model_and_learns_nothing() -> None:
    task = Teaching(steps=12, params=20_000)
    sleeping = Sleeping(task, seconds=0.0, seed=0)
    model = sleeping.model()
    assert [p.shape for p in model.parameters()] == [p.shape for p in task.model().parameters()]
    assert sleeping.optimizer(model, None) is None
    assert sleeping.held_out(model) is None
    assert sleeping.batch == task.batch
