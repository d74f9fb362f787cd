"""Who stands beside a wire's steps, and what they are told: a pilot, who may turn it, and a watcher, who may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor
from torch.futures import Future

if TYPE_CHECKING:
    from thinwire.training.ddp import Wire


class Pilot(Protocol):
    """Who may have a wire turn to another way, and what it is told for that."""

    def begin(self, wire: Wire) -> None:
        """A step's first gradient is there, and none was taken. Here all workers meet, and the wire may be turned."""

    def ready(self, name: str, gradient: Tensor) -> None:
        """A gradient is complete, of this parameter; it is still this worker's own. Some are told of twice."""

    def sent(self, bucket: Future[Tensor], *, last: bool) -> Future[Tensor]:
        """A bucket is on its way; what is given back takes its place."""

    def state_dict(self) -> dict[str, Any]:
        """What it has decided, as numbers and texts."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class Watcher(Protocol):
    """Who looks at a wire's steps, and changes nothing.

    Args:
        seconds: what a step is expected to take.
    """

    seconds: float

    def begin(self, wire: Wire) -> None:
        """A step's first gradient is there, and none was taken."""
