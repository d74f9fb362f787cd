"""What a step takes: facts and a choice in, a prediction out."""

from __future__ import annotations

from dataclasses import dataclass

from thinwire._check import fault
from thinwire.advisor.host import Host, Site
from thinwire.advisor.steps import AllReduce, Alone, ByLink, PowerSgd, Way
from thinwire.spec import parse_link

HOOKS: dict[str, Way] = {
    "ddp": AllReduce(),
    "fp16": AllReduce(width=2),
    "bf16": AllReduce(width=2),
    "powersgd": PowerSgd(rank=1),
    "powersgd4": PowerSgd(rank=4),
}
"""What is not thinwire, by the names of `thinwire bench step`."""


@dataclass(frozen=True)
class Choice:
    """A way to communicate, and what it is called.

    >>> Choice.parse("diana(rotated(1))").ours, Choice.parse("fp16").ours
    (True, False)
    """

    name: str
    way: Way

    @property
    def ours(self) -> bool:
        """Whether it is thinwire."""
        return isinstance(self.way, ByLink)

    def notes(self, site: Site) -> tuple[str, ...]:
        """What was put together for want of a measurement."""
        return tuple(note for note in self.way.notes(Host(site)) if " taken for " in note or " put together " in note)

    @classmethod
    def parse(cls, text: str, *, route: str | None = None, momentum: bool = False) -> Choice:
        """The choice that a text names: one of `HOOKS`, or a link.

        Raises:
            ValueError: it names neither.
        """
        name = text.strip()
        if name in HOOKS:
            return cls(name, HOOKS[name])
        try:
            link = parse_link(name)
        except ValueError as error:
            raise ValueError(fault(f"choice {text!r}", f"{', '.join(HOOKS)}, or a link: {error}")) from None
        return cls(name, ByLink(link, route, momentum))


@dataclass(frozen=True)
class Prediction:
    """One step, as predicted.

    Args:
        seconds: of the step.
        compute: of the same step without communication.
        encode, decode: the communicating thread's work before the first collective of each frame, and after it.
        sent: bytes that a worker sends across machines, and receives.
        memory: bytes that a worker keeps from step to step beyond DDP's own.
        notes: what there is to say of the figures.
    """

    choice: str
    workers: int
    seconds: float
    compute: float
    encode: float
    decode: float
    sent: float
    memory: float
    notes: tuple[str, ...] = ()

    @property
    def exposed(self) -> float:
        """Seconds that communication adds to the step."""
        return self.seconds - self.compute


def simulated(way: Way, site: Site) -> Host:
    """A worker after one step; `host.schedule.now` is how long it took."""
    host = Host(site)
    way.begin(host)
    host.schedule.run()
    return host


def predict_step(choice: Choice, site: Site) -> Prediction:
    """The prediction of one choice at one site.

    Raises:
        ValueError: a link whose compressor's costs are not known, or that it does not suit.

    >>> from thinwire.advisor.facts import Machine, Network, Workload
    >>> site = Site(4, Network(bandwidth=125e6), Machine(), Workload.even(parameters=1e6, compute=0.0))
    >>> round(predict_step(Choice.parse("ddp"), site).seconds, 3)  # 6 MB at 125 MB/s
    0.048
    """
    host = simulated(choice.way, site)
    return Prediction(
        choice.name,
        site.workers,
        host.schedule.now,
        simulated(Alone(), site).schedule.now,
        host.spent["encode"],
        host.spent["decode"],
        host.sent,
        choice.way.memory(host),
        choice.way.notes(host),
    )
