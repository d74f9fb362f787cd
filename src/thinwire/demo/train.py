"""The worker of the demo: one process in each host trains its replica and reports on stdout.

Run under torchrun's environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), as in

    python -m thinwire.demo.train --method thinwire --link "dcgd(rotated(3))" --steps 120 --seed 0

Every event is one JSON object on a line of its own: `mark` from every rank at each validation, `step` from rank 0,
`done` from every rank at the end. Seconds count training steps only; validation, during which the others wait at a
barrier, is outside.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from thinwire._check import fault, one_of
from thinwire.baselines import METHODS, Choice, Prepared
from thinwire.demo.model import Gpt, count_parameters, next_byte_loss
from thinwire.demo.plan import Training
from thinwire.demo.text import Corpus, batch, held_out_batch, load_corpus
from thinwire.lab.workers import Emit, Traffic, emitter

TIME_LIMIT = timedelta(seconds=60)
"""The longest that a worker waits for the others."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the command line says, as the rank that the environment says."""
    options = _parser().parse_args(arguments)
    one_of("thinwire.demo.train", "method", options.method, METHODS)
    torch.set_num_threads(1)
    rank, workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    training = Training(steps=options.steps)
    corpus = load_corpus(options.text)
    model = Gpt(training.shape, options.seed)
    dist.init_process_group("gloo", timeout=TIME_LIMIT)
    try:
        choice = Choice(options.link, options.momentum, dense_steps=training.untimed)
        prepared = METHODS[options.method](model, choice)
        beta1 = training.beta1 if options.momentum is None else 0.0
        emit = emitter(rank)
        emit("start", parameters=count_parameters(model), workers=workers)
        _Loop(training, corpus, prepared, options.seed, rank, workers, beta1, emit).run()
        emit("stats", stats=dict(prepared.stats()))
        prepared.close()
        dist.barrier()
    finally:
        dist.destroy_process_group()


def learning_rate(training: Training, step: int) -> float:
    """The learning rate of a step: a linear rise over the warm-up, then a cosine down to a tenth.

    >>> round(learning_rate(Training(steps=100), 9), 6), round(learning_rate(Training(steps=100), 99), 6)
    (0.002, 0.0002)
    """
    rise = (step + 1) / training.warm_up
    if rise < 1:
        return training.learning_rate * rise
    span = max(1, training.steps - training.warm_up)
    fall = 0.5 * (1 + math.cos(math.pi * (step + 1 - training.warm_up) / span))
    return training.learning_rate * (0.1 + 0.9 * fall)


class _Loop:
    """The training loop of one worker, with its clock and its byte counter."""

    def __init__(
        self,
        training: Training,
        corpus: Corpus,
        prepared: Prepared,
        seed: int,
        rank: int,
        workers: int,
        beta1: float,
        emit: Emit,
    ) -> None:
        self._training, self._corpus, self._prepared = training, corpus, prepared
        self._seed, self._rank, self._emit = seed, rank, emit
        self._optimizer = torch.optim.AdamW(
            prepared.model.parameters(),
            lr=training.learning_rate,
            betas=(beta1, training.beta2),
            weight_decay=training.weight_decay,
            fused=True,
        )
        self._traffic = Traffic(workers)
        self._held_out = held_out_batch(corpus, training.held_out, training.shape.context)
        self._seconds: list[float] = []
        self._sent = 0.0

    def run(self) -> None:
        """Train all steps, marking the curve at the plan's marks."""
        marks = self._training.marks
        self._mark(0)
        for start, end in pairwise(marks):
            self._segment(start, end)
            self._mark(end)
        self._emit("done", step_seconds=[round(seconds, 6) for seconds in self._seconds])

    def _segment(self, start: int, end: int) -> None:
        """The timed steps between two marks; all ranks leave the barrier together."""
        dist.barrier()
        before = self._traffic.sent()
        for step in range(start, end):
            began = time.perf_counter()
            self._step(step)
            self._seconds.append(time.perf_counter() - began)
            if self._rank == 0:
                self._emit("step", step=step + 1, seconds=self._seconds[-1])
        self._sent += self._traffic.sent() - before
        dist.barrier()

    def _step(self, step: int) -> None:
        shape = self._training.shape
        self._optimizer.param_groups[0]["lr"] = learning_rate(self._training, step)
        inputs, targets = batch(self._corpus.train, self._training.batch, shape.context, self._seed, step, self._rank)
        next_byte_loss(self._prepared.model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        self._prepared.after_backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _mark(self, step: int) -> None:
        """Report this worker's seconds and bytes so far; rank 0 adds the held-out loss while the others wait."""
        loss = self._validate() if self._rank == 0 else None
        self._emit("mark", step=step, seconds=sum(self._seconds), sent=self._sent, loss=loss)
        if loss is not None and not math.isfinite(loss):
            raise FloatingPointError(fault("demo", f"the held-out loss is {loss} after step {step}"))

    @torch.no_grad()
    def _validate(self) -> float:
        model: torch.nn.Module = self._prepared.model.module
        parts = [tensor.tensor_split(4) for tensor in self._held_out]
        losses: list[Tensor] = [next_byte_loss(model(x), y) for x, y in zip(*parts, strict=True)]
        return float(torch.stack(losses).mean())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m thinwire.demo.train", description=__doc__)
    parser.add_argument("--method", required=True, help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--link", help="text of a thinwire link, for --method thinwire")
    parser.add_argument("--momentum", type=float, help="local momentum; Adam's β₁ is then 0")
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", type=Path)
    return parser


if __name__ == "__main__":
    main()
