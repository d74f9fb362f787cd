"""Which learning rate suits the demo's training, dense: the grid behind `Training.learning_rate`.

    python benchmarks/learning_rate.py --rates 7e-4 1e-3 1.4e-3 2e-3 --seeds 2

One process stands for all workers: their batches laid side by side give the mean of their gradients. Local momentum run
dense is Adam without β₁ on the running average of that mean.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import torch

from thinwire.baselines import RunningAverage
from thinwire.demo.model import Gpt, next_byte_loss
from thinwire.demo.plan import RUNS, Training
from thinwire.demo.text import batch, held_out_batch, load_corpus
from thinwire.demo.train import learning_rate


def final_loss(training: Training, seed: int, workers: int, momentum: float | None) -> float:
    """The held-out loss after all steps of one dense run."""
    corpus, model = load_corpus(None), Gpt(training.shape, seed)
    beta1 = training.beta1 if momentum is None else 0.0
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(beta1, training.beta2), weight_decay=training.weight_decay, fused=True
    )
    average = None if momentum is None else RunningAverage(model, momentum)
    for step in range(training.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(training, step)
        parts = [
            batch(corpus.train, training.batch, training.shape.context, seed, step, rank) for rank in range(workers)
        ]
        inputs, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        next_byte_loss(model(inputs), targets).backward()
        if average is not None:
            average()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        inputs, targets = held_out_batch(corpus, training.held_out, training.shape.context)
        return float(next_byte_loss(model(inputs), targets))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[7e-4, 1e-3, 1.4e-3, 2e-3])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args(arguments)
    print(f"{'rate':>8}  {'AdamW':>15}  {'local momentum':>15}")
    for rate in options.rates:
        training = Training(steps=options.steps, learning_rate=rate)
        cells = []
        for momentum in (None, RUNS["ddp-momentum"].momentum):
            losses = [final_loss(training, seed, options.workers, momentum) for seed in range(options.seeds)]
            spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
            cells.append(f"{statistics.mean(losses):.3f} ± {spread:.3f}")
        print(f"{rate:8.1e}  {cells[0]:>15}  {cells[1]:>15}", flush=True)


if __name__ == "__main__":
    main()
