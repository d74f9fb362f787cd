"""The methods that are compared: how gradients travel, and whose momentum it is."""

from __future__ import annotations

from dataclasses import dataclass

import thinwire as tw
from thinwire.exchange import default_down, route_bytes
from thinwire.link import Link
from thinwire.spec import parse_sender
from thinwire.training.reducer import Settings

BETA, BETA2 = 0.9, 0.95
LARGE = 1 << 23
"""The length of a frame of a large model: its route is taken, since for our small ones latency would decide."""


@dataclass(frozen=True)
class Method:
    """One row: a link up, one down where the default will not do, and β of the workers' own running averages.

    With `momentum` the optimiser has none of its own. `group` says who it is: the optimiser run dense, what others
    use, ours, in a `geometry` of that β₂ if it has one, or one that is tried: with a `frozen` variance.
    """

    name: str
    label: str
    group: str
    link: str
    down: str | None = None
    momentum: float | None = None
    dense_steps: int = 0
    geometry: float | None = None
    frozen: bool = False

    @property
    def kind(self) -> str:
        """Which grid of learning rates it is tuned on."""
        return "server" if self.momentum is None or self.frozen else "local"

    def settings(self, workers: int, seed: int) -> Settings:
        """What `attach` would be given, and the route that it would take with a model of millions of parameters."""
        sender = parse_sender(self.link)
        down = None if self.down is None else tw.parse_link(self.down)
        route = None
        if isinstance(sender, Link):
            costs = route_bytes(sender.bind(workers), self.downlink(sender, workers), LARGE, workers)
            route = min(costs, key=lambda name: (costs[name], name))
        own = {"momentum": self.momentum, "geometry": self.geometry}
        return Settings(sender, down, route, **own, warmup_steps=self.dense_steps, seed=seed)

    def downlink(self, link: Link, workers: int) -> Link:
        """What owners send by in the sharded route."""
        down = default_down(link.bind(workers), LARGE) if self.down is None else tw.parse_link(self.down)
        return down.bind(workers)

    def pending(self) -> str | None:
        """Why it cannot be run with this thinwire; None if it can."""
        try:
            self.settings(4, 0)
        except ValueError as error:
            return str(error)
        return None


def _row(name: str, label: str, group: str, link: str, down: str | None = None, **more: float) -> Method:
    return Method(name, label, group, link, down, **more)  # type: ignore[arg-type]


def _ours(name: str, label: str, link: str, down: str | None = None) -> Method:
    return Method(name, label, "ours", link, down, momentum=BETA)


def _both(name: str, label: str, link: str) -> Method:
    return _ours(name, label, link, link)


def _scaled(name: str, label: str, link: str) -> Method:
    return Method(name, label, "ours", link, "diana(rotated(1))", momentum=BETA, geometry=BETA2)


TOP2 = "topk(0.02) >> dither(bits=4, rounding='nearest')"
QUARTER, EIGHTH = "randk(0.25) >> rotated(1)", "randk(0.125) >> rotated(1)"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _row("dense", "dense", "dense", "dcgd(identity())"),
        _row("dense-m", "dense, local momentum", "dense", "dcgd(identity())", momentum=BETA),
        # what others use
        _row("fp16", "float16", "others", "dcgd(float16())"),
        _row("powersgd-4", "PowerSGD, rank 4", "others", "lowrank(4)", dense_steps=10),
        _row("powersgd-1", "PowerSGD, rank 1", "others", "lowrank(1)", dense_steps=10),
        _row("qsgd", "QSGD, 4 bits", "others", "dcgd(dither(bits=4, norm=2, block=512))"),
        _row("terngrad", "TernGrad", "others", "dcgd(ternary())"),
        _row("topk", "Top-1 %, error feedback", "others", "ef14(topk(0.01))"),
        _row("sign", "sign, error feedback", "others", "ef14(sign())"),
        # ours, the optimiser as it was
        _row("rot3", "rotated 3 bits", "ours", "dcgd(rotated(3))"),
        _row("rot2", "rotated 2 bits", "ours", "dcgd(rotated(2))"),
        # ours, local momentum
        _ours("rot3-m", "DIANA, 3 bits", "diana(rotated(3))"),
        _ours("rot2-m", "DIANA, 2 bits", "diana(rotated(2))"),
        _ours("rot1-3-m", "DIANA, 1 bit up, 3 down", "diana(rotated(1))", "diana(rotated(3))"),
        _ours("rot1-m", "DIANA, 1 bit", "diana(rotated(1))"),
        _both("ef-rot1-m", "EF21, 1 bit", "ef21(rotated(1).contractive())"),
        _ours("half-m", "DIANA, 1 bit of ½", "diana(randk(0.5) >> rotated(1))", "diana(rotated(1))"),
        _ours("quarter-m", "DIANA, 1 bit of ¼", f"diana({QUARTER})", "diana(rotated(1))"),
        _ours("eighth-m", "DIANA, 1 bit of ⅛", f"diana({EIGHTH})", "diana(rotated(1))"),
        _both("ef-quarter-m", "EF21, 1 bit of ¼", f"ef21(({QUARTER}).contractive())"),
        _both("top2-m", "EF21, Top-2 %, 4 bits", f"ef21({TOP2})"),
        _row("lowrank-4-m", "PowerSGD, rank 4, momentum", "ours", "lowrank(4)", momentum=BETA, dense_steps=10),
        # ours, in the geometry of what came back
        _scaled("rot1-g", "DIANA, 1 bit, Adam's geometry", "diana(rotated(1))"),
        _scaled("most-g", "DIANA, 1 bit of 0.9, Adam's geometry", "diana(randk(0.9) >> rotated(1))"),
        _scaled("half-g", "DIANA, 1 bit of ½, Adam's geometry", "diana(randk(0.5) >> rotated(1))"),
        _scaled("quarter-g", "DIANA, 1 bit of ¼, Adam's geometry", f"diana({QUARTER})"),
        # tried
        _row("one-bit-adam", "1-bit Adam", "tried", "ef14(sign())", momentum=BETA, dense_steps=80, frozen=True),
    )
}
"""Every method by its name, in the order of the tables."""
