"""One vector, one link, one group, step after step: where the link's recursion and the group's routes are joined."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from thinwire._check import fault, one_of
from thinwire.comm import mean as routes
from thinwire.comm.base import Group
from thinwire.comm.mean import ROUND_BYTES, Heard, Steps, share
from thinwire.compressors import Identity, Rotated
from thinwire.keys import Key, Purpose
from thinwire.link import Link, LinkState
from thinwire.presets import diana

ROUTES = ("allreduce", "gather", "sharded")
ERROR_EVERY = 16
"""Steps from one look to the next at how well a message says what it is to say."""
T = TypeVar("T")


Round = Generator[None, None, T]
"""A round under way: it yields wherever it is about to wait for the wire."""


def finish(steps: Round[T]) -> T:
    """Run a round to its end, with nothing else to do while it waits."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # a generator's value is untyped


def default_down(link: Link, d: int) -> Link:
    """The link itself where it can serve as a downlink; otherwise diana(Rotated(bits=3)).

    A mean of sparse vectors is not sparse, and an owner, speaking alone, needs neither coin nor trigger.
    """
    recursion = link.recursion(d, 1)
    fit = link.compressor.dense and not recursion.p and recursion.zeta is None
    return link if fit else diana(Rotated(bits=3))


def route_bytes(link: Link, down: Link, d: int, workers: int, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """What each route that this link may take costs a worker: bytes sent, and ROUND_BYTES for each collective.

    A summable payload may be all-reduced if its elements are as wide as the state's `dtype`, or the link remembers
    nothing: sums that are rounded on the way back would otherwise add up in h̄, and in no h_i.
    """
    compressor = link.compressor
    n, whole = workers, compressor.nbytes(d)
    part = share(d, n)
    costs: dict[str, float] = {
        "gather": (n - 1) * whole + ROUND_BYTES,
        "sharded": (n - 1) * (compressor.nbytes(part) + down.compressor.nbytes(part)) + 2 * ROUND_BYTES,
    }
    if compressor.summable and (compressor.element.itemsize >= dtype.itemsize or not link.recursion(d, n).remembers):
        costs["allreduce"] = 2 * (n - 1) / n * whole + 2 * ROUND_BYTES
    return costs


@dataclass
class Outcome:
    """What one round gave, and what it cost this process.

    Args:
        estimate: (d,), what every rank now believes of mean(v_i): the same bits everywhere.
        finite: False if any worker's vector held a NaN or an Inf; the estimate is then NaN throughout.
        error: ‖v_i − what this process' messages say of v_i‖² and ‖v_i‖², summed over its rows: two numbers, in
            every ERROR_EVERY-th step; otherwise None.
        sent: bytes a worker handed to the wire, by stage.
        seconds: spent, by stage: encode and decode (with the link's arithmetic), and waiting for the wire.

    >>> import torch, thinwire as tw
    >>> from thinwire.exchange import finish
    >>> exchange = tw.Exchange(tw.dcgd(tw.Identity()), d=2, group=tw.LocalGroup(2))
    >>> outcome = finish(exchange.round(torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), step=0))
    >>> outcome.finite, outcome.estimate
    (False, tensor([nan, nan]))
    """

    estimate: Tensor
    finite: bool
    error: Tensor | None
    sent: dict[str, int]
    seconds: dict[str, float]
    after: tuple[LinkState, LinkState] = field(repr=False)


class Exchange:
    """A link between the workers of a group, for one vector of length d.

    A round leaves the state as it is until `commit`, so that a step of many vectors is kept or dropped as a whole.

    Args:
        link: what the workers send by.
        d: the vector's length.
        group: the workers.
        down: what owners send by in the sharded route; by default the same link if its compressor keeps every
            coordinate and no coin or trigger is in it, otherwise diana(Rotated(bits=3)).
        route: "allreduce", "gather" or "sharded"; by default the one that costs least (`route_bytes`).
        seed, tensor: of the keys of all randomness.
        dtype: of the states, float32 or float64.

    Raises:
        ValueError: a link that its compressor does not suit at this d, or a route that it cannot take.

    >>> import torch, thinwire as tw
    >>> from thinwire.exchange import finish
    >>> exchange = tw.Exchange(tw.diana(tw.Rotated(bits=3)), d=1000, group=tw.LocalGroup(4))
    >>> v = torch.randn(4, 1000)
    >>> for step in range(20):
    ...     outcome = finish(exchange.round(v, step))
    ...     exchange.commit(outcome)
    >>> bool((outcome.estimate - v.mean(0)).norm() < 1e-3 * v.mean(0).norm())
    True
    """

    def __init__(
        self,
        link: Link,
        d: int,
        group: Group,
        *,
        down: Link | None = None,
        route: str | None = None,
        seed: int = 0,
        tensor: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        n = group.size
        self.link = link.bind(n)
        self.down = (down or default_down(self.link, d)).bind(n)
        self.d, self.group, self.seed, self.tensor, self.dtype = d, group, seed, tensor, dtype
        self.costs = route_bytes(self.link, self.down, d, n, dtype)
        if route is not None:
            one_of(f"route of {link!r}", "route", route, ROUTES)
            if route not in self.costs:
                width = f"{8 * dtype.itemsize}-bit" if self.link.recursion(d, n).remembers else "floating"
                rule = f"allreduce needs payloads of {width} elements that may be added, as of RandK(…, shared=True)"
                raise ValueError(fault(f"route of {link!r}", rule, route, "Use gather or sharded."))
        self.route = route or min(self.costs, key=lambda name: (self.costs[name], name))
        part = share(d, n)
        self.recursion = self.link.recursion(part if self.route == "sharded" else d, n)
        self.down_recursion = self.down.rule(self.down, part, 1)  # an owner speaks alone, with a compressor for n
        if self.down_recursion.p or self.down_recursion.zeta is not None:
            raise ValueError(
                fault(f"down={self.down!r}", "a downlink has neither coin nor trigger", None, "Use diana.")
            )
        self._exact = Identity(bits=64 if dtype == torch.float64 else 32)
        self.state = self._start()

    def _start(self) -> tuple[LinkState, LinkState]:
        rows, n, part = len(self.group.ranks), self.group.size, share(self.d, self.group.size)
        if self.route != "sharded":
            return self.recursion.start((rows, self.d), (self.d,), self.dtype, self.group.device), LinkState()
        up = self.recursion.start((rows, self.d), (rows, part), self.dtype, self.group.device)
        return up, self.down_recursion.start((rows, part), (n, part), self.dtype, self.group.device)

    def round(self, v: Tensor, step: int, *, dense: bool = False) -> Round[Outcome]:
        """One step's message of each worker, v of shape (rows, d), and the estimate of their mean.

        Yields wherever it waits for the wire; `finish(exchange.round(v, step))` is the plain way to run it.
        `dense` sends v whole whatever the link says, and lets the link learn from it.
        """
        clock = _Clock()
        key = Key(self.seed, step, self.tensor, self.group.ranks)
        up, down = self.state
        v = v.to(self.dtype)
        whole = dense or (self.recursion.p > 0 and self.recursion.dense(up, key.uniform(Purpose.COIN)))
        news = self.recursion.send(v, up, dense=whole)
        sent: dict[str, int] = {}
        heard = yield from clock.timing(self._way_up(news, key, whole, sent))
        mean = self._own_share(heard.mean) if whole and self.route == "sharded" else heard.mean
        estimate, up_after = self.recursion.receive(v, news, heard.own, mean, up, dense=whole)
        finite, down_after = heard.finite and _bounded(estimate), down
        if self.route == "sharded" and whole:
            estimate = heard.mean
        elif self.route == "sharded":
            below = self.down_recursion.send(estimate, down)
            if not finite:  # the flags that only the owner has seen go on to everyone
                below = torch.full_like(below, float("nan"))
            answer = yield from clock.timing(self._way_down(below, key.child(), sent))
            shares, down_after = self.down_recursion.receive(estimate, below, answer.own, answer.mean, down)
            estimate, finite = shares.reshape(-1)[: self.d], answer.finite and _bounded(shares)
        if not finite:
            estimate = torch.full_like(estimate, float("nan"))
        return Outcome(
            estimate, finite, _error(v, news, heard.own, step), sent, clock.seconds(), (up_after, down_after)
        )

    def commit(self, outcome: Outcome) -> None:
        """Make the state that a round led to the state; a round that was not finite changes nothing."""
        if outcome.finite:
            self.state = outcome.after

    def _way_up(self, news: Tensor, key: Key, whole: bool, sent: dict[str, int]) -> Steps[Heard]:
        compressor = self._exact if whole else self.link.compressor
        n = self.group.size
        if self.route == "sharded" and not whole:
            sent["up"] = (n - 1) * compressor.nbytes(share(self.d, n))
            listen = self.recursion.listens or key.step % ERROR_EVERY == 0
            return routes.to_owners(self.group, compressor, news, key, listen=listen)
        payload = compressor.encode(news, key)
        if whole or self.route == "allreduce":
            piece = share(payload.nbytes // compressor.element.itemsize, n) * compressor.element.itemsize
            sent["up"] = sent["down"] = (n - 1) * piece
            return routes.allreduce(self.group, compressor, payload, self.dtype)
        sent["up"] = (n - 1) * payload.nbytes
        return routes.gather(self.group, compressor, payload, self.dtype)

    def _way_down(self, below: Tensor, key: Key, sent: dict[str, int]) -> Steps[Heard]:
        payload = self.down.compressor.encode(below, key)
        sent["down"] = (self.group.size - 1) * payload.nbytes
        return routes.from_owners(self.group, self.down.compressor, payload, self.dtype)

    def _own_share(self, mean: Tensor) -> Tensor:
        return routes.shards(mean[None], self.group.size)[0, self.group.ranks.start : self.group.ranks.stop]

    def state_dict(self) -> dict[str, Tensor | bool]:
        """What this process remembers, by name: tensors and two marks of having begun."""
        parts: dict[str, Tensor | bool] = {}
        for place, state in zip(("up", "down"), self.state, strict=True):
            parts |= {f"{place}.{name}": tensor for name, tensor in state.tensors().items()}
            parts[f"{place}.started"] = state.started
        return parts

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: a part is missing, unknown, or of another shape.
        """
        fresh = self._start()
        loaded = []
        expected = {
            f"{p}.{name}": t for p, s in zip(("up", "down"), fresh, strict=True) for name, t in s.tensors().items()
        }
        names = set(expected) | {"up.started", "down.started"}
        if set(parts) != names:
            raise ValueError(
                fault(f"state of {self.link!r}", f"its parts are {', '.join(sorted(names))}", sorted(parts))
            )
        for place, state in zip(("up", "down"), fresh, strict=True):
            tensors: dict[str, Tensor] = {}
            for name, start in state.tensors().items():
                given = parts[f"{place}.{name}"]
                if not isinstance(given, Tensor) or given.shape != start.shape:
                    rule = f"{place}.{name} has shape {tuple(start.shape)}"
                    raise ValueError(fault(f"state of {self.link!r}", rule, getattr(given, "shape", given)))
                tensors[name] = given.to(start, copy=True)
            loaded.append(LinkState(**tensors, started=bool(parts[f"{place}.started"])))
        self.state = (loaded[0], loaded[1])


def _bounded(estimate: Tensor) -> bool:
    """Whether it is finite throughout: finite messages may still overflow when they are scaled or added."""
    low, high = torch.aminmax(estimate)  # a NaN comes out of both
    return math.isfinite(low) and math.isfinite(high)


def _error(v: Tensor, news: Tensor, own: Tensor | None, step: int) -> Tensor | None:
    if own is None or step % ERROR_EVERY:
        return None
    return torch.stack(((news - own).square().sum(), v.square().sum()))


class _Clock:
    """Splits a round's time into work before the wire (encode), waiting, and work after it (decode)."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._spent = {"encode": 0.0, "wire": 0.0, "decode": 0.0}

    def timing(self, steps: Steps[Heard]) -> Round[Heard]:
        """Run the steps of one route. What others do between a yield and its resumption is not counted."""
        stage, pending = "encode", next(steps)
        while True:
            self._lap(stage)
            yield
            self._begin = time.perf_counter()
            result = pending.wait()
            self._lap("wire")
            stage = "decode"
            try:
                pending = steps.send(result)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's value is untyped

    def seconds(self) -> dict[str, float]:
        self._lap("decode")
        return self._spent

    def _lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._spent[stage] += now - self._begin
        self._begin = now
