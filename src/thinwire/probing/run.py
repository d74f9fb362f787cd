"""A probe: all workers measure together, and what they found is merged into one `Probe`, the same on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from thinwire._check import fault
from thinwire.advisor.facts import Codec, Machine, Workload
from thinwire.advisor.findings import Gradients, Probe
from thinwire.comm import ProcessGroup
from thinwire.compressors import Compressor, Rotated
from thinwire.link import Link
from thinwire.probing.codecs import find_machine, merge_machines
from thinwire.probing.network import find_network
from thinwire.probing.together import everyones
from thinwire.report.provenance import busy, load
from thinwire.spec import parse_compressor, parse_link, to_text

CANDIDATES = (
    "dcgd(float16())",
    "dcgd(bfloat16())",
    "dcgd(dither(bits=8))",
    "dcgd(dither(bits=4))",
    "dcgd(rotated(bits=4))",
    "dcgd(rotated(bits=3))",
    "dcgd(rotated(bits=2))",
    "diana(rotated(bits=1))",
    "ef21(sign())",
    "ef14(topk(0.01))",
    "diana(randk(0.1, block=256) >> rotated(bits=1))",
)
"""Links whose codecs are measured where none are named: one of each kind that `docs/which-compressor.md` speaks of."""
BESIDES = (Rotated(bits=3), parse_compressor("identity()"), parse_compressor("randk(0.1, block=256)"))
"""Compressors that are measured in any case: downlinks of sparse links, what travels whole, and a part of chains."""
VALUES = 1 << 21
"""Length of the vectors on which they are."""
NETWORK = 0.65
"""The part of the time that the network has; codecs have the rest."""

Told = Callable[[str, float], None]
"""Called with what is being measured, and the part of the time that is over."""


def run_probe(
    group: ProcessGroup,
    *,
    seconds: float,
    candidates: Sequence[str] = CANDIDATES,
    values: int = VALUES,
    told: Told | None = None,
    workload: Workload | None = None,
    names: Sequence[str] = (),
    gradients: Gradients | None = None,
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Probe:
    """Measure the network and the machine, in about so many seconds. All workers call this together.

    Args:
        group: the workers.
        seconds: without what a model takes.
        candidates: links as text, whose codecs are measured; the same on all workers.
        values: length of the vectors on which they are.
        told: hears what is being measured.
        workload, names, gradients: of a model, where one was watched.
        sources, notes: to keep with what is found.

    Raises:
        ValueError: a candidate that is no link; too few workers.
        PeerError: a worker that does not answer, with its name.
    """
    compressors = compressors_of(candidates)
    tell = told or (lambda what, part: None)
    crowded = busy(load())
    found = find_network(group, seconds=seconds * NETWORK, told=lambda what, part: tell(what, part * NETWORK))
    machine = find_machine(
        compressors,
        group.device,
        values=values,
        seconds=seconds * (1 - NETWORK),
        cores=found.cores,
        told=lambda what, part: tell(f"codecs: {what}", NETWORK + part * (1 - NETWORK)),
    )
    said = everyones(group, [asdict(machine), crowded])
    machine = merge_machines([_machine(told) for told, _ in said])
    return Probe(
        workers=group.size,
        network=found.network,
        machine=replace(machine, round=max(machine.round, found.round)),
        workload=workload,
        gradients=gradients,
        links=found.links,
        collectives=found.collectives,
        names=tuple(names),
        sources=tuple(sources),
        notes=(*dict.fromkeys(text for _, text in said if text), *found.notes, *notes),
    )


def links_of(candidates: Sequence[str]) -> list[Link]:
    """The links that texts name.

    Raises:
        ValueError: one names none.

    >>> links_of(["diana(rotated(1))"])
    [diana(Rotated(bits=1))]
    """
    made = []
    for text in candidates:
        try:
            made.append(parse_link(text))
        except ValueError as error:
            raise ValueError(fault(f"candidate {text!r}", f"it is a link: {error}")) from None
    return made


def compressors_of(candidates: Sequence[str]) -> list[Compressor]:
    """Those of the candidates, and `BESIDES`; each once."""
    found = {to_text(link.compressor): link.compressor for link in links_of(candidates)}
    return list({**found, **{to_text(one): one for one in BESIDES}}.values())


def _machine(told: dict[str, object]) -> Machine:
    codecs = {name: Codec(**codec) for name, codec in told["codecs"].items()}  # type: ignore[attr-defined]
    return Machine(**{**told, "codecs": codecs})  # type: ignore[arg-type]
