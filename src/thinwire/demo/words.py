"""What the demo says about itself: provenance for the JSON, and the words of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from thinwire.baselines import POWERSGD_RANK
from thinwire.demo.model import Gpt, count_parameters
from thinwire.demo.plan import Plan
from thinwire.demo.text import Corpus
from thinwire.report.html import Page, flatten
from thinwire.report.metrics import Results
from thinwire.report.provenance import busy, load, provenance

STAGES = ("encode", "wire", "decode")


def about(plan: Plan, corpus: Corpus, command: str) -> dict[str, Any]:
    """What is needed to do the demo again: command, arguments, text, machine and versions."""
    return {
        "command": command,
        "arguments": {
            "runs": [asdict(run) for run in plan.runs],
            "hosts": plan.hosts,
            "rate": plan.rate,
            "seeds": list(range(plan.seeds)),
            "training": asdict(plan.training),
        },
        "text": {"name": corpus.name, "train_bytes": len(corpus.train), "held_out_bytes": len(corpus.held_out)},
        "load_at_start": load(),
        "parameters": count_parameters(Gpt(plan.training.shape, seed=0)),
        "provenance": provenance(),
    }


def page(results: Results, plan: Plan, corpus: Corpus) -> Page:
    """The report's words for these results."""
    parameters = results.about["parameters"]
    return Page(
        title="thinwire demo: the same training, fewer bytes",
        subtitle=f"A GPT of {parameters / 1e6:.2f} million parameters, {plan.hosts} workers, links of {plan.rate}, "
        f"{plan.training.steps} steps, {plan.seeds} seed{'s' if plan.seeds > 1 else ''}",
        names=[run.name for run in plan.runs],
        notes={run.name: _note(run.note, run.link) for run in plan.runs},
        facts=_facts(results, plan, corpus),
        caveats=_caveats(results, plan),
    )


def _stages(results: Results, plan: Plan) -> Iterator[tuple[str, str]]:
    """Where the time of each compressed row went, from what its wire counted on rank 0, over all steps and seeds."""
    for run in plan.runs:
        tallies = [record.stats["total"] for record in results.of(run.name) if "total" in record.stats]
        steps = sum(tally["steps"] for tally in tallies)
        if steps:
            parts = (f"{stage} {1e3 * sum(tally[stage] for tally in tallies) / steps:.1f} ms" for stage in STAGES)
            notes = {note: None for record in results.of(run.name) for note in record.stats.get("notes", ())}
            yield f"Inside {run.label}", "; ".join([f"{', '.join(parts)} a step, not all of it exposed", *notes])


def _note(note: str, link: str | None) -> str:
    return note if link is None else f"{note}; link {link}"


def _facts(results: Results, plan: Plan, corpus: Corpus) -> list[tuple[str, str]]:
    training, shape, modelled = plan.training, plan.training.shape, results.transport.modelled
    network = (
        f"loopback; times at {plan.rate} are modelled"
        if modelled
        else f"every worker in a network namespace of its own, its link shaped to {plan.rate} each way"
    )
    count = (
        "the loopback interface's counter, divided by the number of workers (they share it)"
        if modelled
        else "the counter of each worker's own interface, with all headers; mean over the workers"
    )
    order = "; ".join(
        f"seed {seed}: " + ", ".join(name for other, name in results.about["order"] if other == seed)
        for seed in range(plan.seeds)
    )
    return [
        ("Command", results.about["command"]),
        ("Network", network),
        (
            "Model",
            f"GPT without biases, {shape.layers} layers, width {shape.width}, {shape.heads} heads, context "
            f"{shape.context} bytes",
        ),
        (
            "Text",
            f"{corpus.name}: {len(corpus.train):,} bytes trained on, {len(corpus.held_out):,} held out (every tenth "
            "block of 4 KiB; repeated paragraphs dropped first)",
        ),
        (
            "Optimiser",
            f"AdamW, β = ({training.beta1}, {training.beta2}), weight decay {training.weight_decay}, learning rate "
            f"{training.learning_rate:g} for every row (rise over {training.warm_up} steps, cosine to a tenth); with "
            "local momentum β₁ = 0",
        ),
        ("Batch", f"{training.batch} sequences a worker; per seed the same weights and batches for every row"),
        ("Order", f"drawn from the seed, so that it favours nobody. {order}"),
        (
            "Time a step",
            f"median on rank 0 over the steps after the first {training.untimed}; curves hold every step; validation "
            "is outside the clock",
        ),
        ("Bytes", f"sent by a worker: {count}"),
        ("Loss", f"on the same {training.held_out} windows of the held-out text, in nats a byte"),
        *_stages(results, plan),
        *((name[:1].upper() + name[1:], value) for name, value in flatten(results.about["provenance"])),
    ]


def _caveats(results: Results, plan: Plan) -> list[str]:
    training = plan.training
    said = [
        f"The learning rate ({training.learning_rate:g}) is the same for all rows, the best of a small grid for dense "
        "AdamW (benchmarks/learning_rate.py prints it). Each method tuned for itself could do better than here.",
        "Local momentum with β₁ = 0 is another optimiser than AdamW: the row ddp-momentum (--runs) runs it dense and "
        "tells the effect of the compression from that of the optimiser.",
        f"A training of {training.steps} steps is short; who is ahead late in a long one is another question.",
        f"PyTorch's PowerSGD hook (rank {POWERSGD_RANK}) sends everything for its first {max(2, training.untimed)} "
        "steps, as it asks; these count in the curves, not in the time and bytes a step.",
        f"The {plan.hosts} workers share this machine's processors, so computing takes longer than on machines of "
        "their own, for every row alike; with processors to themselves the network would weigh more.",
        "On fast links compression costs more than it saves: try --rate 1gbit or --rate none.",
    ]
    if warning := busy(results.about["load_at_start"]):
        said.insert(0, warning)
    if plan.seeds == 1:
        said.append(
            "There is one seed: differences of a few hundredths in loss mean nothing. --seeds 3 shows the spread."
        )
    if results.transport.modelled:
        said.append("Modelled times assume that sending and computing do not overlap, and that latency is nothing.")
    return said
