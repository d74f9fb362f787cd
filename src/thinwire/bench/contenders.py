"""Who is compared in `thinwire bench step`: PyTorch's hooks by name, thinwire's links by their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import thinwire
from thinwire._check import fault, one_of

BASELINE = "ddp"
"""The contender that ratios are taken against."""


@dataclass(frozen=True)
class Contender:
    """One way to train: `method` names a preparation of `thinwire.baselines`, None is training without any network.

    `rank` is PowerSGD's; with `momentum` thinwire sends each worker's running average of its gradients.
    """

    name: str
    method: str | None
    link: str | None = None
    momentum: float | None = None
    rank: int = 1

    @property
    def ours(self) -> bool:
        """Whether it is thinwire."""
        return self.method == "thinwire"


LOCAL = Contender("local", None)
"""The same model on all workers at once, without communication: what is left when the network costs nothing."""

AGAINST = {
    contender.name: contender
    for contender in (
        Contender("ddp", "ddp"),
        Contender("fp16", "fp16"),
        Contender("powersgd", "powersgd", rank=1),
        Contender("powersgd4", "powersgd", rank=4),
    )
}


def choose(against: str, links: Sequence[str], momentum: float | None) -> tuple[Contender, ...]:
    """Local, the named baselines, and a contender for each link.

    Raises ValueError for an unknown name, a text that is no link, or a momentum outside [0, 1).

    >>> [contender.name for contender in choose("ddp, fp16", ["auto"], momentum=0.9)]
    ['local', 'ddp', 'fp16', 'auto, β = 0.9']
    """
    named = [name.strip() for name in against.split(",") if name.strip()]
    for name in named:
        one_of("bench step --against", "a name", name, AGAINST)
    if momentum is not None and not 0 <= momentum < 1:
        raise ValueError(fault("bench step --momentum", "momentum must be 0 to 1, 1 excluded", momentum))
    for link in links:
        if link != "auto":
            thinwire.parse_sender(link)
    suffix = "" if momentum is None else f", β = {momentum:g}"
    ours = [Contender(link + suffix, "thinwire", link, momentum) for link in links]
    found = [LOCAL, *(AGAINST[name] for name in named), *ours]
    return tuple({contender.name: contender for contender in found}.values())
