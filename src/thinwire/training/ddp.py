"""thinwire in DistributedDataParallel: the communication hook behind `attach`."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.amp.grad_scaler import GradScaler
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from thinwire._check import fault
from thinwire.comm.base import Group
from thinwire.comm.process import ProcessGroup
from thinwire.compressors import Rotated
from thinwire.link import Link
from thinwire.presets import dcgd, diana
from thinwire.spec import parse_link, parse_sender
from thinwire.training.choice import choose
from thinwire.training.delivery import Bucket, Delivery
from thinwire.training.engine import Engine
from thinwire.training.log import NO_LOG, Board, Log, begin, facts_of
from thinwire.training.parameters import Reduced, reduced
from thinwire.training.plain import PlainWire
from thinwire.training.policy import Policy, Sender
from thinwire.training.rates import rates_of
from thinwire.training.reducer import Reducer, Settings
from thinwire.training.stats import Stats
from thinwire.version import __version__

AUTO = "auto"


def attach(
    model: DistributedDataParallel,
    link: Sender | Policy | str = AUTO,
    *,
    momentum: float | None = None,
    scaler: GradScaler | None = None,
    optimizer: Optimizer | Iterable[Optimizer] = (),
    down: Link | str | None = None,
    route: str | None = None,
    warmup_steps: int = 0,
    strict: bool = False,
    seed: int = 0,
    timeout: float = 300.0,
    checksum: bool = True,
) -> Wire | PlainWire:
    """Send a DDP model's gradients by a link. The one line that a training script needs.

    Matrices travel by the link; vectors and parameters under 1024 elements as they are. Everything else of DDP stays,
    `no_sync`, unused parameters, static graphs and more: the page "What stays as in DDP" goes through it. Sparse
    gradients are sent by PyTorch's own all-reduce, as they are, and a note says so. All workers call this, at the same
    place, before the first backward pass.

    Args:
        model: the wrapped model; it can have no other communication hook.
        link: a link, its text, `Stages` of links, a `Policy` for parameters of several kinds, or "auto": with momentum
            diana(Rotated(bits=1)); without, whichever is fastest here of dcgd(Rotated(bits=3)), dcgd(Dither(bits=4))
            and DDP's own all-reduce in 32 or 16 bits. That is found by trials of some seconds, the same on all
            workers, and stands in the notes of `stats()`.
        momentum: β of local momentum: what travels is each worker's running average of its gradients, a slower vector,
            whose differences are small. `take_momentum(optimizer)` switches the optimiser's own off and gives its β.
        scaler: the GradScaler that scales the losses. What travels, and all memory, is then in the gradients' own
            units, so that a change of the scale is no news to the link. It is asked in each backward pass.
        optimizer: whose learning rates say what an error that `ef14` remembers is worth when they change: what is owed
            stays what it was. They are read in each forward pass. Other links need none.
        down: what travels back in the sharded route; the link itself by default, where it can.
        route: "allreduce", "gather" or "sharded"; the one that sends least by default.
        warmup_steps: steps at the start in which gradients are sent whole.
        strict: an error instead of a warning where something cannot be done as asked.
        seed: of all randomness; the same everywhere.
        timeout: seconds after which a collective is given up and who is missing is named.
        checksum: whether damaged bytes are found out, and their sender named; not between GPUs (`ProcessGroup`), nor in
            DDP's own all-reduce, where "auto" takes it.

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
    if not isinstance(model, DistributedDataParallel):
        way_out = "Wrap the model first; without DDP use tw.reduce_gradients_."
        raise TypeError(fault("attach(model, …)", "model is a DistributedDataParallel", type(model).__name__, way_out))
    parameters = _reducible(model)
    group = ProcessGroup.beside(model.process_group, timeout=timeout, checksum=checksum)
    notes: list[str] = []
    if checksum and not group.checksummed:
        notes.append("no checksums: the bytes are on a GPU, and would have to be copied from it for them")
    tries = link == AUTO and momentum is None and down is None and route is None
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    given = {"scaler": scaler is not None, "optimizer": bool(optimizers)}
    group.agree({"link": "by trials" if tries else "given", **given})
    if tries:
        values = sum(p.numel() for p in (parameters.dense | parameters.sparse).values())
        group.agree({"thinwire": __version__, "workers": group.size, "values": values})
        with group.naming("a trial of auto"):
            choice = choose(group, group.pg, values)
        if isinstance(choice.what, torch.dtype):
            group.close()
            return PlainWire(model, choice.what, choice.reason)
        link = choice.what
        notes.append(choice.reason)
    settings = Settings(
        link=_meant(link, momentum),
        down=parse_link(down) if isinstance(down, str) else down,
        route=route,
        momentum=momentum,
        warmup_steps=warmup_steps,
        strict=strict,
        seed=seed,
    )
    reducer = Reducer(parameters.dense.items(), settings, group)
    reducer.notes += notes
    if parameters.sparse:
        names = ", ".join(parameters.sparse)
        reducer.note(f"sparse gradients travel by PyTorch's all-reduce, as they are ({names})")
    wide = [name for name, p in parameters.dense.items() if p.dtype == torch.float64]
    if wide:
        reducer.note(f"float64 gradients travel as float32 ({', '.join(wide)})")
    wire = Wire(model, reducer, parameters, scaler, optimizers)
    model.register_comm_hook(wire, _hook)
    return wire


def _reducible(model: DistributedDataParallel) -> Reduced:
    """The parameters that DDP reduces. Raises ValueError for a wrapping in which a hook of ours cannot work."""
    where = "attach(model, …)"
    if model._comm_hooks:
        way_out = "Wrap it anew without; in place of mixed_precision=… use torch.autocast."
        rule = "the model has no communication hook yet"
        raise ValueError(fault(where, rule, model._comm_hooks[0][0].__qualname__, way_out))
    if any(hasattr(p, "_in_backward_optimizers") for p in model.parameters()):  # for which DDP has a hook of its own
        way_out = "Let the optimiser step after the backward pass."
        raise ValueError(fault(where, "gradients are there after the backward pass", "an optimiser in it", way_out))
    if getattr(model, "skip_all_reduce_unused_params", False):  # then not every bucket comes
        rule = "all parameters are reduced in every step"
        raise ValueError(fault(where, rule, "skip_all_reduce_unused_params=True", "Leave it False."))
    return reduced(model)


def _meant(link: Sender | Policy | str, momentum: float | None) -> Sender | Policy:
    """The link itself, what a spec says, or for "auto" what the measurements in the README support.

    Without local momentum dcgd(Rotated(bits=3)): differences of raw minibatch gradients are no smaller than the
    gradients, so a shift gains nothing. With it diana(Rotated(bits=1)): running averages change slowly.
    """
    if not isinstance(link, str):
        return link
    if link != AUTO:
        return parse_sender(link)
    return dcgd(Rotated(bits=3)) if momentum is None else diana(Rotated(bits=1))


class Wire:
    """What `attach` returns.

    A frame leaves when its last gradient has been computed, which is earlier than the bucket that DDP puts it in; a
    bucket is done when the last of its parameters is back.

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
        model: DistributedDataParallel,
        reducer: Reducer,
        parameters: Reduced,
        scaler: GradScaler | None = None,
        optimizers: Sequence[Optimizer] = (),
    ) -> None:
        # not the model: its C++ part holds the hook, which holds this, and no collector would see that circle
        self._process_group, self._reducer = model.process_group, reducer
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._scale: Tensor | None = None
        self._one = torch.ones((), device=reducer.group.device)
        self._optimizers = optimizers
        self._names = {id(p): name for name, p in (parameters.dense | parameters.sparse).items()}
        last = len(reducer.frames) - 1
        self._place = {slot.name: i for i, frame in enumerate(reducer.frames) for slot in frame.slots}
        self._place |= dict.fromkeys(parameters.sparse, last)
        self._frames = [Delivery(frame) for frame in reducer.frames[:last]]
        self._frames.append(Delivery(reducer.frames[last], waits_for=parameters.sparse.keys()))
        self._expecting = self._begun = self._closed = False
        self._engine = Engine(reducer)
        weakref.finalize(self, self._engine.end)  # the thread of a wire that is dropped without `close`
        self._log = NO_LOG
        self._hooks = [model.register_forward_pre_hook(_join_allowed), model.register_forward_hook(self._forwarded)]
        for p in parameters.dense.values():
            self._hooks.append(p.register_post_accumulate_grad_hook(self._computed))  # type: ignore[no-untyped-call]

    def stats(self) -> Stats:
        """Bytes, seconds and errors of the last step and of all."""
        return self._reducer.stats()

    @property
    def group(self) -> Group:
        """The workers."""
        return self._reducer.group

    def state_dict(self) -> dict[str, Any]:
        """This worker's memory, a copy: every worker saves its own, between a backward pass and the next.

        Raises:
            RuntimeError: a step is under way.
        """
        self._between_steps("state_dict")
        return self._reducer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | None, *, strict: bool = True) -> None:
        """Go on from a `state_dict`. All workers call this together, and either all of them go on or none does.

        As many workers as before, each with what it saved itself: as if never interrupted, bit for bit. On other
        workers: each takes the state of any one worker of the same save, none twice, and those for whom there is none
        give None. Who stays keeps its h_i, v_prev and running averages; who joins begins with the means over those
        who stay, so that h̄ is again the mean of the h_i; of errors not yet paid those of who stays are paid as they
        would have been. A link with a coin sends its next vectors whole.

        Args:
            state: what `state_dict` gave, on any device; None for a worker that joins. The state of a plain all-reduce,
                as "auto" may have attached, has nothing to lose: the link starts afresh at its step.
            strict: refuse a state of other parameters or of another link; otherwise what fits is taken, what is new
                starts afresh, and a warning says so. `route`, `warmup_steps` and `seed` may differ, with a warning.

        Raises:
            ValueError: the state does not fit, or those of the workers do not fit together: nobody has one, two have
                the same one, or they are not of one save. Nothing has changed then.
            PeerError: another worker's state was refused.
            RuntimeError: a step is under way.
        """
        self._between_steps("load_state_dict")
        self._reducer.load_state_dict(state, strict=strict)

    def _between_steps(self, what: str) -> None:
        """What a step that failed had led to is not kept: then too the memory is that of the last whole step."""
        if self._engine.error is None and not all(frame.idle for frame in self._frames):
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
        reducer = self._reducer
        self._log = begin(path, reducer.group.ranks.start, facts_of(reducer), every, tensorboard, reducer.notes)
        reducer.listener = self._log.heard
        return self._log

    def close(self) -> None:
        """End the communicating thread, and the log. All workers call this.

        The model cannot run another backward pass; it can be wrapped anew.
        """
        self._closed = True
        for hook in self._hooks:
            hook.remove()
        self._engine.close()
        self._log.close()
        self._reducer.group.close()

    def receive(self, bucket: GradBucket) -> Future[Tensor]:
        """Take a bucket from DDP; the future is its buffer, with the estimates in the gradients' place."""
        if self._closed:
            way_out = "Wrap the model in a new DistributedDataParallel, with a wire of its own if it is to have one."
            raise RuntimeError(fault("thinwire", "the model's wire is open as long as it trains", "close()", way_out))
        buffer, parameters = bucket.buffer(), bucket.parameters()
        waiting = Bucket(buffer, len(parameters))
        scale = self._units()
        for parameter, gradient in zip(parameters, _gradients(bucket), strict=True):
            name = self._names[id(parameter)]
            self._arrived(name, gradient)
            if not buffer.is_sparse:
                self._frames[self._place[name]].claim(name, gradient, waiting, scale)
        if bucket.is_last():
            self._expecting = self._begun = False
        return allreduce_hook(self._process_group, bucket) if buffer.is_sparse else waiting.future

    def _forwarded(self, model: DistributedDataParallel, inputs: object, output: object) -> None:
        """After a forward pass: DDP awaits its gradients, and until the last of its buckets they may be taken at once.

        Not under a static graph, where one may be added to several times before DDP calls it complete.
        """
        if torch.is_grad_enabled() and model.require_backward_grad_sync:
            self._expecting = not model.static_graph
            self._reducer.rates.now = rates_of(self._optimizers, self._names)

    def _computed(self, parameter: Tensor) -> None:
        if self._expecting and parameter.grad is not None and not parameter.grad.is_sparse:
            self._arrived(self._names[id(parameter)], parameter.grad)

    def _arrived(self, name: str, gradient: Tensor) -> None:
        """Take a gradient for its frame, unless it was taken before; a frame that is full leaves.

        A sparse gradient travels by itself, but the last frame waits until it was seen: if it is not finite, neither is
        that frame, so that the step is one for nobody.
        """
        number = self._place[name]
        frame = self._frames[number]
        if name in frame.missing:
            if not gradient.is_sparse:
                self._reducer.put(name, gradient.detach(), scale=self._units())
            elif not bool(gradient._values().isfinite().all()):
                frame.hurt = True
            frame.missing.discard(name)
            if not frame.missing:
                if frame.hurt:
                    self._reducer.spoil(number)
                self._engine.submit(number, frame.done, frame.failed)

    def _units(self) -> Tensor | None:
        """What the losses of this backward pass are scaled by, read once and without waiting for a GPU."""
        if self._scaler is not None and not self._begun:
            self._scale = self._scaler.scale(self._one)
            self._begun = True
        return self._scale


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
