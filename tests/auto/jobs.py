"""Trainings by "auto" whose clocks and networks are made up, so that nothing depends on how fast a machine is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import thinwire as tw
from thinwire.advisor.facts import Codec, Machine, Network
from thinwire.auto.look import Place
from thinwire.auto.pilot import AutoPilot, Pace
from thinwire.auto.trials import Ways
from thinwire.comm import ProcessGroup
from thinwire.compressors import Identity
from thinwire.presets import dcgd
from thinwire.training.ddp import Wire
from thinwire.training.reducer import Settings
from thinwire.training.trained import Trained

from ..training.jobs import Net, build, data, gradients, weights

PACE = Pace(measured=3, skip=1, window=4)
DECIDED = PACE.measured + PACE.skip + 1
"""Steps after which it is decided: one more, whose begin ends the last one that is measured."""
SLOW, FAST = Network(bandwidth=1e6, latency=1e-6), Network(bandwidth=1e12, latency=1e-9)
COMPUTE = 0.01
SENT = {"float32": 4.0, "bfloat16": 2.0, "dcgd(dither(bits=4))": 0.6, "dcgd(rotated(bits=3))": 0.4}
"""Bytes of a value, about."""


@dataclass
class World:
    """A clock that stands still but for what a step takes, and a network; both can change."""

    rank: int
    network: Network = SLOW
    factor: float = 1.0
    seconds: float = 0.0
    looks: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def look(self, group: ProcessGroup, ways: Ways, values: int, settings: Settings) -> Place:
        self.looks.append(values)
        codecs = dict.fromkeys(["identity(bits=32)", "dither(bits=4)", "rotated(bits=3)", "rotated(bits=1)"], FREE)
        return Place(self.network, Machine(cores=8, codecs=codecs), on_host=False)

    def compute(self) -> None:
        self.seconds += self.factor * COMPUTE

    def send(self, wire: Wire) -> None:
        n = wire.group.size
        size = SENT.get(wire.way, 4.0) * VALUES * 2 * (n - 1) / n
        self.seconds += self.factor * size / self.network.bandwidth


VALUES = sum(p.numel() for p in Net().parameters())
FREE = Codec(1e-12, 1e-12, 1e-12, 1e-12, 1e-12, "made up")


def attach(model: Any, world: World, pace: Pace = PACE, **asked: Any) -> Wire:
    """What `tw.attach(model, **asked)` does, in that world."""
    trained = Trained.of(model, scaler=None, optimizer=(), timeout=60.0, checksum=True)
    momentum = asked.get("momentum")
    settings = Settings(link=dcgd(Identity()), **asked)
    pilot = AutoPilot(trained, settings, pace=pace, look=world.look, now=world.now)
    wire = Wire(trained, torch.float32 if momentum is None else dcgd(Identity()), settings, pilot)
    sent = pilot.sent

    def slowly(bucket: Any, *, last: bool) -> Any:
        if last:
            world.send(wire)
        return sent(bucket, last=last)

    pilot.sent = slowly  # type: ignore[method-assign]
    model.register_forward_pre_hook(lambda *_: world.compute())
    return wire


def step(
    rank: int, net: Net, model: Any, number: int, *, poison: bool = False, extra: bool = True, parts: int = 1
) -> torch.Tensor:
    net.zero_grad()
    for part in range(1, parts):
        with model.no_sync():
            model(data(rank, 100 * part + number), extra).square().mean().backward()
    x = data(rank, number)
    if poison:
        x[0, 0] = float("nan")
    model(x, extra).square().mean().backward()
    seen = gradients(net)
    if bool(seen.isfinite().all()):
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad
    return seen


def result(net: Net, wire: Wire, world: World, ways: Sequence[str]) -> dict[str, Any]:
    found = {"weights": weights(net), "ways": list(ways), "notes": wire.stats().notes, "steps": wire.steps}
    found |= {"looks": len(world.looks), "total": wire.stats().total.steps}
    wire.close()
    return found


def unlike(rank: int, size: int, momentum: float | None) -> dict[str, Any]:
    """Workers that are differently fast, and see different networks."""
    net, model = build()
    networks = [SLOW, FAST, Network(bandwidth=3e5)]
    world = World(rank, networks[rank], 1.0 + 4 * rank)
    wire = attach(model, world, momentum=momentum)
    ways = []
    for number in range(DECIDED + 4):
        step(rank, net, model, number)
        ways.append(wire.way)
    return result(net, wire, world, ways)


Change = Callable[[World], None]


def changing(rank: int, size: int, start: str, then: dict[int, tuple[str, float]], steps: int) -> dict[str, Any]:
    """The network is slow or fast; before some steps it changes, and the clock with it."""
    net, model = build()
    named = {"slow": SLOW, "fast": FAST}
    world = World(rank, named[start])
    wire = attach(model, world)
    ways = []
    for number in range(steps):
        if number in then:
            network, factor = then[number]
            world.network, world.factor = named[network], factor
        step(rank, net, model, number)
        ways.append(wire.way)
    return result(net, wire, world, ways)


def odd(rank: int, size: int, ddp: dict[str, Any]) -> dict[str, Any]:
    """Accumulation, evaluation, unused parameters and steps that are not finite, through a decision and a renewal."""
    net, model = build(**ddp)
    world = World(rank, SLOW)
    wire = attach(model, world)
    ways = []
    for number in range(2 * DECIDED + 3 * PACE.window + 6):
        if number == DECIDED + 1:
            world.network, world.factor = FAST, 10
        if number % 4 == 1:
            model.eval()
            with torch.no_grad():
                model(data(rank, 300))
            model.train()
        extra = not ddp.get("find_unused_parameters") or number % 2 == rank % 2
        parts = 3 if number % 3 == 2 and number else 1
        step(rank, net, model, number, poison=rank == 1 and number % 7 == 3, extra=extra, parts=parts)
        ways.append(wire.way)
    return result(net, wire, world, ways)


def resumed(rank: int, size: int, at: int, steps: int) -> tuple[bool, list[str], list[str]]:
    """Whether a training that stopped before step `at` goes on as the one that did not stop; and their ways."""
    saved: dict[str, Any] = {}
    net, model = build(bucket_cap_mb=1)
    wire = attach(model, World(rank))
    ways, seen = [], []
    for number in range(steps):
        if number == at:
            saved = {"wire": wire.state_dict(), "model": {k: v.clone() for k, v in net.state_dict().items()}}
        seen.append(step(rank, net, model, number))
        ways.append(wire.way)
    wire.close()
    net, model = build(bucket_cap_mb=1)
    net.load_state_dict(saved["model"])
    again = attach(model, World(rank))
    again.load_state_dict(saved["wire"])
    parts, went = [], []
    for number in range(at, steps):
        parts.append(step(rank, net, model, number))
        went.append(again.way)
    again.close()
    return all(torch.equal(a, b) for a, b in zip(seen[at:], parts, strict=True)), ways[at:], went


def joined(rank: int, size: int) -> tuple[str, int, dict[str, Any]]:
    """Where a worker stands that joins others whose "auto" has decided, and all workers alike."""
    net, model = build()
    wire = attach(model, World(rank))
    for number in range(DECIDED + 2):
        step(rank, net, model, number)
    state = wire.state_dict()
    wire.close()
    net, model = build()
    again = attach(model, World(rank))
    again.load_state_dict(state if rank else None)
    found = again.way, again.steps, again.state_dict()["auto"]
    again.close()
    return found


def closed(rank: int, size: int, steps: int) -> str:
    """Closed after so many steps; what a further one says."""
    net, model = build()
    wire = attach(model, World(rank))
    for number in range(steps):
        step(rank, net, model, number)
    wire.close()
    try:
        step(rank, net, model, steps)
    except RuntimeError as error:
        return str(error)
    return "no error"


def unlike_asked(rank: int, size: int, what: dict[str, Any]) -> str:
    """Rank 1 asks "auto" for something that the others do not; what this rank is told."""
    try:
        tw.attach(build()[1], timeout=20.0, **(what if rank == 1 else {}))
    except tw.PeerError as error:
        return str(error)
    return "no error"


def from_a_link(rank: int, size: int, link: str) -> tuple[bool, list[str], tuple[str, ...]]:
    """ "auto" goes on from a link's state: whether as that link would have, how it went, and what it says."""
    net, model = build()
    wire = tw.attach(model, link)
    seen, parts, ways = [], [], []
    saved: dict[str, Any] = {}
    for number in range(3 + DECIDED + 3):
        if number == 3:
            saved = {"wire": wire.state_dict(), "model": {k: v.clone() for k, v in net.state_dict().items()}}
        seen.append(step(rank, net, model, number))
    wire.close()
    net, model = build()
    net.load_state_dict(saved["model"])
    again = attach(model, World(rank))
    again.load_state_dict(saved["wire"])
    for number in range(3, 3 + DECIDED + 3):
        parts.append(step(rank, net, model, number))
        ways.append(again.way)
    notes = again.stats().notes
    again.close()
    return all(torch.equal(a, b) for a, b in zip(seen[3:], parts, strict=True)), ways, notes


def strict(rank: int, size: int) -> tuple[list[str], tuple[str, ...]]:
    """A model that no link carries without a remark, where remarks are errors."""
    torch.manual_seed(1)
    net = torch.nn.Linear(64, 64, dtype=torch.float64)
    model = torch.nn.parallel.DistributedDataParallel(net)
    wire = attach(model, World(rank), strict=True)
    ways = []
    for number in range(DECIDED + 3):
        model(data(rank, number, torch.float64)).square().mean().backward()
        ways.append(wire.way)
    notes = wire.stats().notes
    wire.close()
    return ways, notes


def warmed_up(rank: int, size: int, first: int) -> tuple[list[int], list[str]]:
    """Samples that are held after each step, and how they went."""
    net, model = build()
    trained = Trained.of(model, scaler=None, optimizer=(), timeout=60.0, checksum=True)
    settings, world = Settings(link=dcgd(Identity())), World(rank)
    pilot = AutoPilot(trained, settings, first=first, pace=PACE, look=world.look, now=world.now)
    wire = Wire(trained, torch.float32, settings, pilot)
    held, ways = [], []
    for number in range(first + 3):
        world.compute()
        step(rank, net, model, number)
        held.append(0 if pilot._samples is None else len(pilot._samples._rows))
        ways.append(wire.way)
    looks = len(world.looks)
    wire.close()
    assert looks == 1
    return held, ways


def expecting(rank: int, size: int, file: str) -> tuple[tuple[str, ...], bool]:
    """Steps that are expected to take an hour: what is noted, and whether another wire takes the state."""
    net, model = build()
    link = "diana(rotated(1))"
    wire = tw.attach(model, link, expected=3600)
    wire.log(file)
    for number in range(110):
        step(rank, net, model, number)
    notes, state = wire.stats().notes, wire.state_dict()
    wire.close()
    again = tw.attach(build()[1], link)
    again.load_state_dict(state)
    loaded = again.steps == 110 and "auto" not in state
    again.close()
    return notes, loaded


def refused(rank: int, size: int, what: dict[str, Any]) -> str:
    """What "auto" says to something that it cannot do."""
    try:
        tw.attach(build()[1], **what)
    except ValueError as error:
        return str(error)
    return "no error"
