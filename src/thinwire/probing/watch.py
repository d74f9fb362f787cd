"""A DDP model's training, looked at for some steps: when its gradients are ready, and what they are like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import call, fault
from thinwire.comm import ProcessGroup
from thinwire.probing.clock import Lap, between, mark
from thinwire.probing.sample import Sample
from thinwire.probing.together import slowest
from thinwire.probing.trials import CANDIDATES, Asked
from thinwire.probing.watched import Look, Watched, gradients_of, workload_of
from thinwire.training.parameters import reduced

GATHERED = 1 << 25
"""Bytes of all samples of all workers in all steps."""
LARGEST = 1 << 18
"""Values of one sample at most."""
FEWEST = 4
"""Steps that are looked at however slow they are."""
PATIENCE = 300.0
"""Seconds that a worker waits for the others."""


class Watch:
    """Looks at the training of a DDP model, from its next forward pass on.

    A step goes from a forward pass to the first forward pass after gradients were averaged. In this order:

    1. `quiet` steps that are timed, after `warmup` ones. Nothing is sent in all of these: DDP is handed zeros in the
       averages' place, on all workers, so that replicas stay equal and the weights nearly stay where they are. That is
       for a training that is thrown away.
    2. `steps` whose gradients are sampled, after `warmup` ones; they are averaged as DDP does it.

    With `quiet=0` there is only the second part, and the training is not disturbed: all steps are averaged, and those
    that are sampled are timed as well. A step's time is then without what it waits after its last gradient, but with
    what communication takes from the processors.

    A sample has a piece of each parameter (`Sample`), of a length such that all of them together are some 32 MB, and
    stays with its worker until `found`. Norms of whole gradients are taken as well. An optimiser's own work, loading of
    data, and what DDP broadcasts of buffers are parts of a step's compute; evaluation between steps is, too, in which
    medians are taken.

    Args:
        model: the wrapped model; it can have no other communication hook. All workers make this together.
        steps, warmup, quiet: as above.
        samples_per_step: of one worker, for the scale of the noise; None where it is not known.
        limit: seconds that the averaged steps may take: after two of them the others are made fewer if need be, of
            those that are sampled to no fewer than 4. None: as many as asked for.
        candidates: links to try.
        hook: whether DDP is to call this; otherwise whoever has the model's hook calls `receive`.
        told: is called with what is being done and the part of the steps that is over.

    Raises:
        ValueError: one worker alone, a model with a communication hook, or numbers that make no sense.

    >>> import torch.distributed as dist, thinwire as tw
    >>> dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    >>> Watch(DistributedDataParallel(torch.nn.Linear(64, 64)))
    Traceback (most recent call last):
    ValueError: Watch(model, …): with one worker noise cannot be told from a gradient that moves; got 1.
        Start two or more.
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        model: DistributedDataParallel,
        *,
        steps: int = 30,
        warmup: int = 5,
        quiet: int = 0,
        samples_per_step: int | None = None,
        limit: float | None = None,
        candidates: Sequence[Asked] = CANDIDATES,
        hook: bool = True,
        told: Callable[[str, float], None] | None = None,
    ) -> None:
        where = call("Watch", steps=steps, warmup=warmup, quiet=quiet)
        if steps < 2 or warmup < 1 or quiet < 0:
            raise ValueError(fault(where, "it takes two steps, one of warm-up, and no fewer quiet ones than none"))
        workers = model.process_group.size()
        if workers < 2:
            rule = "with one worker noise cannot be told from a gradient that moves"
            raise ValueError(fault("Watch(model, …)", rule, workers, "Start two or more."))
        if hook and model._comm_hooks:
            rule, found = "the model has no communication hook yet", model._comm_hooks[0][0].__qualname__
            way_out = "A probe looks at DDP's own averages: leave attach, or another hook, out while it runs."
            raise ValueError(fault("Watch(model, …)", rule, found, way_out))
        self._steps, self._warmup, self._quiet = steps, warmup, quiet
        self._silent = warmup + quiet if quiet else 0  # from this step on gradients are averaged
        self._first = self._silent + warmup  # from this one on they are sampled
        self._samples_per_step, self._limit, self._candidates = samples_per_step, limit, tuple(candidates)
        self._told = told or (lambda what, part: None)
        self._pg, self._device = model.process_group, model.device or torch.device("cpu")
        self.parameters = reduced(model).dense
        shapes = {name: tuple(p.shape) for name, p in self.parameters.items()}
        self.sample = Sample.of(shapes, min(LARGEST, GATHERED // (4 * workers * steps)))
        self._pieces = {piece.name: piece for piece in self.sample.pieces}
        self._names = {id(p): name for name, p in self.parameters.items()}
        self.group = ProcessGroup.beside(model.process_group, timeout=PATIENCE, checksum=True)
        self._number = 0  # of the step that is under way
        self._laps: list[Lap] = []
        self._looks: list[Look] = []
        self._lap: Lap | None = None
        self._shortened = False
        self._whole = False  # whether the last bucket of the step has been received
        self._hooks = [model.register_forward_pre_hook(self._forward)]
        for p in self.parameters.values():
            self._hooks.append(p.register_post_accumulate_grad_hook(self._computed))  # type: ignore[no-untyped-call]
        if hook:
            model.register_comm_hook(self, probe_hook)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def total(self) -> int:
        """Steps that it takes."""
        return self._first + self._steps

    @property
    def seen(self) -> int:
        """Steps that have been made."""
        return self._number + self._whole

    @property
    def done(self) -> bool:
        """Whether enough has been seen, the same on all workers: between steps, `found` may be called."""
        return self.seen >= self.total

    def close(self) -> None:
        """Look no further; DDP goes on to average. All workers call this."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._lap = [], None
        self._number, self._whole = self.total, False
        self.group.close()

    def _sampled(self) -> bool:
        return self._first <= self._number < self.total

    def _timed(self) -> bool:
        return self._warmup <= self._number < self._silent if self._quiet else self._sampled()

    def found(self) -> Watched:
        """What was seen. All workers call this together, between steps, when the watch is `done`.

        It takes a moment: samples travel, and links are tried on them.

        Raises:
            ValueError: it is not done, or too few steps were finite.
            PeerError: a worker does not come.
        """
        if not self.done:
            raise ValueError(fault("Watch.found()", f"it takes {self.total} steps", self.seen, "Train for longer."))
        self._told("training: links are tried on its gradients", 1.0)
        shapes = {name: tuple(p.shape) for name, p in self.parameters.items()}
        workload, notes = workload_of(self._laps, shapes, self.group, quiet=bool(self._quiet))
        gradients, doubts = gradients_of(self._looks, self.sample, self.group, self._candidates, self._samples_per_step)
        asked = [f"{self._steps} steps were sampled, to take no longer"] if self._shortened else []
        return Watched(workload, gradients, tuple(shapes), (*notes, *doubts, *asked))

    def receive(self, bucket: GradBucket) -> Future[Tensor]:
        """Take a bucket from DDP: it comes back averaged, or in a quiet step as zeros."""
        self._whole = self._lap is not None and bucket.is_last()
        buffer = bucket.buffer()
        if self._lap is not None and self._number < self._silent and not buffer.is_sparse:
            quiet: Future[Tensor] = Future(devices=[buffer.device] if buffer.is_cuda else [])
            quiet.set_result(buffer.zero_())
            return quiet
        lap, look = self._lap, self._looks[-1] if self._lap is not None and self._sampled() else None

        def back(future: Future[Tensor]) -> Tensor:
            mean = future.value()
            if lap is not None:
                lap.back.append(mark(self._device))
            if look is not None and not mean.is_sparse:
                look.mean.append(torch.linalg.vector_norm(mean, dtype=torch.float64).square())
            return mean

        return allreduce_hook(self._pg, bucket).then(back)

    def _forward(self, model: DistributedDataParallel, inputs: object) -> None:
        """Before a forward pass: the step before is over, if its gradients were averaged."""
        if not torch.is_grad_enabled() or (self._lap is not None and not self._whole):
            return
        if self._lap is not None:
            self._over(self._lap)
        if self._number < self.total:
            sampled = self._sampled()
            self._told(f"training: {'gradients are sampled' if sampled else 'steps'}", self._number / self.total)
            if sampled:
                self._looks.append(Look(torch.zeros(self.sample.size, device=self._device)))
            self._lap = Lap(mark(self._device))

    def _over(self, lap: Lap) -> None:
        lap.end = mark(self._device)
        if self._timed():
            self._laps.append(lap)
        self._lap, self._whole = None, False
        self._number += 1
        if self._limit is not None and self._number == self._silent + 2:  # the first one may be special
            seconds = slowest(self.group, [between(lap.begin, lap.end)])[0]
            self._shorten(int(self._limit / max(seconds, 1e-6)))

    def _shorten(self, room: int) -> None:
        """Make do with so many more steps, but FEWEST that are sampled: without warm-up, then with fewer of them."""
        asked, made = self._steps, max(0, self._number - self._first)
        if self._first > self._number and room < self._first - self._number + asked:
            self._first = self._number
        self._steps = min(asked, max(FEWEST, made + room - max(0, self._first - self._number)))
        self._shortened = self._steps < asked

    def _computed(self, parameter: Tensor) -> None:
        """A gradient is there; in a step of several backward passes the last time counts."""
        if self._lap is None or parameter.grad is None:
            return
        name = self._names[id(parameter)]
        self._lap.ready[name] = mark(self._device)
        if self._sampled():
            look, gradient = self._looks[-1], parameter.grad.detach()
            look.own[name] = torch.linalg.vector_norm(gradient, dtype=torch.float64).square()
            if name in self._pieces:
                look.sample[self.sample.parts[name]] = self._pieces[name].take(gradient).float()


def probe_hook(watch: Watch, bucket: GradBucket) -> Future[Tensor]:
    """DDP's communication hook of a watch; it calls `Watch.receive`."""
    return watch.receive(bucket)


# DDP compares the annotations with the types themselves, not with their names.
probe_hook.__annotations__ = {"watch": Watch, "bucket": GradBucket, "return": Future[torch.Tensor]}
