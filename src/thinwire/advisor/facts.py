"""What a prediction is made from: a network, a machine and a workload, as numbers; all of it frozen.

Seconds and bytes throughout. *Processor seconds* are what a thread takes that has a processor to itself: where threads,
or hosts, share processors, they take longer by the clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from thinwire._check import call, fault

FORWARD = 1 / 3
"""The part of a step's compute that the forward pass takes; the backward pass takes the rest."""
VALUE = 4
"""Bytes of a float32."""
LAYERS = 48
"""Tensors that a model is taken to have of which nothing but its size is known."""


def _not_negative(cls: str, **given: float) -> None:
    for name, value in given.items():
        if not value >= 0:
            raise ValueError(fault(call(cls, **{name: value}), f"{name} must be at least 0", value))


@dataclass(frozen=True)
class Network:
    """Links between workers, the same for all: full duplex, one link a worker.

    Args:
        bandwidth: bytes a second, each way.
        latency: seconds from one worker to another.
        call: processor seconds of each worker to begin a collective and to learn that it is over.
        hop: the same for one step of a ring.
        message: the same for each worker that a collective sends to directly.
        per_byte: processor seconds of each worker for a byte sent, and the one received for it.
        ring, direct: the part of the bandwidth that bytes reach in a ring, and sent to all at once.

    Raises:
        ValueError: a number below 0; a bandwidth, `ring` or `direct` that is not above 0.

    >>> Network(bandwidth=125e6, latency=1e-4).ring_seconds(8e6, workers=4)
    0.0966
    """

    bandwidth: float = math.inf
    latency: float = 0.0
    call: float = 0.0
    hop: float = 0.0
    message: float = 0.0
    per_byte: float = 0.0
    ring: float = 1.0
    direct: float = 1.0

    def __post_init__(self) -> None:
        for name in ("bandwidth", "ring", "direct"):
            if not getattr(self, name) > 0:
                where = call("Network", **{name: getattr(self, name)})
                raise ValueError(fault(where, f"{name} must be above 0", getattr(self, name)))
        _not_negative("Network", **{n: getattr(self, n) for n in ("latency", "call", "hop", "message", "per_byte")})

    def ring_seconds(self, size: float, workers: int) -> float:
        """2 (n − 1) (latency + hop) + 2 (n − 1)/n · size ÷ bandwidth: an all-reduce, processors idle."""
        steps = 2 * (workers - 1)
        return steps * (self.latency + self.hop) + steps / workers * size / (self.bandwidth * self.ring)


@dataclass(frozen=True)
class Codec:
    """What a compressor costs, in processor seconds a value.

    Args:
        encode: to make a payload.
        sender: to take a difference, encode it, and move what is remembered by what was said; None where no kernel
            does it in one pass: `Machine.sender` adds it up.
        decode: to decode a payload of one's own.
        receive: to average one worker's payload into the estimate; `onto`: what that costs however many there are.
        source: where the numbers are from.
    """

    encode: float
    decode: float
    receive: float
    onto: float
    sender: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        named = {name: getattr(self, name) for name in ("encode", "decode", "receive", "onto")}
        _not_negative("Codec", **named, sender=self.sender or 0.0)


FREE = Codec(0.0, 0.0, 0.0, 0.0, 0.0, "nothing")


@dataclass(frozen=True)
class Machine:
    """What one worker has to work with.

    Args:
        cores: processors a worker; less than one where hosts share them.
        memory: processor seconds for a byte that is read or written.
        round: processor seconds of one exchange of one vector, whatever its length.
        codecs: by the compressor's text, as `to_text` writes it.
    """

    cores: float = math.inf
    memory: float = 0.0
    round: float = 0.0
    codecs: Mapping[str, Codec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.cores > 0:
            raise ValueError(fault(call("Machine", cores=self.cores), "cores must be above 0", self.cores))
        _not_negative("Machine", memory=self.memory, round=self.round)

    def shared_by(self, hosts: int) -> Machine:
        """This machine's part for each of `hosts` that run on it.

        >>> Machine(cores=2).shared_by(4).cores
        0.5
        """
        return replace(self, cores=self.cores / hosts)


@dataclass(frozen=True)
class Workload:
    """One training step of one worker, without communication.

    Args:
        shapes: of the trained parameters, in the order of their registration.
        ready: for each, seconds from the step's begin until its gradient is there.
        compute: seconds of the whole step.
        on_host: whether compute takes a processor of the host; otherwise an accelerator does it.
        handling: with an accelerator, processor seconds of the host for each value of a gradient that is made.

    Raises:
        ValueError: `shapes` and `ready` that differ in number, or a gradient that is ready after the step's end.

    >>> Workload.even(parameters=124e6, compute=0.25).shapes[0], Workload.even(parameters=124e6, compute=0.25).values
    ((1607, 1607), 123957552)
    """

    shapes: tuple[tuple[int, ...], ...]
    ready: tuple[float, ...]
    compute: float
    on_host: bool = False
    handling: float = 0.0

    def __post_init__(self) -> None:
        where = call("Workload", compute=self.compute)
        _not_negative("Workload", compute=self.compute, handling=self.handling)
        if not self.shapes or len(self.shapes) != len(self.ready):
            raise ValueError(fault(where, "each of at least one parameter has a time", len(self.ready)))
        if not all(0 <= moment <= self.compute for moment in self.ready):
            raise ValueError(fault(where, "gradients are ready within the step", self.ready))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each parameter."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def values(self) -> int:
        """Values of all parameters."""
        return sum(self.sizes)

    @classmethod
    def layered(
        cls, shapes: Sequence[Sequence[int]], compute: float, *, on_host: bool = False, handling: float = 0.0
    ) -> Workload:
        """A step whose layers take time in proportion to their sizes: forward a third, backward two thirds.

        >>> Workload.layered([(10, 10), (30, 10)], compute=12.0).ready
        (12.0, 10.0)
        """
        sizes = [math.prod(shape) for shape in shapes]
        below = [done - size for done, size in zip(accumulate(sizes), sizes, strict=True)]
        parts = [FORWARD + (1 - FORWARD) * (1 - under / sum(sizes)) for under in below]
        ready = tuple(min(compute, compute * part) for part in parts)
        return cls(tuple(tuple(shape) for shape in shapes), ready, compute, on_host, handling)

    @classmethod
    def even(cls, parameters: float, compute: float, *, layers: int = LAYERS, on_host: bool = False) -> Workload:
        """A model of which about the size is known, as so many square matrices of the same size."""
        if not parameters >= 1:
            where = call("Workload.even", parameters=parameters)
            raise ValueError(fault(where, "parameters must be at least 1", parameters))
        width = max(1, round(math.sqrt(parameters / layers)))
        return cls.layered([(width, width)] * max(1, round(parameters / width**2)), compute, on_host=on_host)

    def slowed(self, factor: float) -> Workload:
        """The step of a worker that takes `factor` times as long to compute."""
        ready = tuple(moment * factor for moment in self.ready)
        return replace(self, ready=ready, compute=self.compute * factor)
