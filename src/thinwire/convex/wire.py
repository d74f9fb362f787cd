"""What a method sends by: a link's exchange of NumPy rows, with its bytes counted as the papers count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thinwire.comm import Group
from thinwire.compressors import Compressor, Identity
from thinwire.convex.shards import Array
from thinwire.exchange import Exchange, Outcome
from thinwire.keys import Key
from thinwire.link import Link, Recursion
from thinwire.presets import dcgd
from thinwire.rounds import finish

Mask = npt.NDArray[np.bool_]


class NotFinite(ArithmeticError):
    """A worker's vector held a NaN or an Inf."""


@dataclass
class Traffic:
    """Bytes of one worker.

    Args:
        up: what it has to say, payload by payload: to a server, as the papers count.
        down: what a server would answer.
        sent: what it handed to the collectives, which carry each payload to every other worker.
    """

    up: int = 0
    down: int = 0
    sent: int = 0

    def copy(self) -> Traffic:
        """As it stands."""
        return Traffic(**asdict(self))


class Wire:
    """The mean of the workers' vectors, by a link: (rows, d) -> (d,), the same bits on all of them.

    Args:
        link: what they send by.
        d: the vectors' length.
        group: the workers.
        traffic: where bytes are counted.
        dtype: of the link's memory.
        seed, tensor: of the keys.
        recursion: numbers of the link's recursion that a theorem gives, in place of the preset's.

    >>> import thinwire as tw
    >>> wire = Wire(tw.dcgd(tw.Identity(bits=64)), 2, tw.LocalGroup(2), Traffic())
    >>> wire.mean(np.array([[1.0, 2.0], [3.0, 4.0]]), 0), wire.traffic.up
    (array([2., 3.]), 24)
    """

    def __init__(
        self,
        link: Link,
        d: int,
        group: Group,
        traffic: Traffic,
        *,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        tensor: int = 0,
        recursion: Mapping[str, float] | None = None,
    ) -> None:
        if recursion:
            link = replace(link, rule=_changed(link.rule, recursion))
        self.traffic, self.seed, self.tensor = traffic, seed, tensor
        self.exchange = Exchange(link, d, group, route="gather", seed=seed, tensor=tensor, dtype=dtype, errors=False)
        self.link, self.recursion = self.exchange.link, self.exchange.recursion
        self._message = self.link.compressor.nbytes(d)
        self._whole = Identity(bits=8 * dtype.itemsize).nbytes(d)

    def key(self, k: int) -> Key:
        """The key of round k's messages."""
        return Key(self.seed, k, self.tensor, self.exchange.group.ranks)

    def dense(self, k: int) -> bool:
        """Whether the vectors of round k travel whole: by the link's coin."""
        return self.exchange.dense(k)

    def mean(self, v: Array, k: int, *, commit: bool = True, active: Mask | None = None) -> Array:
        """The estimate of mean(v_i) in round k; the link learns from it unless told not to.

        `active`, (n,), says who speaks in a round that is not dense: the others' messages are zeros that a server would
        not be sent, so `up` counts the workers' average, rounded up to whole bytes. (To each other they do travel.)

        Raises:
            NotFinite: a worker's vector was not; nothing is learnt.
        """
        ranks = self.exchange.group.ranks
        mine = None if active is None else torch.from_numpy(active[ranks.start : ranks.stop])
        dense = self.dense(k)
        estimate = self._round(v, k, mine, listen=False, commit=commit).estimate
        n = self.exchange.group.size
        speakers = n if dense or active is None else int(active.sum())
        self.traffic.up += -(-(self._whole if dense else self._message) * speakers // n)
        made: Array = estimate.numpy()
        return made

    def heard(self, v: Array, k: int) -> tuple[Array, Array]:
        """The same mean, and (rows, d), what this process' own messages say of its v_i."""
        dense = self.dense(k)
        outcome = self._round(v, k, None, listen=True, commit=True)
        assert outcome.own is not None
        self.traffic.up += self._whole if dense else self._message
        return outcome.estimate.numpy(), outcome.own.numpy()

    def _round(self, v: Array, k: int, active: Tensor | None, *, listen: bool, commit: bool) -> Outcome:
        outcome = finish(self.exchange.round(torch.from_numpy(v), k, active=active, listen=listen))
        if not outcome.finite:
            raise NotFinite
        if commit:
            self.exchange.commit(outcome)
        self.traffic.sent += sum(outcome.sent.values())
        return outcome

    def state_dict(self) -> dict[str, Tensor | bool]:
        return self.exchange.state_dict()

    def load_state_dict(self, state: dict[str, Tensor | bool]) -> None:
        self.exchange.load_state_dict(state)


Preset = Callable[[Link, int, int], Recursion]


def _changed(preset: Preset, changes: Mapping[str, float]) -> Preset:
    def rule(link: Link, d: int, workers: int) -> Recursion:
        return replace(preset(link, d, workers), **changes)  # type: ignore[arg-type]  # its numbers are floats

    return rule


class Downlink:
    """A server's messages to all, which every process makes for itself: one row, compressed under a shared key.

    >>> import thinwire as tw
    >>> down = Downlink(tw.Identity(bits=64), 2, Traffic())
    >>> down.say(np.array([1.0, 2.0]), 0), down.traffic.down
    (array([1., 2.]), 24)
    """

    def __init__(self, compressor: Compressor, d: int, traffic: Traffic, *, seed: int = 0, tensor: int = 0) -> None:
        self.compressor, self.traffic = compressor, traffic
        self._message = compressor.nbytes(d)
        self._key = Key(seed, 0, tensor).child()

    def say(self, v: Array, k: int) -> Array:
        """What the workers read of v, (d,), in round k.

        Raises:
            NotFinite: v was not finite.
        """
        payload = self.compressor.encode(torch.from_numpy(v[None]), replace(self._key, step=k))
        if bool(self.compressor.flags(payload.data, payload.d).any()):
            raise NotFinite
        self.traffic.down += self._message
        made: Array = self.compressor.decode(payload)[0].numpy().astype(v.dtype)
        return made


class Exact:
    """Means and lists that must be exact: of facts, of certificates; by the same collectives, counted apart.

    >>> import thinwire as tw
    >>> exact = Exact(tw.LocalGroup(2), Traffic())
    >>> exact.mean(np.array([[1.0], [2.0]])), exact.all(np.array([[1.0], [2.0]])).tolist()
    (array([1.5]), [[1.0], [2.0]])
    """

    def __init__(self, group: Group, traffic: Traffic) -> None:
        self.group, self.traffic = group, traffic
        self._wires: dict[int, Wire] = {}

    def all(self, rows: Array) -> Array:
        """Everyone's rows: (rows, k) -> (n, k), float64, in rank order."""
        data = torch.from_numpy(np.ascontiguousarray(rows, np.float64)).view(torch.uint8)
        self.traffic.up += data.shape[1]
        self.traffic.sent += (self.group.size - 1) * data.shape[1]
        made: Array = self.group.all_gather(data).wait().view(torch.float64).numpy()
        return made

    def first(self, values: Sequence[float] | Array) -> Array:
        """Rank 0's numbers, on all."""
        made: Array = self.all(np.tile(np.asarray(values, np.float64), (len(self.group.ranks), 1)))[0]
        return made

    def mean(self, rows: Array) -> Array:
        """(rows, k) -> (k,), float64."""
        d = rows.shape[1]
        if d not in self._wires:
            self._wires[d] = Wire(dcgd(Identity(bits=64)), d, self.group, self.traffic)
        return self._wires[d].mean(np.ascontiguousarray(rows, np.float64), 0)
