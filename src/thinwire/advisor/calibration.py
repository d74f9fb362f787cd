"""Facts from measurements: the JSON of `thinwire bench collective` and `thinwire bench codec`; never from step times.

What such a benchmark tells of a lab, whose hosts share processors, is turned into processor seconds: n hosts on c
processors take n / c times as long by the clock, where n > c.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from thinwire._check import fault
from thinwire.advisor.facts import VALUE, Codec, Machine, Network
from thinwire.report.values import known
from thinwire.spec import parse_compressor, to_text

RECEIVED = 4
"""Payloads that `decode_mean` averages in `thinwire bench codec`."""
LONG = 4 << 20
"""Bytes from which a collective's time is that of its bytes."""


@dataclass(frozen=True)
class Calibration:
    """What a machine and its network cost, and the commands that said so.

    `network` has no bandwidth and no latency of its own: these are given, or shaped.
    """

    network: Network
    machine: Machine
    sources: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it: what is infinite is left out."""
        network = {name: value for name, value in asdict(self.network).items() if name != "bandwidth"}
        return {"schema": 1, "sources": self.sources, "network": network, "machine": asdict(self.machine)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibration:
        """What `as_dict` wrote, or that of a probe.

        Raises:
            ValueError: it is something else.
        """
        try:
            codecs = {name: Codec(**codec) for name, codec in told["machine"]["codecs"].items()}
            machine, network = (known(told[name]) for name in ("machine", "network"))
            return cls(Network(**network), Machine(**{**machine, "codecs": codecs}), tuple(told["sources"]))
        except (KeyError, TypeError, AttributeError) as error:
            rule = "it has sources, a network and a machine"
            way_out = "thinwire probe writes one, and benchmarks/calibrate.py."
            raise ValueError(fault("calibration", rule, str(error), way_out)) from None


def reference() -> Calibration:
    """That of the machine on which docs/benchmarks.md was measured.

    >>> reference().machine.cores
    2
    """
    text = files("thinwire.advisor").joinpath("reference.json").read_text(encoding="utf-8")
    return Calibration.from_dict(json.loads(text))


def read_calibration(where: str, file: Path) -> Calibration:
    """That of a JSON file; `where` is what the user calls it.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    try:
        return Calibration.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(fault(f"{where} {str(file)!r}", f"it cannot be read: {error}")) from None


def calibrate(
    collective: Mapping[str, Any], codec: Mapping[str, Any], unshaped: Mapping[str, Any] | None = None
) -> Calibration:
    """What the JSON of the benchmarks says.

    Args:
        collective: of links that have a rate.
        codec: of one thread.
        unshaped: of collectives on links without a rate, where processors are the limit: what a byte costs them. None:
            bytes cost them nothing.

    Raises:
        ValueError: they are not these benchmarks'.
    """
    for told, name in ((collective, "collective"), (codec, "codec"), (unshaped or collective, "collective")):
        if told.get("benchmark") != name:
            rule = f"it is the JSON of thinwire bench {name}"
            raise ValueError(fault(f"calibrate({name})", rule, told.get("benchmark")))
    cores = collective["provenance"]["cores"]
    network, round_seconds = _network(collective["runs"][0], cores)
    if unshaped is not None:
        network = replace(network, per_byte=_per_byte(unshaped["runs"][0], unshaped["provenance"]["cores"]))
    run = next(run for run in codec["runs"] if run["device"] == "cpu" and run["threads"] == 1)
    copied = run["limits"]["copy_ into a kept buffer"]["seconds"]["median"]
    codecs = {}
    for row in run["rows"]:
        if not row["failure"]:
            compressor = parse_compressor(row["name"])
            spent = {name: told["seconds"]["median"] for name, told in row["calls"].items()}
            codecs[to_text(compressor)] = codec_from(spent, run["size"])
    machine = Machine(cores, copied / (2 * VALUE * run["size"]), round_seconds, codecs)
    used = (collective, codec, unshaped)
    return Calibration(network, machine, tuple(told["command"] for told in used if told is not None))


def _network(run: Mapping[str, Any], cores: int) -> tuple[Network, float]:
    """Fixed costs from the shortest calls, the parts of the rate that bytes reach from the long ones.

    One number of hosts does not tell a call's cost from that of its messages: messages are charged with all of it,
    which for more workers is the dearer reading.
    """
    hosts, rate = run["hosts"], run["rate"]
    if not rate:
        raise ValueError(fault("calibrate(collective)", "its links have a rate", rate, "Measure it with --rate 1gbit."))
    part = min(1.0, cores / hosts)
    shortest = run["sizes"][0]["calls"]
    hop = _seconds(shortest, "Gloo all_reduce") * part / (2 * (hosts - 1))
    message = median(_seconds(shortest, name) for name in ("all_gather", "all_to_all")) * part / (hosts - 1)
    long = [at for at in run["sizes"] if at["size"] >= LONG]
    ring = _reached(long, ("Gloo all_reduce",), {"Gloo all_reduce": 2 * (hosts - 1) / hosts}, rate)
    sent = {"all_gather": hosts - 1.0, "all_to_all": (hosts - 1) / hosts}
    direct = _reached(long, tuple(sent), sent, rate)
    exchange = (_seconds(shortest, "route allreduce") - _seconds(shortest, "sharded")) * part
    return Network(message=message, hop=hop, ring=ring, direct=direct), max(0.0, exchange)


def _per_byte(run: Mapping[str, Any], cores: int) -> float:
    """Of the longest calls, whose fixed costs are nothing beside it; what it costs in the cheapest of them.

    What others cost beyond that is in the part of the rate that they reach, where there is one.
    """
    hosts, part = run["hosts"], min(1.0, cores / run["hosts"])
    calls, size = run["sizes"][-1]["calls"], run["sizes"][-1]["size"]
    sent = {"Gloo all_reduce": 2 * (hosts - 1) / hosts, "all_gather": hosts - 1.0, "all_to_all": (hosts - 1) / hosts}
    return float(min(_seconds(calls, name) * part / (times * size) for name, times in sent.items()))


def _reached(sizes: Sequence[Mapping[str, Any]], names: Sequence[str], sent: Mapping[str, float], rate: float) -> float:
    """The part of the rate that the bytes handed over reach, in the median."""
    reached = [8 * sent[name] * at["size"] / rate / _seconds(at["calls"], name) for at in sizes for name in names]
    return float(median(reached))


def _seconds(calls: Mapping[str, Any], name: str) -> float:
    return float(calls[name]["seconds"]["median"])


def codec_from(spent: Mapping[str, float], size: int, source: str = "measured") -> Codec:
    """What a compressor costs a value, from the seconds of its calls on so many values.

    Args:
        spent: by call: `encode` and `decode`; where a kernel does them, `decode_kept` (into memory that is there),
            and `encode_difference`; `decode_mean` of RECEIVED payloads.
        size: values.
        source: where they are from.
    """
    each = {name: seconds / size for name, seconds in spent.items()}
    if "decode_kept" in each:
        receive = min(each["decode_kept"], each["decode_mean"] / RECEIVED)
        onto = each["decode_mean"] - RECEIVED * receive
        return Codec(each["encode"], each["decode_kept"], receive, onto, each["encode_difference"], source)
    further = max(0.0, each["decode_mean"] - each["decode"]) / (RECEIVED - 1)  # than the first one
    receive = min(further, each["decode_mean"] / RECEIVED)
    return Codec(each["encode"], each["decode"], receive, each["decode_mean"] - RECEIVED * receive, None, source)
