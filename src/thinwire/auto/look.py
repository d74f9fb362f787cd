"""A short look at the network and at the processors, by all workers together: some seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from thinwire.advisor.facts import Machine, Network
from thinwire.advisor.units import bandwidth_text, seconds_text
from thinwire.auto.trials import Ways, try_ways
from thinwire.comm import ProcessGroup
from thinwire.link import Link
from thinwire.probing.run import VALUES, run_probe
from thinwire.spec import to_text
from thinwire.training.reducer import Settings

SECONDS = 3.0
"""Of the probe; the trials of each way take about as long again."""


@dataclass(frozen=True)
class Place:
    """What was found, the same on all workers.

    Args:
        network, machine: as the advisor takes them.
        on_host: whether gradients are computed by the processors that compress.
        sample: values that each way was tried with.
        trials: the seconds of that, by way.
    """

    network: Network
    machine: Machine
    on_host: bool
    sample: int = 0
    trials: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """In short."""
        return f"links of {bandwidth_text(self.network.bandwidth)} and {seconds_text(self.network.latency)}"


def look(group: ProcessGroup, ways: Ways, values: int, settings: Settings) -> Place:
    """Measure the network, what codecs cost, and each way by itself. All workers call this together."""
    links = [to_text(way) for way in ways.values() if isinstance(way, Link)]
    sample, trials = try_ways(group, ways, values, down=settings.down, route=settings.route)
    probe = run_probe(group, seconds=SECONDS, candidates=links, values=min(values, VALUES))
    return Place(probe.network, probe.machine, group.device.type == "cpu", sample, trials)
