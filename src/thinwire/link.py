"""The link: one recursion that carries a slowly changing vector v_i from each worker to all, by its differences.

    r_i = (1 − a) v_i_prev + a h_i          what the sender subtracts
    m_i = C(v_i − r_i)                      the compressed message
    v̂   = h̄ + ν mean(m_i)                   what everyone now believes of mean(v_i)
    h_i ← h_i + λ m_i,  h̄ ← h̄ + λ mean(m_i)

With probability p (one coin for all) v_i is sent whole: v̂ = mean(v_i), h_i ← v_i, h̄ ← mean(v_i). With a trigger ζ a
worker whose news is small, ‖v_i − h_i‖² ≤ ζ ‖v_i − v_i_prev‖², says nothing: m_i = 0. A cumulative link sends the
increments of Σ v_i: the only memory is the error e_i = Σ v_i − Σ m_i, m_i = C(e_i + v_i), v̂ = mean(m_i).

Nothing here communicates. `send` makes what is to be compressed, `onto` says what the mean of the messages is added to,
and `after` is the state that the step leads to: functions from state to state, so that a step can be undone by keeping
the state it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from thinwire.compressors import Compressor
from thinwire.compressors.base import Onto

PIECE = 4096
"""Squares are summed in pieces of this length."""


class Kept(Enum):
    """Whose a part of the memory is, which says what becomes of it when the workers change."""

    OWN = "each worker's: who joins takes the mean of those who stay"
    DEBT = "what each worker owes: who stays owes what it owed, who joins nothing"
    MEAN = "the mean over all workers of what is each one's own"
    COMMON = "known to all: who joins is told"
    OWED = "what owners owe, each in its share of the coordinates: whoever owns them then"
    WHOLE = "known to all, of a frame as a whole and not by coordinate"
    BEGUN = "whether it has begun: for who joins, not yet"


@dataclass(frozen=True)
class LinkState:
    """What both ends remember; None where the recursion has no use for it.

    Shapes: `shift` h, `previous` v_prev and `error` e are (rows, d), one row a worker; `mean` h̄ is what the receivers
    hold: (d,), or the shards that this process owns.

    >>> import torch, thinwire as tw
    >>> start = tw.diana(tw.RandK(0.5)).recursion(8, workers=2).start((2, 8), (8,), torch.float32, torch.device("cpu"))
    >>> {name: tuple(part.shape) for name, part in start.tensors().items()}
    {'shift': (2, 8), 'mean': (8,)}
    """

    shift: Tensor | None = None
    mean: Tensor | None = None
    previous: Tensor | None = None
    error: Tensor | None = None
    started: bool = False

    def tensors(self) -> dict[str, Tensor]:
        """The parts that are there, by name."""
        parts = {"shift": self.shift, "mean": self.mean, "previous": self.previous, "error": self.error}
        return {name: part for name, part in parts.items() if part is not None}


def kept(up: LinkState, down: LinkState, *, coin: bool) -> dict[str, tuple[Kept, str]]:
    """Whose each part of an exchange's memory is, and which part it is made from when the workers change.

    What is not named starts afresh then: a link with a coin sends its next vectors whole.
    """
    own = "up.previous" if up.shift is None else "up.shift"
    rules = {"shift": Kept.OWN, "previous": Kept.OWN, "error": Kept.DEBT, "mean": Kept.MEAN}
    parts = {f"up.{name}": (rules[name], own if name == "mean" else f"up.{name}") for name in up.tensors()}
    if not coin:
        parts["up.started"] = Kept.BEGUN, "up.started"
    for name in down.tensors():  # what an owner says is a shift that all know
        parts[f"down.{name}"] = (Kept.OWED, "down.error") if name == "error" else (Kept.COMMON, "down.mean")
    return parts


@dataclass(frozen=True)
class Recursion:
    """The link's numbers; `Link.recursion` takes them from the compressor's ω and δ, so that no user types them.

    >>> import torch, thinwire as tw
    >>> recursion = tw.Recursion(lam=1.0)
    >>> state = recursion.start((1, 2), (2,), torch.float32, torch.device("cpu"))
    >>> v = torch.tensor([[3.0, 4.0]])
    >>> sent = recursion.send(v, state)
    >>> estimate, mean = recursion.onto(state).add(sent[0])
    >>> state = recursion.after(v, state, mean, sent=sent, own=sent)
    >>> estimate, recursion.send(v, state)
    (tensor([3., 4.]), tensor([[0., 0.]]))
    """

    a: float = 1.0
    lam: float = 0.0
    nu: float = 1.0
    p: float = 0.0
    zeta: float | None = None
    cumulative: bool = False

    @property
    def remembers(self) -> bool:
        """Whether the receivers keep h̄ from step to step, so that rounding on the way back would add up."""
        return self.lam > 0 or self.p > 0

    @property
    def listens(self) -> bool:
        """Whether the sender learns from its own decoded message."""
        return self.lam > 0 or self.cumulative

    @property
    def plain(self) -> bool:
        """Whether a sender's step is v − h, then h + λ m, and nothing else: `Compressor.encode_difference` does it."""
        return self.a == 1 and self.lam > 0 and self.zeta is None and not self.cumulative

    def start(
        self, rows: tuple[int, ...], mean: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> LinkState:
        """All zeros: senders' parts of shape `rows`, the receivers' of shape `mean`."""

        def zeros(shape: tuple[int, ...], wanted: bool) -> Tensor | None:
            return torch.zeros(shape, dtype=dtype, device=device) if wanted else None

        keeps = self.remembers and not self.cumulative
        return LinkState(
            shift=zeros(rows, keeps and (self.a > 0 or self.zeta is not None)),
            mean=zeros(mean, keeps),
            previous=zeros(rows, self.a < 1 or self.zeta is not None),
            error=zeros(rows, self.cumulative),
        )

    def dense(self, state: LinkState, coin: float) -> bool:
        """Whether v_i is sent whole in this step; `coin` is uniform in [0, 1), the same for all. The first is."""
        return self.p > 0 and (coin < self.p or not state.started)

    def send(self, v: Tensor, state: LinkState, *, dense: bool = False) -> Tensor:
        """v_i − r_i, (rows, d): what the compressor is to send. A row that the trigger mutes is all zeros.

        What is sent whole, if `dense`, is v_i itself; a cumulative link adds the error even then, so that it is paid.
        """
        if state.error is not None:
            return state.error + v
        if dense:
            return v
        news = v
        if self.a < 1:
            assert state.previous is not None  # `start` made it
            news = v - state.previous
            if state.shift is not None:  # as differences: where v settles, nothing is left but zeros
                news = news + self.a * (state.previous - state.shift)
        elif state.shift is not None:
            news = v - state.shift
        if self.zeta is not None and state.started:
            assert state.previous is not None  # `start` made it, for the trigger
            change = _squares(v - state.previous)
            quiet = (_squares(news) <= self.zeta * change) & change.isfinite()  # a NaN or an Inf is never kept quiet
            news = torch.where(quiet, 0.0, news)
        return news

    def onto(self, state: LinkState, room: Tensor | None = None, out: Tensor | None = None) -> Onto:
        """What the mean of the messages is added to: it makes of it the estimate, and the h̄ of the next step.

        `out` is memory for the one, `room` for the other. What was sent whole is added to nothing.
        """
        return Onto(out=out) if self.cumulative else Onto(state.mean, self.nu, self.lam, room, out)

    def after(
        self,
        v: Tensor,
        state: LinkState,
        mean: Tensor | None,
        *,
        sent: Tensor | None = None,
        own: Tensor | None = None,
        shift: Tensor | None = None,
        dense: bool = False,
    ) -> LinkState:
        """The state that a step leads to.

        Args:
            v: (rows, d), what the workers of this process had to tell.
            state: the state before.
            mean: h̄ after the step, from `onto`; in a dense step the mean itself.
            sent: what `send` made of v; a cumulative link needs it.
            own: (rows, d), decode(encode(sent)): never what was there before encoding. None if not `listens`.
            shift: h after the step, if it is known, as of a `plain` step; `own` is then not needed.
            dense: v was sent whole.
        """
        if state.error is not None:
            assert sent is not None
            assert own is not None  # a cumulative link listens
            return replace(state, error=sent - own, started=True)
        previous = None if state.previous is None else v.to(state.previous.dtype, copy=True)
        if dense:
            mean = None if mean is None else mean.clone()  # it is handed out as the estimate
            shift = None if state.shift is None else v.to(state.shift.dtype, copy=True)
        elif state.shift is not None and shift is None:
            shift = state.shift if own is None else state.shift + own * self.lam
        return LinkState(shift, None if state.mean is None else mean, previous, None, started=True)


def _squares(x: Tensor) -> Tensor:
    """‖x_i‖², (rows, 1), summed in pieces: the same bits whether a row is summed alone or among others."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[1] % PIECE))
    return padded.view(len(x), padded.shape[1] // PIECE, PIECE).square().sum(dim=2).sum(dim=1, keepdim=True)


@dataclass(frozen=True, repr=False)
class Link:
    """A compressor and the method that uses it: made by a preset, such as `diana(Rotated(bits=1))`.

    Args:
        method: the preset's name.
        compressor: what the differences travel by.
        rule: (compressor, d, workers) -> Recursion.
        zeta: the trigger of lag and clag.

    >>> import thinwire as tw
    >>> link = tw.diana(tw.RandK(0.25))
    >>> link, link.method, link.recursion(d=100, workers=4).lam
    (diana(RandK(k=0.25)), 'diana', 0.25)
    """

    method: str
    compressor: Compressor
    rule: Callable[[Link, int, int], Recursion]
    zeta: float | None = None

    def recursion(self, d: int, workers: int) -> Recursion:
        """The numbers for vectors of length d from `workers` workers."""
        return self.rule(self.bind(workers), d, workers)

    def bind(self, workers: int) -> Link:
        """The link of a group of `workers`."""
        return replace(self, compressor=self.compressor.bind(workers))

    def __repr__(self) -> str:
        zeta = [] if self.zeta is None else [f"zeta={self.zeta!r}"]
        parts = zeta if self.method == "lag" else [repr(self.compressor), *zeta]
        return f"{self.method}({', '.join(parts)})"
