"""`attach`: the one line that a training script needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from thinwire._check import call, fault, one_of
from thinwire.auto.expectation import Expectation
from thinwire.auto.pilot import AutoPilot
from thinwire.compressors import Identity
from thinwire.exchange import ROUTES
from thinwire.link import Link
from thinwire.presets import dcgd
from thinwire.spec import parse_link, parse_sender
from thinwire.training.ddp import Wire
from thinwire.training.policy import Policy, Sender
from thinwire.training.reducer import Settings
from thinwire.training.trained import Trained
from thinwire.version import __version__

AUTO = "auto"
EXACT = dcgd(Identity())
"""What "auto" begins with where running averages travel, which DDP's own all-reduce knows nothing of."""


def attach(
    model: DistributedDataParallel,
    link: Sender | Policy | str = AUTO,
    *,
    momentum: float | None = None,
    geometry: float | None = None,
    scaler: GradScaler | None = None,
    optimizer: Optimizer | Iterable[Optimizer] = (),
    down: Link | str | None = None,
    route: str | None = None,
    warmup_steps: int = 0,
    expected: float | None = None,
    strict: bool = False,
    seed: int = 0,
    timeout: float = 300.0,
    checksum: bool = True,
) -> Wire:
    """Send a DDP model's gradients by a link. The one line that a training script needs.

    Matrices travel by the link; vectors and parameters under 1024 elements as they are. Everything else of DDP stays,
    `no_sync`, unused parameters, static graphs and more: the page "What stays as in DDP" goes through it. Sparse
    gradients are sent by PyTorch's own all-reduce, as they are, and a note says so. All workers call this, at the same
    place, before the first backward pass.

    Args:
        model: the wrapped model; it can have no other communication hook.
        link: a link, its text, `Stages` of links, a `Policy` for parameters of several kinds, or "auto". That sends the
            first steps whole and measures them, tries the network for some seconds, predicts the step of each way
            that leaves the optimiser what it is, and goes the fastest: without momentum DDP's own all-reduce in 32 or
            16 bits, or links whose error is small and unbiased; with momentum diana, or the averages whole. It goes on
            comparing, and chooses anew where steps come to take otherwise than predicted. All workers decide alike;
            what was decided, and why, stands in the notes of `stats()`.
        momentum: β of local momentum: what travels is each worker's running average of its gradients, a slower vector,
            whose differences are small. `take_momentum(optimizer)` switches the optimiser's own off and gives its β.
        geometry: β₂ of running mean squares of what comes back, which every worker makes for itself: Adam's own. The
            link then sends v / s, with s the root of Adam's divisor, so that a code's noise is small where Adam makes
            much of it. For links that owe nothing: not `ef14`, `LowRank`, "auto".
        scaler: the GradScaler that scales the losses. What travels, and all memory, is then in the gradients' own
            units, so that a change of the scale is no news to the link. It is asked in each backward pass.
        optimizer: whose learning rates say what an error that `ef14` remembers is worth when they change: what is owed
            stays what it was. They are read in each forward pass. Other links need none.
        down: what travels back in the sharded route; the link itself by default, where it can.
        route: "allreduce", "gather" or "sharded"; the one that sends least by default.
        warmup_steps: steps at the start in which gradients are sent whole; "auto" decides after them.
        expected: seconds that a whole step was predicted to take, by `thinwire advise` for instance. Where the median
            of 50 steps is off by 30 % twice in a row, a note of `stats()` and a warning of the logger "thinwire" say
            so. "auto" expects what it predicts itself.
        strict: an error instead of a warning where something cannot be done as asked.
        seed: of all randomness; the same everywhere.
        timeout: seconds after which a collective is given up and who is missing is named.
        checksum: whether damaged bytes are found out, and their sender named; not between GPUs (`ProcessGroup`), nor in
            DDP's own all-reduce, where "auto" takes it: there a dead worker is not named either.

    Returns:
        The wire: its figures, its state for checkpoints, its end.

    Raises:
        TypeError: model is no DistributedDataParallel.
        ValueError: settings that do not fit together or do not fit the model; it has a communication hook already.
        PeerError: another worker has another model, link, seed or version.

    >>> import torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    >>> wire = tw.attach(model, tw.diana(tw.Rotated(bits=1)), momentum=0.9)
    >>> model(torch.randn(8, 64)).square().mean().backward()
    >>> wire.stats().total.steps
    1
    >>> wire.close(); dist.destroy_process_group()
    """
    auto = link == AUTO
    if auto and expected is not None:
        rule = '"auto" expects what it predicts itself'
        raise ValueError(fault(call("attach", link=AUTO, expected=expected), rule, None, "Leave `expected` out."))
    if auto and geometry is not None:
        rule = 'a geometry is that of a link, and not of whatever "auto" chooses'
        raise ValueError(fault(call("attach", link=AUTO, geometry=geometry), rule, None, "Name a link."))
    watcher = None if expected is None else Expectation(expected, first=warmup_steps)
    trained = Trained.of(model, scaler=scaler, optimizer=optimizer, timeout=timeout, checksum=checksum)
    trained.group.agree({"link": "auto" if auto else "given", **trained.facts})
    sender = EXACT if auto else parse_sender(link) if isinstance(link, str) else link
    settings = Settings(
        link=sender,
        down=parse_link(down) if isinstance(down, str) else down,
        route=route,
        momentum=momentum,
        geometry=geometry,
        warmup_steps=warmup_steps,
        strict=strict,
        seed=seed,
    )
    facts = {"thinwire": __version__, "workers": trained.group.size, "values": trained.values, **settings.facts()}
    trained.group.agree(facts)  # DDP's own all-reduce would not ask, nor the pilot
    if auto:
        if route is not None:  # a link that is given says so itself
            one_of(call("attach", route=route), "route", route, ROUTES)
        settings = replace(settings, warmup_steps=0)
        first = torch.float32 if momentum is None else EXACT
        wire = Wire(trained, first, settings, AutoPilot(trained, settings, first=warmup_steps))
    else:
        wire = Wire(trained, sender, settings, watcher=watcher)
    if checksum and not trained.group.checksummed:
        wire.note("no checksums: the bytes are on a GPU, and would have to be copied from it for them")
    return wire
