"""Options of other systems, each against what it would be added to: what would earn its place in thinwire?

    nice python benchmarks/options.py                  everything that benchmarks/results/options.json has not yet
    python benchmarks/options.py --only ef14 --seeds 3

A small GPT learns the demo's text by AdamW; four workers are simulated in this process by what `attach` is made of.
Every run stands in the JSON file as soon as it is done, and is not run again. `python benchmarks/tables.py` then writes
the table of docs/options.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import thinwire as tw
from thinwire.demo.model import Gpt, GptShape, count_parameters, next_byte_loss
from thinwire.demo.text import Corpus, batch, held_out_batch, load_corpus
from thinwire.exchange import Exchange
from thinwire.report.grid import Grid
from thinwire.report.provenance import provenance
from thinwire.rounds import finish_all
from thinwire.training.policy import Sender
from thinwire.training.reducer import Reducer, Settings

FILE = Path(__file__).parent / "results" / "options.json"
SHAPE, WORKERS, BATCH, STEPS, RISE = GptShape(width=64, layers=2, heads=4), 4, 4, 300, 30
BETA1, BETA2, DECAY, EPS = 0.9, 0.95, 0.1, 1e-8
RATES = (2e-3, 5e-3)
DENSE_STEPS = STEPS // 5
"""The length of 1-bit Adam's first stage, 15 to 25 % of the steps in the paper, and of DGC's sparsity warm-up."""

TOP = tw.ef14(tw.TopK(0.01))
GROWING = tw.Stages(
    {i * DENSE_STEPS // 4: tw.ef14(tw.TopK(share)) for i, share in enumerate((0.25, 0.063, 0.016))} | {DENSE_STEPS: TOP}
)
TWO, ONE = tw.dcgd(tw.Rotated(bits=2)), tw.diana(tw.Rotated(bits=1))
QUARTER = tw.diana(tw.RandK(0.25, block=256) >> tw.Rotated(bits=1))


@dataclass(frozen=True)
class Option:
    """A run's recipe; `base` is what it is compared with.

    local: workers send running averages (β₁ then 0). dense: steps at the start that are sent whole. frozen: v̂ stays as
    after those. own: m_i = β₁ m + (1 − β₁) g_i is sent, m being what came back, and is Adam's m. mask: where a worker
    has sent its coordinate, its running average starts anew. geometry: s C(x / s) with s = √v̂ and a tenth of its mean
    over the tensor. rounded: errors are kept in 8 bits. rescaled: with the learning rate.
    """

    title: str
    base: str
    sender: Sender
    local: bool = False
    dense: int = 0
    frozen: bool = False
    own: bool = False
    mask: bool = False
    geometry: bool = False
    rounded: bool = False
    rescaled: bool = False


OPTIONS = {
    "dense": Option("AdamW, dense", "", tw.dcgd(tw.Identity())),
    "dense-m": Option("local momentum, dense", "", tw.dcgd(tw.Identity()), local=True),
    "ef14": Option("error feedback, Top-1 %", "", TOP),
    "ef14-rescaled": Option("… memory rescaled with the rate", "ef14", TOP, rescaled=True),
    "ef14-8bit": Option("… memory in 8 bits", "ef14", TOP, rounded=True),
    "ef14-growing": Option("… sparsity warm-up", "ef14", GROWING),
    "ef14-m": Option("error feedback, Top-1 %, local momentum", "", TOP, local=True),
    "ef14-m-mask": Option("… momentum-factor masking", "ef14-m", TOP, local=True, mask=True),
    "ef14-m-growing": Option("… sparsity warm-up", "ef14-m", GROWING, local=True),
    "dgc": Option("… both: DGC", "ef14-m", GROWING, local=True, mask=True),
    "diana": Option("DIANA, 1 bit, local momentum", "", ONE, local=True),
    "diana-geometry": Option("… in Adam's geometry", "diana", ONE, local=True, geometry=True),
    "diana-dense": Option("… its first fifth dense", "diana", ONE, local=True, dense=DENSE_STEPS),
    "diana-frozen": Option("… then v̂ frozen", "diana-dense", ONE, local=True, dense=DENSE_STEPS, frozen=True),
    "onebit-adam": Option("1-bit Adam", "diana-dense", tw.ef14(tw.Sign()), own=True, dense=DENSE_STEPS, frozen=True),
    "diana-quarter": Option("DIANA, 1 bit of Rand-25 %, local momentum", "", QUARTER, local=True),
    "two": Option("2 bits, no memory", "", TWO),
    "two-geometry": Option("… in Adam's geometry", "two", TWO, geometry=True),
}  # fmt: skip


class Run:
    """One training: the model as one vector in the order of the frames, Adam's moments, and the wire."""

    def __init__(self, option: Option, rate: float, seed: int, corpus: Corpus) -> None:
        self.option, self.rate, self.seed, self.corpus = option, rate, seed, corpus
        self.model = Gpt(SHAPE, seed)
        settings = Settings(option.sender, warmup_steps=option.dense, seed=seed)
        self.reducer = Reducer(self.model.named_parameters(), settings, tw.LocalGroup(WORKERS))
        named = dict(self.model.named_parameters())
        self.order = [slot.name for frame in self.reducer.frames for slot in frame.slots]
        self.parameters = [named[name] for name in self.order]
        self.sizes = [p.numel() for p in self.parameters]
        d = sum(self.sizes)
        self.x, self.m, self.v = (
            torch.cat([p.detach().flatten() for p in self.parameters]),
            torch.zeros(d),
            torch.zeros(d),
        )
        for p, part in zip(self.parameters, self.x.split(self.sizes), strict=True):
            p.data = part.view_as(p)  # what moves x moves the model
        self.decay = torch.cat([torch.full((p.numel(),), DECAY * (p.ndim > 1)) for p in self.parameters])
        self.averages = torch.zeros(WORKERS, d)

    def gradients(self, step: int) -> Tensor:
        rows = []
        for rank in range(WORKERS):
            inputs, targets = batch(self.corpus.train, BATCH, SHAPE.context, self.seed, step, rank)
            loss = next_byte_loss(self.model(inputs), targets)
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, self.parameters)]))
        return torch.stack(rows)

    def step(self, step: int) -> None:
        option, t, lr = self.option, step + 1, self.rate * schedule(step)
        told = self.told(self.gradients(step), t)
        scale = self.scale(t) if option.geometry else None
        if option.rescaled:
            self.reducer.rates.now = dict.fromkeys(self.order, lr)
        back = self.exchange(told if scale is None else told / scale)
        if scale is not None:
            back = back * scale
        if option.mask:
            self.averages[self.said()] = 0
        if option.rounded:
            self.round_errors()
        self.adam(back, t, lr)

    def told(self, g: Tensor, t: int) -> Tensor:
        """What the workers send, (WORKERS, d)."""
        if self.option.own and t > self.option.dense:
            return BETA1 * self.m + (1 - BETA1) * g
        if self.option.local:
            self.averages.lerp_(g, 1 - BETA1)
            return self.averages / (1 - BETA1**t)
        return g

    def exchange(self, told: Tensor) -> Tensor:
        for name, rows in zip(self.order, told.split(self.sizes, dim=1), strict=True):
            for row, gradient in enumerate(rows):
                self.reducer.put(name, gradient, row)
        count = range(len(self.reducer.frames))
        return torch.cat(finish_all([self.reducer.reduce(number) for number in count]))

    def adam(self, back: Tensor, t: int, lr: float) -> None:
        option, late = self.option, t > self.option.dense
        if option.own and late:
            self.m, first = back, back
        else:
            beta1 = 0.0 if option.local else BETA1
            self.m.lerp_(back, 1 - beta1)
            first = self.m / (1 - beta1**t) if beta1 else self.m
        if not (option.frozen and late):
            self.v.lerp_(back.square(), 1 - BETA2)
        kept = min(t, option.dense) if option.frozen else t
        self.x -= lr * (first / ((self.v / (1 - BETA2**kept)).sqrt() + EPS) + self.decay * self.x)

    def scale(self, t: int) -> Tensor:
        """√v̂ before this step, as all ranks have it, and a tenth of its mean over each tensor; 1 in the first step."""
        if t == 1:
            return torch.ones_like(self.v)
        root = (self.v / (1 - BETA2 ** (t - 1))).sqrt()
        return torch.cat([part + 0.1 * part.mean() for part in root.split(self.sizes)])

    def exchanges(self) -> list[tuple[slice, Exchange]]:
        """Every frame that is compressed, and its place."""
        found, at = [], 0
        for frame, carrier in zip(self.reducer.frames, self.reducer.carriers, strict=True):
            if frame.sender is not None and isinstance(carrier, Exchange):
                found.append((slice(at, at + frame.d), carrier))
            at += frame.d
        return found

    def said(self) -> Tensor:
        """Which coordinates each worker has just sent: those of which it owes nothing."""
        sent = torch.zeros(self.averages.shape, dtype=torch.bool)
        for part, exchange in self.exchanges():
            assert exchange.state[0].error is not None
            sent[:, part] = exchange.state[0].error[:, : exchange.d] == 0
        return sent

    def round_errors(self) -> None:
        """Errors to the nearest of 255 levels between ± the largest of their block of 256."""
        for _, exchange in self.exchanges():
            error = exchange.state[0].error
            assert error is not None
            blocks = torch.nn.functional.pad(error, (0, -error.shape[1] % 256)).view(len(error), -1, 256)
            unit = blocks.abs().amax(dim=2, keepdim=True).clamp_min(1e-30) / 127
            error.copy_(((blocks / unit).round() * unit).view(len(error), -1)[:, : error.shape[1]])

    @torch.no_grad()
    def loss(self) -> float:
        inputs, targets = held_out_batch(self.corpus, 256, SHAPE.context)
        return float(next_byte_loss(self.model(inputs), targets))


def schedule(step: int) -> float:
    """A linear rise, then a cosine down to a tenth."""
    if step + 1 < RISE:
        return (step + 1) / RISE
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step + 1 - RISE) / (STEPS - RISE)))


def run(name: str, rate: float, seed: int, corpus: Corpus) -> dict[str, Any]:
    made = Run(OPTIONS[name], rate, seed, corpus)
    for step in range(STEPS):
        made.step(step)
    loss, stats = made.loss(), made.reducer.stats()
    return {
        "name": name,
        "rate": rate,
        "seed": seed,
        "loss": loss if math.isfinite(loss) else None,
        "ratio": stats.last.ratio,
        "ratio_whole": stats.total.ratio,
        "parameters": count_parameters(made.model),
    }


def grid(runs: Sequence[dict[str, Any]]) -> Grid:
    """Each option at its best rate, beside its base at its own."""
    best: dict[str, tuple[float, list[float], dict[str, Any]]] = {}
    for name in OPTIONS:
        for rate in sorted({r["rate"] for r in runs}):
            of = [r for r in runs if (r["name"], r["rate"]) == (name, rate)]
            losses = [r["loss"] if r["loss"] is not None else math.inf for r in of]
            if of and (name not in best or _mean(losses) < _mean(best[name][1])):
                best[name] = rate, losses, of[0]
    rows = []
    for name, (rate, losses, first) in best.items():
        base = OPTIONS[name].base
        rows.append([OPTIONS[name].title, f"{first['ratio_whole']:.1f}", f"{rate:g}", _spread(losses), "", ""])
        if base in best:
            rows[-1][-2] = OPTIONS[base].title.removeprefix("… ")
            others = best[base][1]
            better = _mean(losses) - _mean(others)
            apart = max(losses) < min(others) or min(losses) > max(others)
            rows[-1][-1] = f"{better:+.3f}" + ("" if apart else ", within the seeds' spread")
    seeds, rates = sorted({r["seed"] for r in runs}), sorted({r["rate"] for r in runs})
    grid_of_rates = ", ".join(f"{rate:g}" for rate in rates)
    notes = (
        f"a GPT of {runs[0]['parameters']:,} parameters, {WORKERS} workers, {STEPS} steps, {len(seeds)} seeds; "
        f"held-out loss in nats a byte, mean and range, at the best of the learning rates {grid_of_rates}",
        "fewer bytes: over the whole run, dense steps included; a row with … adds to what it is compared with",
    )
    heads = ("", "fewer bytes", "rate", "loss", "compared with", "difference")
    return Grid("Options, each against what it would be added to", heads, rows, notes=notes)


def _mean(losses: Sequence[float]) -> float:
    return sum(losses) / len(losses)


def _spread(losses: Sequence[float]) -> str:
    return f"{_mean(losses):.3f} ({min(losses):.3f} – {max(losses):.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--file", type=Path, default=FILE)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    corpus = load_corpus()
    runs: list[dict[str, Any]] = json.loads(asked.file.read_text())["runs"] if asked.file.is_file() else []
    for seed in range(asked.seeds):
        for name in asked.only:
            for rate in asked.rates:
                if any((r["name"], r["rate"], r["seed"]) == (name, rate, seed) for r in runs):
                    continue
                runs.append(run(name, rate, seed, corpus))
                print(f"{name:16} {rate:8g} seed {seed}: loss {runs[-1]['loss']}", flush=True)
                told = grid(runs)
                found = {
                    "command": "python benchmarks/options.py",
                    "provenance": provenance(),
                    "runs": runs,
                    "grids": [{key: getattr(told, key) for key in ("title", "heads", "rows", "notes")}],
                }
                asked.file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
