"""thinwire in DistributedDataParallel: the communication hook, and what it hands out: a wire."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.futures import Future
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import fault
from thinwire.comm.base import Group
from thinwire.link import Link
from thinwire.spec import parse_sender
from thinwire.training import state as saved
from thinwire.training.beside import Pilot, Watcher
from thinwire.training.log import NO_LOG, Board, Log, begin
from thinwire.training.plain import DTYPES, Plain
from thinwire.training.policy import Policy, Sender
from thinwire.training.rates import Rates, rates_of
from thinwire.training.reducer import Reducer, Settings
from thinwire.training.stats import Stats, Tally
from thinwire.training.trained import Trained
from thinwire.training.ways import ByLink, Way


class Wire:
    """What `attach` returns.

    >>> import torch, torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    >>> wire = tw.attach(model, "dcgd(rotated(bits=3))")
    >>> model(torch.randn(8, 64)).square().mean().backward()
    >>> sorted(wire.state_dict()["parameters"]), wire.stats().routes
    (['bias', 'weight'], ('4096 values by gather', '64 values by allreduce'))
    >>> wire.close(); dist.destroy_process_group()
    """

    def __init__(
        self,
        on: Trained,
        first: torch.dtype | Sender | Policy,
        settings: Settings,
        pilot: Pilot | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """All workers call this together; `settings.link` is of no account.

        Raises:
            ValueError: settings that do not fit together or do not fit the model.
            PeerError: another worker has another model or other settings.
        """
        # not the model: its C++ part holds the hook, which holds this, and no collector would see that circle; nor its
        # parameters, which hold hooks likewise
        self._process_group, self._group = on.model.process_group, on.group
        self._dense = {name: Parameter(torch.empty_like(p, device="meta")) for name, p in on.parameters.dense.items()}
        self._sparse = [*on.parameters.sparse]
        scaler = on.scaler
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._scale: Tensor | None = None
        self._one = torch.ones((), device=on.group.device)
        self._optimizers = [weakref.ref(optimizer) for optimizer in on.optimizers]  # they hold the parameters
        self._names, self._values = on.named, on.values
        self._settings, self._pilot, self._watcher = settings, pilot, watcher
        self._expecting = self._begun = self._closed = False
        self._notes: list[str] = []
        self._last, self._before = Tally(), Tally()
        self._log = NO_LOG
        self._way = self._made(first)
        model = on.model
        self._hooks = [model.register_forward_pre_hook(_join_allowed), model.register_forward_hook(self._forwarded)]
        for p in on.parameters.dense.values():
            self._hooks.append(p.register_post_accumulate_grad_hook(self._computed))  # type: ignore[no-untyped-call]
        model.register_comm_hook(self, _hook)

    def _made(
        self,
        what: torch.dtype | Sender | Policy,
        steps: int = 0,
        owed: Mapping[str, Tensor] | None = None,
        rates: Rates | None = None,
    ) -> Way:
        """A way that remembers nothing yet, beside what is owed."""
        if isinstance(what, torch.dtype):
            if what not in DTYPES.values():
                raise ValueError(fault("a plain all-reduce", "it is in float32 or bfloat16", what))
            if self._settings.momentum is not None:
                rule = "DDP's own all-reduce knows no local momentum"
                raise ValueError(fault(f"turn to {what}", rule, None, "Use dcgd(identity())."))
            return Plain(self._process_group, self._group, self._values, what, steps=steps, owed=owed, rates=rates)
        settings = replace(self._settings, link=what)
        reducer = Reducer(self._dense.items(), settings, self._group, self._notes)
        reducer.begin_at(steps)
        if self._sparse:
            names = ", ".join(self._sparse)
            reducer.note(f"sparse gradients travel by PyTorch's all-reduce, as they are ({names})")
        wide = [name for name, p in self._dense.items() if p.dtype == torch.float64]
        if wide:
            reducer.note(f"float64 gradients travel as float32 ({', '.join(wide)})")
        return ByLink(reducer, self._sparse, self._process_group)

    @property
    def way(self) -> str:
        """What gradients go by now: a link's text, or "float32" or "bfloat16" for DDP's own all-reduce."""
        return self._way.name

    @property
    def steps(self) -> int:
        """Steps that counted, as in `state_dict`."""
        return self._way.steps

    def stats(self) -> Stats:
        """Bytes, seconds and errors of the last step and of all. Of DDP's own all-reduce seconds are not taken."""
        last, total = Tally(), Tally()
        mine, all_mine = self._way.tallies
        last.add(mine if all_mine.steps else self._last)
        total.add(self._before)
        total.add(all_mine)
        return Stats(last, total, self._way.routes, tuple(self._notes))

    def note(self, what: str) -> None:
        """Add a remark to `stats`, and to the log."""
        self._notes.append(what)

    @property
    def group(self) -> Group:
        """The workers."""
        return self._group

    def turn(self, what: torch.dtype | Sender | Policy | str, why: str = "") -> None:
        """Have gradients go another way from the next step on. All workers call this together, between two steps.

        From one link to another: what both remember is handed on (`Stages`). From DDP's own all-reduce to a link: it
        starts afresh. From a link to DDP's own all-reduce: what is owed, by `ef14` or `LowRank`, is added to each
        worker's gradients in the first finite step, and is paid with it.

        Args:
            what: a link, its text, or for DDP's own all-reduce torch.float32 or torch.bfloat16, or their names.
            why: for the notes of `stats`.

        Raises:
            ValueError: what is owed would be lost, or the link does not suit. Nothing has changed then.
            PeerError: another worker turns to something else.
            RuntimeError: a step is under way.

        >>> import torch, torch.distributed as dist, thinwire as tw
        >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
        >>> model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
        >>> wire = tw.attach(model, "ef14(topk(0.01))")
        >>> model(torch.randn(8, 64)).square().mean().backward()
        >>> wire.turn("float32"); wire.way
        'float32'
        >>> model(torch.randn(8, 64)).square().mean().backward()
        >>> wire.stats().total.steps
        2
        >>> wire.close(); dist.destroy_process_group()
        """
        self._between_steps("turn")
        wanted = _meant(what)
        name = str(wanted if isinstance(wanted, torch.dtype | Policy) else Policy.usual(wanted)).removeprefix("torch.")
        self._group.agree({"turns to": name, "steps": self.steps})
        if name != self.way:
            if isinstance(self._way, ByLink) and isinstance(wanted, Link):
                self._way.turn(wanted)
            else:
                self._replace(self._turned(wanted, name))
        if why:
            self._notes.append(f"step {self.steps}: {why}")

    def _turned(self, wanted: torch.dtype | Sender | Policy, name: str) -> Way:
        owed, rates = self._way.owed(), self._way.rates
        if isinstance(wanted, torch.dtype):
            return self._made(wanted, self.steps, owed, rates)
        if isinstance(self._way, ByLink):
            rule = f"{self.way} hands nothing on to it"
            raise ValueError(fault(f"turn to {name}", rule, None, "Turn to torch.float32 for a step in between."))
        if owed:
            rule = "what a link before it owed is paid in the next step"
            raise ValueError(fault(f"turn to {name}", rule, None, "Turn after that one."))
        new = self._made(wanted, self.steps)
        new.rates.now = rates.now
        return new

    def _replace(self, way: Way) -> None:
        """Close the old way, and go by this one."""
        last, total = self._way.tallies
        if total.steps:
            self._last = last
        self._before.add(total)
        self._way.close()
        way.listener, self._way = self._way.listener, way

    def state_dict(self) -> dict[str, Any]:
        """This worker's memory, a copy: every worker saves its own, between a backward pass and the next.

        Raises:
            RuntimeError: a step is under way.
        """
        self._between_steps("state_dict")
        kept = self._way.state_dict()
        return kept if self._pilot is None else {**kept, "auto": self._pilot.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on from a `state_dict`. All workers call this together, and either all of them go on or none does.

        As many workers as before, each with what it saved itself: as if never interrupted, bit for bit. On other
        workers: each takes the state of any one worker of the same save, none twice, and those for whom there is none
        give None. Who stays keeps its h_i, v_prev and running averages; who joins begins with the means over those
        who stay, so that h̄ is again the mean of the h_i; of errors not yet paid those of who stays are paid as they
        would have been. A link with a coin sends its next vectors whole.

        Args:
            state: what `state_dict` gave, on any device; None for a worker that joins. With "auto" gradients go the way
                that they went then. Otherwise the state of a plain all-reduce has nothing to lose: the link starts
                afresh at its step.
            strict: refuse a state of other parameters or of another link; otherwise what fits is taken, what is new
                starts afresh, and a warning says so. `route`, `warmup_steps` and `seed` may differ, with a warning.

        Raises:
            ValueError: the state does not fit, or those of the workers do not fit together: nobody has one, two have
                the same one, or they are not of one save. Nothing has changed then.
            PeerError: another worker's state was refused.
            RuntimeError: a step is under way.
        """
        self._between_steps("load_state_dict")
        if self._pilot is None:
            self._way.load_state_dict(state, strict=strict)
            return
        then = saved.told(self._group, state)
        wanted = None if then.way is None else _meant(then.way)
        new = self._way if wanted is None or then.way == self.way else self._made(wanted)
        try:
            new.load_state_dict(state, strict=strict)
        except BaseException:
            if new is not self._way:
                new.close()
            raise
        if new is not self._way:
            self._replace(new)
        self._pilot.load_state_dict(then.pilot)

    def _between_steps(self, what: str) -> None:
        if not self._way.idle:
            way_out = "Call it after the backward pass, or set a mark and do so then."
            raise RuntimeError(fault(f"Wire.{what}()", "a step is under way", None, way_out))

    def log(self, path: str | Path, *, every: int = 1, tensorboard: str | Path | Board | None = None) -> Log:
        """Keep a log of the training from here on; `thinwire report` makes a page of it. See `Log`.

        Args:
            path: the file; it is kept by rank 0, or by each rank where "{rank}" is in it. A log that exists is gone on
                with.
            every: steps that a line stands for.
            tensorboard: the same figures for TensorBoard: a folder, or a SummaryWriter.

        Raises:
            ValueError: the file cannot be written, or holds something else; TensorBoard is not installed.
        """
        self._log.close()
        facts = self._way.facts()
        if self._watcher is not None:
            facts |= {"expected": self._watcher.seconds}
        self._log = begin(path, self._group.ranks.start, facts, every, tensorboard, self._notes)
        self._way.listener = self._log.heard
        return self._log

    def close(self) -> None:
        """End the communicating thread, and the log. All workers call this.

        The model cannot run another backward pass; it can be wrapped anew.
        """
        self._closed = True
        for hook in self._hooks:
            hook.remove()
        self._way.close()
        self._log.close()
        self._group.close()

    def receive(self, bucket: GradBucket) -> Future[Tensor]:
        """Take a bucket from DDP; the future is its buffer, with the estimates in the gradients' place."""
        if self._closed:
            way_out = "Wrap the model in a new DistributedDataParallel, with a wire of its own if it is to have one."
            raise RuntimeError(fault("thinwire", "the model's wire is open as long as it trains", "close()", way_out))
        self._begin()
        names = [self._names[id(parameter)] for parameter in bucket.parameters()]
        named = list(zip(names, _gradients(bucket), strict=True))
        if self._pilot is not None:
            for name, gradient in named:
                self._pilot.ready(name, gradient)
        future = self._way.receive(bucket, named, self._scale)
        last = bucket.is_last()
        if last:
            self._expecting = self._begun = False
        return future if self._pilot is None else self._pilot.sent(future, last=last)

    def _forwarded(self, model: DistributedDataParallel, inputs: object, output: object) -> None:
        """After a forward pass: DDP awaits its gradients, and until the last of its buckets they may be taken at once.

        Not under a static graph, where one may be added to several times before DDP calls it complete.
        """
        if torch.is_grad_enabled() and model.require_backward_grad_sync:
            self._expecting = not model.static_graph
            alive = [optimizer for held in self._optimizers if (optimizer := held()) is not None]
            self._way.rates.now = rates_of(alive, self._names)

    def _computed(self, parameter: Tensor) -> None:
        if self._expecting and parameter.grad is not None and not parameter.grad.is_sparse:
            self._begin()
            name = self._names[id(parameter)]
            if self._pilot is not None:
                self._pilot.ready(name, parameter.grad)
            self._way.take(name, parameter.grad, self._scale)

    def _begin(self) -> None:
        """At the first gradient of a backward pass that DDP will reduce. Such a pass all workers have, whatever else
        each of them does, and none has begun a collective of it: so there the pilot may ask the others.

        What the losses are scaled by is read once, without waiting for a GPU.
        """
        if self._begun:
            return
        self._begun = True
        if self._pilot is not None:
            self._pilot.begin(self)
        if self._watcher is not None:
            self._watcher.begin(self)
        if self._scaler is not None:
            self._scale = self._scaler.scale(self._one)


def _meant(what: torch.dtype | Sender | Policy | str) -> torch.dtype | Sender | Policy:
    if not isinstance(what, str):
        return what
    return DTYPES[what] if what in DTYPES else parse_sender(what)


def _gradients(bucket: GradBucket) -> list[Tensor]:
    """A bucket's gradients as they really lie there: as their parameters do, channels last for instance.

    `bucket.gradients()` gives views as if all were contiguous; and nothing for a sparse one, which has its own bucket.
    """
    if bucket.buffer().is_sparse:
        return [bucket.buffer()]
    views = bucket.gradients()
    for place, parameter in enumerate(bucket.parameters()):
        if not parameter.is_contiguous() and torch.ops.aten.is_non_overlapping_and_dense(parameter):
            views[place] = views[place].as_strided(parameter.shape, parameter.stride())
    return views


def _join_allowed(model: DistributedDataParallel, inputs: object) -> None:
    """`model.join()` is fine as long as the mean is over all workers: those without data say zero."""
    if model._join_config.enable and not model._divide_by_initial_world_size:
        rule = "under a communication hook the mean is over all workers, whether they still have data or not"
        way_out = "Use model.join() without it."
        raise ValueError(fault("model.join", rule, "divide_by_initial_world_size=False", way_out))


def _hook(wire: Wire, bucket: GradBucket) -> Future[Tensor]:
    return wire.receive(bucket)


# DDP compares the annotations with the types themselves, not with their names.
_hook.__annotations__ = {"wire": Wire, "bucket": GradBucket, "return": Future[torch.Tensor]}
