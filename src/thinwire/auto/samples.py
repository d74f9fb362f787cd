"""What links make of the gradients that there are: samples of the timed steps, on which each is tried."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from thinwire.advisor.extra_steps import Extra
from thinwire.comm import ProcessGroup
from thinwire.link import Link
from thinwire.probing.sample import Sample
from thinwire.probing.trials import Asked, Trials
from thinwire.spec import to_text

VALUES = 1 << 16
"""About so many values of a gradient are looked at."""


class Samples:
    """This worker's gradients in some steps, a piece of each parameter.

    Args:
        shapes: of the parameters, by name.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._sample = Sample.of(shapes, VALUES)
        self._pieces = {piece.name: piece for piece in self._sample.pieces}
        self._rows: list[Tensor] = []
        self._seen: set[str] = set()

    def begin(self) -> None:
        """A step begins."""
        self._rows.append(torch.zeros(self._sample.size))
        self._seen = set()

    def take(self, name: str, gradient: Tensor) -> None:
        """A gradient of the step; what comes again of it does not count."""
        piece = self._pieces.get(name)
        if piece is not None and self._rows and name not in self._seen:
            self._seen.add(name)
            self._rows[-1][self._sample.parts[name]] = piece.take(gradient.detach()).float().cpu()

    def extra(
        self, group: ProcessGroup, links: Mapping[str, Link], momentum: float | None, skip: int
    ) -> dict[str, Extra]:
        """Steps to the same loss by each link; none where no step was finite. All workers call this together.

        1. All-gather of the samples, step by step, but for the first ones and the one that has only begun. 2. Each
        process runs the links on those of all workers.
        """
        asked = [Asked(to_text(link), momentum) for link in links.values()]
        trials = Trials(self._sample, group.size, asked)
        for row in self._rows[skip:]:
            data = row[None].to(group.device).view(torch.uint8)
            trials.add(group.all_gather(data).wait().cpu().view(torch.float32))
        if not trials.steps:
            return {}
        source = f"tried on {trials.steps} steps' gradients"
        tried = zip(links, trials.found(), strict=True)
        return {name: Extra.of(one.drift, source=source) for name, one in tried}
