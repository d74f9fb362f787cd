"""What a probe found: a network, a machine, a workload and its gradients; JSON keeps it for whoever advises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any, Self

from thinwire._check import fault
from thinwire.advisor.facts import Codec, Machine, Network, Workload
from thinwire.report.values import finite, known

KIND = "probe"
SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """A figure that was taken several times: its median, its quartiles, and how often.

    >>> Measured.of([3.0, 1.0, 2.0])
    Measured(median=2.0, low=1.5, high=2.5, count=3)
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, taken: Sequence[float]) -> Self:
        """Of at least one measurement."""
        if not taken:
            raise ValueError(fault("Measured.of", "at least one measurement", len(taken)))
        low, middle, high = quantiles(taken, n=4, method="inclusive") if len(taken) > 1 else [taken[0]] * 3
        return cls(float(middle), float(low), float(high), len(taken))

    @property
    def spread(self) -> float:
        """What lies between the quartiles, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True)
class LinkFound:
    """One direction between two workers.

    Args:
        sender, receiver: ranks.
        latency: seconds of the shortest message, one way.
        bandwidth: bytes a second of a long one, with nothing else on the wire.
        busy: the same while all workers send to all others at once, as collectives do: this pair's part.
    """

    sender: int
    receiver: int
    latency: Measured
    bandwidth: Measured
    busy: Measured | None = None


@dataclass(frozen=True)
class CollectiveFound:
    """One collective on a vector of so many bytes: the slowest worker's seconds."""

    name: str
    size: int
    seconds: Measured


@dataclass(frozen=True)
class Candidate:
    """A link, tried on real gradients.

    With v_t the mean over workers of what the link is to send in step t (the gradients, or with local momentum their
    running averages), v̂_t the estimate, and ḡ_t the mean of the raw gradients:

        error = mean_t ‖v̂_t − v_t‖² / mean_t ‖v_t‖²        of one step
        drift = ‖Σ_t (v̂_t − v_t)‖² / Σ_t ‖ḡ_t‖²            of all T steps

    Errors that are independent from step to step give the same drift for every T; where they are paid back later, as by
    error feedback, it falls as 1/T, and where they all point one way it grows as T.

    Args:
        link: its text.
        momentum: β of local momentum; None: none.
        error, drift: as above.
        layers: the error by parameter, but for those that had no gradient.
    """

    link: str
    momentum: float | None
    error: float
    drift: float
    layers: Mapping[str, float]


@dataclass(frozen=True)
class Gradients:
    """What real gradients are like, over some steps of a training on n workers.

    Args:
        steps: how many were looked at.
        samples: of one worker's gradient, in a step; None where the script did not say.
        values: of how many values of a gradient; a sample of each parameter's where it has more.
        signal: ‖G‖², of the gradient without noise, estimated without bias.
        noise: tr Σ, of one worker's gradient, likewise.
        heterogeneity: mean_i ‖E g_i − G‖² / ‖G‖²: how far workers' gradients lie apart, noise aside.
        candidates: links that were tried.
    """

    steps: int
    samples: int | None
    values: int
    signal: float
    noise: float
    heterogeneity: float
    candidates: tuple[Candidate, ...]

    @property
    def noise_ratio(self) -> float:
        """tr Σ / ‖G‖² of one worker's batch: times `samples`, the noise scale (McCandlish et al., 2018)."""
        return self.noise / self.signal if self.signal > 0 else math.inf


@dataclass(frozen=True)
class Probe:
    """All that was found.

    Args:
        workers: how many took part.
        network: links as collectives see them: the median of the pairs' latency, and of the bandwidth they share.
        machine: of each worker.
        workload: of a training step; None where no model was given.
        gradients: of it; None likewise.
        links, collectives: what `network` was made from.
        names: the parameters' names, in the workload's order.
        sources: commands and dates.
        notes: what the measurements left in doubt.

    >>> from thinwire.advisor import Machine, Network, Workload
    >>> probe = Probe(4, Network(bandwidth=125e6, latency=1e-3), Machine(cores=8), Workload.even(1e6, compute=0.1))
    >>> Probe.from_dict(probe.as_dict()) == probe
    True
    """

    workers: int
    network: Network
    machine: Machine
    workload: Workload | None = None
    gradients: Gradients | None = None
    links: tuple[LinkFound, ...] = ()
    collectives: tuple[CollectiveFound, ...] = ()
    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it: what is infinite is null. A calibration can be read from it, too."""
        found: dict[str, Any] = finite({"schema": SCHEMA, "kind": KIND, **asdict(self)})
        return found

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Probe:
        """What `as_dict` wrote.

        Raises:
            ValueError: it is something else.
        """
        if told.get("kind") != KIND or told.get("schema") != SCHEMA:
            found = {name: told.get(name) for name in ("kind", "schema")}
            raise ValueError(fault("probe", "it is the JSON of thinwire probe", found, "Make it anew: thinwire probe."))
        try:
            return cls(
                workers=told["workers"],
                network=Network(**known(told["network"])),
                machine=_machine(told["machine"]),
                workload=told["workload"] and _workload(told["workload"]),
                gradients=told["gradients"] and _gradients(told["gradients"]),
                links=tuple(_link(link) for link in told["links"]),
                collectives=tuple(
                    CollectiveFound(one["name"], one["size"], Measured(**one["seconds"])) for one in told["collectives"]
                ),
                names=tuple(told["names"]),
                sources=tuple(told["sources"]),
                notes=tuple(told["notes"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            rule, way_out = "it has all that a probe writes", "Make it anew: thinwire probe."
            raise ValueError(fault("probe", rule, f"{type(error).__name__}: {error}", way_out)) from None


def _machine(told: Mapping[str, Any]) -> Machine:
    codecs = {name: Codec(**known(codec)) for name, codec in told["codecs"].items()}
    return Machine(**known({**told, "codecs": codecs}))


def _workload(told: Mapping[str, Any]) -> Workload:
    shapes = tuple(tuple(shape) for shape in told["shapes"])
    return Workload(**{**told, "shapes": shapes, "ready": tuple(told["ready"])})


def _gradients(told: Mapping[str, Any]) -> Gradients:
    candidates = tuple(Candidate(**{**one, **_figures(one, "error", "drift")}) for one in told["candidates"])
    figures = _figures(told, "signal", "noise", "heterogeneity")
    return Gradients(**{**told, **figures, "candidates": candidates})


def _figures(told: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {name: math.inf if told[name] is None else told[name] for name in names}


def _link(told: Mapping[str, Any]) -> LinkFound:
    busy = told["busy"]
    figures = {name: Measured(**told[name]) for name in ("latency", "bandwidth")}
    return LinkFound(told["sender"], told["receiver"], **figures, busy=busy and Measured(**busy))
