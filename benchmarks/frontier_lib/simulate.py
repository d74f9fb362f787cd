"""One run: n workers in this process, by the very reducer that `attach` puts behind DDP's hook."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

import thinwire as tw
from frontier_lib.experiments import FrozenAdam
from frontier_lib.methods import METHODS, Method
from frontier_lib.plan import Config
from frontier_lib.tasks import TASKS, schedule
from thinwire.rounds import finish_all
from thinwire.training.reducer import Reducer

LOOKS = 10
"""Points along a run at which the estimate is compared with the mean."""

Gradients = Callable[[Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]


def gradients(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> Gradients:
    """(inputs, targets), both (n, b, …) -> each parameter's gradients, (n, *shape), and the losses, (n,).

    All workers in one pass: the same as one after the other, up to rounding (a test compares them).
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}  # shares memory with the model's
    buffers = dict(model.named_buffers())

    def one(values: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return loss(functional_call(model, (values, buffers), (inputs,)), targets)

    every = vmap(grad_and_value(one), in_dims=(None, 0, 0))

    def told(inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with sdpa_kernel(SDPBackend.MATH):  # vmap would do the fused one worker by worker
            return every(parameters, inputs, targets)

    return told


class Told:
    """What the workers have to tell, kept outside the reducer: each one's gradient, or its running average.

    m / (1 − β^t) with m ← β m + (1 − β) g; by linearity their mean is that of the mean gradient.
    """

    def __init__(self, beta: float | None, names: Sequence[str]) -> None:
        self.beta, self.names, self.t = beta, names, 0
        self.each = torch.zeros(())

    def add(self, gradients: dict[str, Tensor]) -> None:
        """The gradients of a step, (n, *shape) each."""
        g = torch.cat([gradients[name].flatten(1) for name in self.names], dim=1)
        self.t += 1
        if self.beta is not None and self.t > 1:
            g = torch.lerp(self.each, g, (1 - self.beta) / (1 - self.beta**self.t))
        self.each = g

    def compare(self, estimate: Tensor) -> tuple[float, float]:
        """‖v̂ − v̄‖ / ‖v̄‖, and √(mean ‖v_i‖²) / ‖v̄‖, how much larger the workers' vectors are than their mean."""
        mean = self.each.mean(0)
        size = float(mean.norm())
        return round(float((estimate - mean).norm()) / size, 4), round(
            float(self.each.norm(dim=1).square().mean().sqrt()) / size, 3
        )


def run(config: Config, folder: Path) -> dict[str, Any]:
    """Train as the configuration says; what became of it, as JSON takes it."""
    begun = time.perf_counter()
    task, method = TASKS[config.task], METHODS[config.method]
    data = task.data(folder, config.workers, config.seed, config.steps)
    model = task.model(config.seed).train()
    if method.frozen:
        optimizer: torch.optim.Optimizer = FrozenAdam(model, config.rate, method.dense_steps)
    else:
        optimizer = task.optimizer(model, config.rate, method.momentum is None)
    reducer = Reducer(
        model.named_parameters(), method.settings(config.workers, config.seed), tw.LocalGroup(config.workers)
    )
    found = _train(config, method, model, optimizer, reducer, data.batches)
    if found["diverged"]:
        score = None
    else:
        made = data.score(model)
        score = {"loss": made.loss, "accuracy": made.accuracy} if math.isfinite(made.loss) else None
    last, total = reducer.stats().last, reducer.stats().total
    return {
        **found,
        "score": score,
        "bytes": last.bytes_up + last.bytes_down,
        "dense_bytes": last.dense_bytes,
        "ratio": last.ratio,
        "ratio_whole": total.ratio,
        "memory": round(kept(reducer), 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        "routes": list(reducer.stats().routes),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _train(
    config: Config,
    method: Method,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    reducer: Reducer,
    batches: Callable[[int], tuple[Tensor, Tensor]],
) -> dict[str, Any]:
    task = TASKS[config.task]
    told_by = gradients(model, task.loss)
    parameters = dict(model.named_parameters())
    told = Told(method.momentum, [slot.name for frame in reducer.frames for slot in frame.slots])
    looks = {config.steps * (i + 1) // LOOKS - 1 for i in range(LOOKS)}
    errors: list[tuple[int, float, float]] = []
    losses: list[tuple[int, float]] = []
    since: list[float] = []
    for step in range(config.steps):
        each, loss = told_by(*batches(step))
        since.append(float(loss.mean()))
        if not math.isfinite(since[-1]) or since[-1] > 50:
            return {"errors": errors, "losses": losses, "diverged": True}
        told.add(each)
        if isinstance(optimizer, FrozenAdam):
            optimizer.see(each)
        for name, rows in each.items():
            for row, gradient in enumerate(rows):
                reducer.put(name, gradient, row)
        estimates = finish_all([reducer.reduce(number) for number in range(len(reducer.frames))])
        got = torch.cat([estimate[: frame.d] for frame, estimate in zip(reducer.frames, estimates, strict=True)])
        for name, gradient in cut(got[None], parameters, told.names).items():
            parameters[name].grad = gradient[0]
        if step in looks:
            errors.append((step + 1, *told.compare(got)))
            losses.append((step + 1, round(sum(since) / len(since), 4)))
            since = []
        for group in optimizer.param_groups:
            group["lr"] = config.rate * schedule(step, config.steps)
        optimizer.step()
    return {"errors": errors, "losses": losses, "diverged": False}


def cut(rows: Tensor, parameters: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """(n, d), end to end in the order of the names -> (n, *shape) each."""
    parts = rows.split([parameters[name].numel() for name in names], dim=1)
    return {name: part.view(-1, *parameters[name].shape) for name, part in zip(names, parts, strict=True)}


def kept(reducer: Reducer) -> float:
    """Numbers a parameter that one worker keeps from step to step: shifts, means, errors, averages.

    Of what all workers hear alike this process has one copy, of everything else a row for each worker.
    """
    n = reducer.group.size
    count = sum(average.numel() / n for average in reducer.averages.values())
    for carrier in reducer.carriers:
        for name, part in carrier.state_dict().items():
            if isinstance(part, Tensor):
                heard = name in ("down.mean", "basis", "squares") or (name == "up.mean" and len(part) == 1)
                count += part.numel() if heard else part.numel() / n
    return count / sum(frame.d for frame in reducer.frames)
