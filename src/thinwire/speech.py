"""A sender's step: what its message says, and what it remembers after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thinwire.compressors import Compressor
from thinwire.keys import Key
from thinwire.link import LinkState, Recursion
from thinwire.payload import Payload


@dataclass(frozen=True)
class Said:
    """What a sender's step made: the payload, and h after it (of a `plain` recursion) or what was compressed."""

    payload: Payload
    lam: float
    news: Tensor | None = None
    shift: Tensor | None = None

    def error(self, v: Tensor, before: Tensor | None, own: Tensor | None, parts: Sequence[int] = ()) -> Tensor:
        """‖news − what the payload says of it‖² and ‖v‖²; where h moved, it moved by λ times what the payload says.

        Two numbers; of `parts`, lengths one after the other, two for each: (2, parts).
        """
        news = self.news
        if self.shift is not None and before is not None:
            news, own = v - before, (self.shift - before) / self.lam
        assert news is not None
        assert own is not None
        return torch.stack([_squares(x, parts) for x in (news - own, v)])


def _squares(x: Tensor, parts: Sequence[int]) -> Tensor:
    squares = x.square()
    if not parts:
        return squares.sum()
    return torch.stack([part.sum() for part in torch.split(squares[:, : sum(parts)], list(parts), dim=1)])


def speak(
    compressor: Compressor,
    recursion: Recursion,
    v: Tensor,
    state: LinkState,
    key: Key,
    spare: Tensor | None,
    shares: int = 1,
    active: Tensor | None = None,
) -> Said:
    """A sender's step, on each of the `shares` of a row by itself. `spare` is memory for h after it.

    A row that is not active has no news: a compressed zero is zero.
    """
    rows = len(v) * shares
    if recursion.plain:
        assert state.shift is not None
        if active is not None:
            v = torch.where(active[:, None], v, state.shift)
        cut = (part if part is None else part.reshape(rows, -1) for part in (v, state.shift, spare))
        vectors, before, room = cut
        assert vectors is not None
        assert before is not None
        payload, shift = compressor.encode_difference(vectors, before, recursion.lam, key, room)
        return Said(payload, recursion.lam, shift=shift.reshape(v.shape))
    news = recursion.send(v, state)
    if active is not None:
        news = torch.where(active[:, None], news, 0.0)
    return Said(compressor.encode(news.reshape(rows, -1), key), recursion.lam, news=news)
