"""What was found of a training step and its gradients, as tables and sentences."""

from __future__ import annotations

import math

from thinwire.advisor.facts import Workload
from thinwire.advisor.findings import Candidate, Gradients, Probe
from thinwire.advisor.units import seconds_text
from thinwire.report.grid import Grid


def gradient_tables(probe: Probe) -> list[Grid]:
    """How far links were off; nothing where no model was watched."""
    return [] if probe.gradients is None else [_links(probe.gradients)]


def gradient_remarks(probe: Probe) -> list[str]:
    """The step, and what its gradients are like; nothing where no model was watched."""
    if probe.gradients is None or probe.workload is None:
        return []
    return [_step(probe.workload), _noise(probe.gradients)]


def _links(gradients: Gradients) -> Grid:
    rows = [(_name(one), _figure(one.error), _figure(one.drift), *_worst(one)) for one in gradients.candidates]
    notes = [
        "error: square error of a step's mean, as part of its square; drift: that of the sum of all steps' errors, as "
        "part of the gradients' squares",
        f"tried on the gradients of {gradients.steps} steps, of which the first third does not count; "
        f"{gradients.values:,} values of each",
    ]
    return Grid("Links on these gradients", ("link", "error", "drift", "most in", "there"), rows, notes=notes)


def _name(one: Candidate) -> str:
    return one.link if one.momentum is None else f"{one.link}, momentum {one.momentum:g}"


def _figure(value: float) -> str:
    return "too large for it" if math.isinf(value) else f"{value:.2g}"


def _worst(one: Candidate) -> tuple[str, str]:
    if not one.layers:
        return "–", "–"
    name = max(one.layers, key=lambda layer: one.layers[layer])
    return name, _figure(one.layers[name])


def _step(workload: Workload) -> str:
    first, last = (seconds_text(moment) for moment in (min(workload.ready), max(workload.ready)))
    kind = " of a processor" if workload.on_host else ""
    return (
        f"A step takes {seconds_text(workload.compute)}{kind} without communication, for {workload.values:,} values in "
        f"{len(workload.shapes)} parameters; its first gradient is ready after {first}, its last after {last}."
    )


def _noise(gradients: Gradients) -> str:
    if gradients.signal <= 0:
        return "Of the gradients of these steps nothing but noise can be told."
    ratio = gradients.noise_ratio
    scale = "" if gradients.samples is None else f", a noise scale of {ratio * gradients.samples:,.0f} samples"
    return (
        f"One worker's noise is {ratio:.2g} times the gradient, in squares{scale}; between workers gradients differ by "
        f"{gradients.heterogeneity:.2g} times it, noise aside."
    )
