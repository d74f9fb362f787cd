"""An advice as a table and in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from thinwire.advisor import Advice, Option, Proposal
from thinwire.advisor.advice import CLEAR, SAFE
from thinwire.advisor.extra_steps import told as told_extra
from thinwire.advisor.units import bandwidth_text, seconds_text
from thinwire.lowrank import LowRank
from thinwire.report.grid import Grid

GOALS = {
    "time": "the least time to the same loss",
    "bytes": "the fewest bytes to the same loss",
    "safe": f"the least time, among what needs at most {SAFE:g} times the steps for sure",
}
HOOKS = {
    "ddp": "nothing: DDP as it is",
    "fp16": "model.register_comm_hook(None, default_hooks.fp16_compress_hook)",
    "bf16": "model.register_comm_hook(None, default_hooks.bf16_compress_hook)",
}


def table(advice: Advice, parameters: int) -> Grid:
    """A row for each choice, the recommended one first."""
    rows = [
        (
            option.name,
            seconds_text(option.step.seconds),
            seconds_text(option.step.exposed),
            seconds_text(option.step.encode + option.step.decode),
            f"{option.step.sent / 1e6:.3g}",
            told_extra(option.extra),
            "–" if option.loss_time is None else f"{option.loss_time:.3g}",
            "–" if option.loss_bytes is None else f"{option.loss_bytes:.3g}",
            f"{option.step.memory / parameters:.3g}",
        )
        for option in advice.options
    ]
    heads = (
        "choice",
        "step",
        "for the network",
        "codes",
        "MB sent",
        "steps",
        "time to the loss",
        "bytes to the loss",
        "bytes kept",
    )
    notes = (
        f"compute alone: {seconds_text(advice.first.step.compute)}; for the network: what a step takes beyond that",
        "steps, time and bytes to the same loss: as times those of ddp; steps with the upper end of their range, an "
        "estimate from the error that compression makes",
        "bytes kept: for each parameter, beyond DDP's own",
    )
    title = f"{advice.workers} workers, links of {bandwidth_text(advice.bandwidth)}: by {GOALS[advice.goal]}"
    return Grid(title, heads, rows, ours=(advice.first.name,), notes=notes)


def sentences(advice: Advice) -> Iterator[str]:
    """1. What is recommended, and why. 2. What is quicker, but for its steps. 3. What would change it. 4. How to."""
    yield _verdict(advice)
    yield from _but(advice)
    yield _turns(advice)
    yield from _use(advice.first)


def _verdict(advice: Advice) -> str:
    first, dense = advice.first, advice.dense
    step, whole = seconds_text(first.step.seconds), seconds_text(dense.step.seconds)
    if first is dense:
        waits = seconds_text(max(dense.step.exposed, 0.0))
        return (
            f"Do not compress. A step takes {whole}, of which the network adds {waits}, and nothing else that is "
            f"compared would be {CLEAR - 1:.0%} better."
        )
    fewer = dense.step.sent / first.step.sent if first.step.sent else math.inf
    if not advice.compress:
        return (
            f"Do not compress further than to 16 bits. With {first.name} a step takes {step} instead of {whole}, with "
            f"half the bytes, and nothing else that is compared would be {CLEAR - 1:.0%} better."
        )
    text = f"Recommended: {first.name}. A step takes {step} instead of {whole}, with {fewer:.3g} times fewer bytes"
    assert first.extra is not None  # of what is recommended, the steps are known
    if first.extra.expected < 1.005:
        return f"{text}, and no more steps are expected ({first.extra.source})."
    return (
        f"{text}. It is expected to need {first.extra.expected:.3g} times the steps, up to {first.extra.high:.3g} "
        f"times ({first.extra.source})."
    )


def _but(advice: Advice) -> Iterator[str]:
    """What has a shorter step than the recommended one."""
    shorter = [option for option in advice.options[1:] if option.step.seconds * CLEAR < advice.first.step.seconds]
    unknown = [option.name for option in shorter if option.extra is None]
    if unknown:
        yield (
            f"Shorter steps, but not known how many: {', '.join(unknown)}. To try them on your gradients: thinwire "
            "probe --script train.py."
        )
    known = [option for option in shorter if option.extra is not None]
    if known:
        said = ", ".join(f"{option.name} ({told_extra(option.extra)} times as many)" for option in known)
        yield f"Shorter steps, but more of them: {said}."


def _turns(advice: Advice) -> str:
    """The sensitivity line."""
    if len(advice.turns) == 1 and math.isinf(advice.bandwidth):
        return "The same is recommended for links with a limit, from 10 Mb/s on."
    if len(advice.turns) == 1:
        return "The same is recommended for links a hundred times as slow, and a hundred times as fast."
    first, *rest = advice.turns
    said = [f"up to {bandwidth_text(rest[0][0])}: {first[1]}"]
    said += [f"from {bandwidth_text(rate)} on: {name}" for rate, name in rest]
    return f"What another bandwidth would change: {'; '.join(said)}."


def _use(option: Option) -> Iterator[str]:
    """The line for the training script."""
    if option.name in HOOKS:
        yield f"In your script: {HOOKS[option.name]}"
        return
    proposal = Proposal.parse(option.name)
    if isinstance(proposal.sender, LowRank):
        rank = proposal.sender.rank
        hook = f"PowerSGDState(None, matrix_approximation_rank={rank}), powerSGD_hook"
        yield f"In your script: model.register_comm_hook({hook})"
        yield (
            f'This is PyTorch\'s own, for one bucket on Gloo. tw.attach(model, "lowrank({rank})") sends the same in '
            "any number of buckets, and its memory survives NaN, AMP and checkpoints; a step of it was not predicted."
        )
        return
    momentum = "" if proposal.momentum is None else ", momentum=tw.take_momentum(optimizer)"
    expected = f", expected={option.step.seconds:.3g}"
    yield f'In your script: wire = tw.attach(model, "{proposal.choice.name}"{momentum}{expected})'
    yield "expected: the step's seconds; if steps come to take otherwise, you are told."
    if proposal.momentum is not None:
        yield (
            "Its local momentum takes the place of the optimiser's own (take_momentum switches that off): for SGD with "
            "momentum the training stays what it was, for Adam it becomes another optimiser, whose learning rate is to "
            "be tuned."
        )
