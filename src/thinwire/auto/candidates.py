"""The ways among which "auto" chooses, and what a step is predicted to take by each.

Only those that leave the optimiser what it is: without local momentum of the user's own the gradients' mean, or an
unbiased estimate of it whose error is small; with it the mean of the running averages, or what `diana` makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from thinwire.advisor.extra_steps import NONE, from_theory
from thinwire.advisor.facts import Workload
from thinwire.advisor.host import Site
from thinwire.advisor.predict import Choice, predict_step
from thinwire.auto.look import Place
from thinwire.auto.trials import pieces
from thinwire.compressors import Dither, Identity, Rotated
from thinwire.exchange import default_down, route_bytes
from thinwire.link import Link
from thinwire.presets import dcgd, diana
from thinwire.spec import to_text
from thinwire.training.reducer import Settings

HOOKS = {"float32": "ddp", "bfloat16": "bf16"}
"""The advisor's names of DDP's own all-reduces."""
COLUMNS = 64
"""Of the matrices that stand for a trial's vector."""


def candidates(settings: Settings, values: int, workers: int) -> dict[str, torch.dtype | Link]:
    """Whatever may be chosen, by name, the simplest first; without links that cannot take the route that is asked for.

    >>> from thinwire.training.reducer import Settings
    >>> list(candidates(Settings(dcgd(Identity()), momentum=0.9), 10**6, workers=4))
    ['dcgd(identity(bits=32))', 'diana(rotated(bits=1))']
    """
    if settings.momentum is None:
        links = [dcgd(Dither(bits=4)), dcgd(Rotated(bits=3))]
        plain: dict[str, torch.dtype | Link] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    else:
        links, plain = [diana(Rotated(bits=1))], {to_text(dcgd(Identity())): dcgd(Identity())}
    fit = {to_text(link): link for link in links if _can(link, settings, values, workers)}
    return {**plain, **fit}


def _can(link: Link, settings: Settings, values: int, workers: int) -> bool:
    bound = link.bind(workers)
    down = (settings.down or default_down(bound, values)).bind(workers)
    return settings.route is None or settings.route in route_bytes(bound, down, values, workers)


def kind(name: str) -> str:
    """Ways of one kind are taken to be mispredicted alike: DDP's own all-reduces, and links."""
    return "plain" if name in HOOKS else "link"


def predict(
    names: Mapping[str, object], settings: Settings, workers: int, place: Place, work: Workload
) -> dict[str, float]:
    """Seconds of a step by each of these ways: its compute, and what the advisor says that communication adds to it.

    That is multiplied by what the trial of the way took, of what the advisor says of the same trial.

    >>> from thinwire.advisor.facts import Machine, Network
    >>> work = Workload.even(parameters=1e6, compute=0.1)
    >>> from thinwire.training.reducer import Settings
    >>> slow = Place(Network(bandwidth=1e6), Machine(), on_host=False)
    >>> told = predict({"float32": None, "bfloat16": None}, Settings(dcgd(Identity())), 4, slow, work)
    >>> told["float32"] > 1.9 * told["bfloat16"]
    True
    """
    site, found = Site(workers, place.network, place.machine, work), {}
    for name in names:
        if name in HOOKS:
            choice = Choice.parse(HOOKS[name])
        else:
            choice = Choice.parse(name, route=settings.route, momentum=settings.momentum is not None)
        step, factor = predict_step(choice, site), 1.0
        if name in place.trials:
            told = predict_step(choice, replace(site, workload=_tried(place.sample))).seconds
            factor = place.trials[name] / told if told else 1.0
        found[name] = step.compute + factor * step.exposed
    return found


def steps_needed(ways: Mapping[str, torch.dtype | Link], workers: int, values: int) -> dict[str, float]:
    """Steps to the same loss by each way, as times those with the exact mean: what the advisor expects by theory.

    >>> ways = {"float32": torch.float32, "dcgd(rotated(bits=3))": dcgd(Rotated(bits=3))}
    >>> {name: round(steps, 2) for name, steps in steps_needed(ways, workers=4, values=10**6).items()}
    {'float32': 1.0, 'dcgd(rotated(bits=3))': 1.03}
    """
    found = {}
    for name, way in ways.items():
        extra = from_theory(way, workers, values, sharded=workers > 2) if isinstance(way, Link) else NONE
        assert extra is not None  # all candidates are unbiased
        found[name] = extra.expected
    return found


def _tried(sample: int) -> Workload:
    """What a trial communicates: nothing is computed, all is there at once."""
    count = pieces(sample)
    return Workload(((-(-sample // count) // COLUMNS + 1, COLUMNS),) * count, (0.0,) * count, 0.0)
