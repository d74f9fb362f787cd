"""One vector, one link, one group, step after step: where the link's recursion and the group's routes are joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from thinwire._check import fault, one_of
from thinwire.comm import mean as routes
from thinwire.comm.base import Group
from thinwire.comm.mean import ROUND_BYTES, Heard, Steps, share
from thinwire.compressors import Compressor, Identity, Rotated
from thinwire.compressors.base import Onto
from thinwire.keys import Key, Purpose
from thinwire.link import Kept, Link, LinkState, kept
from thinwire.payload import Payload
from thinwire.presets import diana
from thinwire.rounds import Clock, Round
from thinwire.speech import Said, speak

ROUTES = ("allreduce", "gather", "sharded")
ERROR_EVERY = 16
"""Steps from one look to the next at how well a message says what it is to say."""


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
        own: (rows, d), what this process' messages say, where it was asked for; otherwise None.
        error: ‖v_i − what this process' messages say of v_i‖² and ‖v_i‖², summed over its rows: two numbers, or two
            for each part (2, parts), in every ERROR_EVERY-th step; otherwise None.
        sent: bytes a worker handed to the wire, by stage.
        seconds: spent, by stage: encode and decode (with the link's arithmetic), and waiting for the wire.
        after: the state that the round led to, for `commit`.

    >>> import torch, thinwire as tw
    >>> from thinwire.rounds import finish
    >>> exchange = tw.Exchange(tw.dcgd(tw.Identity()), d=2, group=tw.LocalGroup(2))
    >>> outcome = finish(exchange.round(torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), step=0))
    >>> outcome.finite, outcome.estimate
    (False, tensor([nan, nan]))
    """

    estimate: Tensor
    finite: bool
    own: Tensor | None
    error: Tensor | None
    sent: dict[str, int]
    seconds: dict[str, float]
    after: Any = field(repr=False)


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
        errors: whether outcomes tell, now and then, how well messages say what they are to say; lengths: of each part.

    Raises:
        ValueError: a link that its compressor does not suit at this d, or a route that it cannot take.

    >>> import torch, thinwire as tw
    >>> from thinwire.rounds import finish
    >>> exchange = tw.Exchange(tw.diana(tw.Rotated(bits=3)), d=1000, group=tw.LocalGroup(4))
    >>> v = torch.randn(4, 1000)
    >>> for step in range(20):
    ...     outcome = finish(exchange.round(v, step))
    ...     exchange.commit(outcome)
    >>> bool((outcome.estimate - v.mean(0)).norm() < 1e-3 * v.mean(0).norm())
    True
    """

    rounds = 1

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
        errors: bool | Sequence[int] = True,
    ) -> None:
        n = group.size
        self._errors = errors
        self._down_asked = down
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
        self._spare = LinkState(), LinkState()

    def turned(self, link: Link) -> Exchange:
        """The exchange by another link from here on, by the same route.

        What both links remember is handed on; what only the new one does starts from zero.

        Raises:
            ValueError: as for a new one.
        """
        new = Exchange(
            link,
            self.d,
            self.group,
            down=self._down_asked,
            route=self.route,
            seed=self.seed,
            tensor=self.tensor,
            dtype=self.dtype,
            errors=self._errors,
        )
        new.state = _handed(self.state[0], new.state[0]), _handed(self.state[1], new.state[1])
        return new

    @property
    def width(self) -> int:
        """Elements of a row in memory: d, or as many more as make the owners' shares equal."""
        return share(self.d, self.group.size) * self.group.size if self.route == "sharded" else self.d

    def _start(self) -> tuple[LinkState, LinkState]:
        rows, n, part = len(self.group.ranks), self.group.size, share(self.d, self.group.size)
        if self.route != "sharded":
            return self.recursion.start((rows, self.d), (1, self.d), self.dtype, self.group.device), LinkState()
        up = self.recursion.start((rows, self.width), (rows, part), self.dtype, self.group.device)
        return up, self.down_recursion.start((rows, part), (n, part), self.dtype, self.group.device)

    def round(
        self,
        v: Tensor,
        step: int,
        *,
        dense: bool = False,
        active: Tensor | None = None,
        listen: bool = False,
        out: Tensor | None = None,
        rescale: float | Tensor = 1.0,
    ) -> Round[Outcome]:
        """One step's message of each worker, v of shape (rows, d), and the estimate of their mean.

        Yields wherever it waits for the wire; `finish(exchange.round(v, step))` is the plain way to run it. `dense`
        sends v whole whatever the link says, and lets the link learn from it. `active`, (rows,) bool, says which
        workers speak in a step that is not dense: the message of the others is zero, and their h_i stays as it is.
        `listen` asks for the outcome's `own`. A v of shape (rows, `width`), zeros at its end, saves a copy; so does
        `out`, memory of that shape in which the estimate may lie. `rescale`, a number or (d,), is what errors that are
        remembered are multiplied by first: they are in other units than v.

        Raises:
            ValueError: a cumulative link whose workers are not all active.
        """
        if active is not None and self.recursion.cumulative:
            rule = "a link that pays back its errors needs all workers in every step"
            raise ValueError(fault(repr(self.link), rule, None, "Use ef21."))
        clock = Clock()
        key = Key(self.seed, step, self.tensor, self.group.ranks)
        up, down = self._rescaled(rescale)
        v = self._filled(v.to(self.dtype))
        sent: dict[str, int] = {}
        error: Tensor | None = None
        own: Tensor | None = v
        if dense or self.dense(step):
            heard = yield from clock.timing(self._whole(v, up, key, sent))
            estimate, finite = heard.estimate, heard.finite and bounded(heard.estimate)
            news = self.recursion.send(v, up, dense=True)
            after = self.recursion.after(v, up, self._own_share(estimate), sent=news, own=heard.own, dense=True), down
        else:
            said = self._speak_up(v, up, key, active)
            heard = yield from clock.timing(self._way_up(said.payload, step, sent, out, listen))
            estimate, finite, own = heard.estimate, heard.finite and bounded(heard.estimate), heard.own
            for grown in (said.shift, heard.own):  # what a payload says of the filling is not zero
                if grown is not None:
                    grown[:, self.d :] = 0
            parts = () if isinstance(self._errors, bool) else self._errors
            error = said.error(v, up.shift, heard.own, parts) if self._looks(step) else None
            up = self.recursion.after(v, up, heard.after, sent=said.news, own=heard.own, shift=said.shift)
            if self.route == "sharded":
                if not finite:  # the flags that only the owner has seen go on to everyone
                    estimate = torch.full_like(estimate, float("nan"))
                below = speak(
                    self.down.compressor, self.down_recursion, estimate, down, key.child(), self._spare[1].shift
                )
                answer = yield from clock.timing(self._way_down(below.payload, sent, out))
                finite = answer.finite and bounded(answer.estimate)
                shift = below.shift
                down = self.down_recursion.after(
                    estimate, down, answer.after, sent=below.news, own=answer.own, shift=shift
                )
                estimate = answer.estimate
            after = up, down
        estimate = estimate.reshape(-1)[: self.d]
        if not finite:
            estimate = torch.full_like(estimate, float("nan"))
        own = own[:, : self.d] if listen and own is not None else None
        return Outcome(estimate, finite, own, error, sent, clock.seconds(), after)

    def dense(self, step: int) -> bool:
        """Whether the link's coin has this step's vectors travel whole."""
        coin = Key(self.seed, step, self.tensor).uniform(Purpose.COIN) if self.recursion.p > 0 else 1.0
        return self.recursion.dense(self.state[0], coin)

    def _looks(self, step: int) -> bool:
        return bool(self._errors) and step % ERROR_EVERY == 0

    def commit(self, outcome: Outcome) -> None:
        """Make the state that a round led to the state; a round that was not finite changes nothing."""
        if outcome.finite:
            old, self.state = self.state, outcome.after
            self._spare = _replaced(old[0], self.state[0]), _replaced(old[1], self.state[1])

    def _filled(self, v: Tensor) -> Tensor:
        return torch.nn.functional.pad(v, (0, self.width - v.shape[1])) if v.shape[1] < self.width else v

    def _rescaled(self, factor: float | Tensor) -> tuple[LinkState, LinkState]:
        """The states, with errors in the units of this step."""
        up, down = self.state
        if isinstance(factor, Tensor):
            factor = self._filled(factor[None])
        elif factor == 1:
            return up, down
        if up.error is not None:
            up = replace(up, error=up.error * factor)
        if down.error is not None:
            down = replace(down, error=down.error * (self._own_share(factor) if isinstance(factor, Tensor) else factor))
        return up, down

    def _speak_up(self, v: Tensor, state: LinkState, key: Key, active: Tensor | None) -> Said:
        compressor, spare = self.link.compressor, self._spare[0].shift
        if self.route != "sharded":
            return speak(compressor, self.recursion, v, state, key, spare, active=active)
        n = self.group.size
        return speak(compressor, self.recursion, v, state, key.cut(range(n)), spare, shares=n, active=active)

    def _way_up(
        self, payload: Payload, step: int, sent: dict[str, int], out: Tensor | None, listen: bool
    ) -> Steps[Heard]:
        compressor, n = self.link.compressor, self.group.size
        learns = not self.recursion.plain and (self.recursion.listens or self._looks(step))
        listen = listen or learns
        route = {"sharded": routes.to_owners, "gather": routes.gather, "allreduce": routes.allreduce}[self.route]
        if self.route == "allreduce":
            self._count_elements(compressor, payload, sent)
        else:
            sent["up"] = (n - 1) * payload.nbytes
        onto = self.recursion.onto(self.state[0], self._spare[0].mean, None if self.route == "sharded" else out)
        return route(self.group, compressor, payload, onto, self.dtype, listen=listen)

    def _whole(self, v: Tensor, state: LinkState, key: Key, sent: dict[str, int]) -> Steps[Heard]:
        payload = self._exact.encode(self.recursion.send(v, state, dense=True)[:, : self.d], key)
        self._count_elements(self._exact, payload, sent)
        listen = self.recursion.cumulative
        heard = yield from routes.allreduce(self.group, self._exact, payload, Onto(), self.dtype, listen=listen)
        return heard if heard.own is None else replace(heard, own=self._filled(heard.own))

    def _count_elements(self, compressor: Compressor, payload: Payload, sent: dict[str, int]) -> None:
        width, n = compressor.element.itemsize, self.group.size
        sent["up"] = sent["down"] = (n - 1) * share(payload.nbytes // width, n) * width

    def _way_down(self, payload: Payload, sent: dict[str, int], out: Tensor | None) -> Steps[Heard]:
        sent["down"] = (self.group.size - 1) * payload.nbytes
        room = None if out is None else out.view(self.group.size, -1)
        onto, recursion = self.down_recursion.onto(self.state[1], self._spare[1].mean, room), self.down_recursion
        listen = recursion.listens and not recursion.plain
        return routes.from_owners(self.group, self.down.compressor, payload, onto, self.dtype, listen=listen)

    def _own_share(self, mean: Tensor) -> Tensor:
        if self.route != "sharded":
            return mean
        return routes.shards(mean, self.group.size)[0, self.group.ranks.start : self.group.ranks.stop]

    def state_dict(self) -> dict[str, Tensor | bool]:
        """What this process remembers, by name: copies of tensors, and two marks of having begun."""
        parts: dict[str, Tensor | bool] = {}
        for place, state in zip(("up", "down"), self.state, strict=True):
            for name, tensor in state.tensors().items():
                kept = tensor[:, : self.d] if tensor.shape[1] == self.width else tensor
                parts[f"{place}.{name}"] = kept.clone(memory_format=torch.contiguous_format)
            parts[f"{place}.started"] = state.started
        return parts

    def kept(self) -> dict[str, tuple[Kept, str]]:
        """Whose each part of `state_dict` is: `link.kept`."""
        return kept(*self.state, coin=self.recursion.p > 0)

    def load_state_dict(self, parts: dict[str, Tensor | bool]) -> None:
        """Go on from what `state_dict` gave. What is a share, or all of them, may be given as a vector, (1, d).

        Raises:
            ValueError: a part is missing, unknown, or of another shape.
        """
        where, fresh, loaded = f"state of {self.link!r}", self.state_dict(), list[LinkState]()
        if set(parts) != set(fresh):
            raise ValueError(fault(where, f"its parts are {', '.join(sorted(fresh))}", sorted(parts)))
        for place, state in zip(("up", "down"), self._start(), strict=True):
            tensors: dict[str, Tensor] = {}
            for name, start in state.tensors().items():
                given, mine = parts[f"{place}.{name}"], torch.as_tensor(fresh[f"{place}.{name}"])
                if isinstance(given, Tensor) and given.shape == (1, self.d) != mine.shape:
                    known = (place, name) == ("down", "mean")
                    given = routes.shards(given, self.group.size)[0] if known else self._own_share(given)
                if not isinstance(given, Tensor) or given.shape != mine.shape:
                    rule = f"{place}.{name} has shape {tuple(mine.shape)}"
                    raise ValueError(fault(where, rule, getattr(given, "shape", given)))
                start[:, : given.shape[1]] = given
                tensors[name] = start
            loaded.append(LinkState(**tensors, started=bool(parts[f"{place}.started"])))
        self.state = (loaded[0], loaded[1])
        self._spare = LinkState(), LinkState()


def _handed(old: LinkState, fresh: LinkState) -> LinkState:
    """What a fresh state takes over from an old one, of the same shapes.

    h̄ is the mean of the h_i, and goes only where they go; a v_prev that nobody kept is the h_i that stand for it.
    """
    known = old.tensors()
    started = old.started and fresh.tensors().keys() <= known.keys()
    if old.shift is not None:
        known.setdefault("previous", old.shift)
    elif fresh.shift is not None:
        known.pop("mean", None)
    return LinkState(**{name: known.get(name, zeros) for name, zeros in fresh.tensors().items()}, started=started)


def _replaced(old: LinkState, new: LinkState) -> LinkState:
    """The memory of an old h and h̄, where the new ones are elsewhere: the next round's are written there."""
    shift = None if old.shift is new.shift else old.shift
    return LinkState(shift, None if old.mean is new.mean else old.mean)


def bounded(estimate: Tensor) -> bool:
    """Whether it is finite throughout: finite messages may still overflow when they are scaled or added."""
    low, high = torch.aminmax(estimate)  # a NaN comes out of both
    return math.isfinite(low) and math.isfinite(high)
