"""A training script with one line for a probe, and what runs such a script until the probe has seen enough."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from thinwire._check import fault
from thinwire.comm import ProcessGroup
from thinwire.probing.trials import CANDIDATES, Asked
from thinwire.probing.watch import Watch
from thinwire.probing.watched import Watched

LINE = "model = tw.probe(model)"
M = TypeVar("M", bound=Module)
Then = Callable[[Watched, ProcessGroup], None]
"""What is done with what was found, by all workers together, while their group is open."""


@dataclass(frozen=True)
class Asking:
    """What a probe wants to see of a training: `Watch` says what each is."""

    steps: int = 30
    warmup: int = 5
    quiet: int = 7
    limit: float | None = 20.0
    candidates: Sequence[Asked] = CANDIDATES
    told: Callable[[str, float], None] | None = None


class NotSeen(ValueError):
    """A script has ended before a probe saw enough of it."""


class Enough(SystemExit):
    """Ends a script whose training has been seen for long enough: with code 0, past its `except Exception`."""


@dataclass
class _Run:
    """A script that runs, and what has been seen of it."""

    asking: Asking
    then: Then
    watch: Watch | None = None
    over: bool = field(default=False, init=False)

    def begin(self, model: Module, samples_per_step: int | None) -> None:
        where = "tw.probe(model)"
        if not isinstance(model, DistributedDataParallel):
            rule = "model is a DistributedDataParallel while a probe runs"
            raise TypeError(fault(where, rule, type(model).__name__, "Wrap it first."))
        if self.watch is not None:
            rule = "a probe looks at one model, and this is the second"
            raise ValueError(fault(where, rule, None, "Leave the line with the larger one."))
        asking = self.asking
        self.watch = Watch(
            model,
            steps=asking.steps,
            warmup=asking.warmup,
            quiet=asking.quiet,
            limit=asking.limit,
            candidates=asking.candidates,
            samples_per_step=samples_per_step,
            told=asking.told,
        )
        model.register_forward_pre_hook(self._look)

    def _look(self, model: Module, inputs: object) -> None:
        """Before a forward pass, after the watch has: whether there is enough."""
        assert self.watch is not None  # who registered this made it
        if not self.over and self.watch.done:
            self.over = True
            try:
                found = self.watch.found()
            except ValueError as error:  # its gradients are not finite
                raise NotSeen(str(error)) from error
            self.then(found, self.watch.group)
            self.watch.group.agree({})  # nobody ends, and takes the store along, while others are at it
            self.watch.close()
        if self.over:
            raise Enough(0)


_run: _Run | None = None


def probe(model: M, *, samples_per_step: int | None = None) -> M:
    """The line of a training script at which `thinwire probe --script` looks at its gradients; else it does nothing.

    It stands after the model was wrapped in DistributedDataParallel, and may stay in the script. Under
    `torchrun … --no-python thinwire probe --script train.py` it has the first steps watched: how long they compute,
    when each gradient is ready, what gradients are like, and how far each link would be off. Then the script is ended.
    Steps that are timed send nothing, and the training's result is not one: let the script keep nothing of it.

    The probe takes the place of `attach`, as a model has one communication hook: leave `attach` out of the run.

    Args:
        model: the wrapped model; it is given back.
        samples_per_step: of one worker, so that the noise's scale is known in samples.

    Raises:
        TypeError: a probe runs, and the model is not wrapped.
        ValueError: a probe runs, and the model has a communication hook, or it is the second model.

    >>> import torch, thinwire as tw
    >>> net = torch.nn.Linear(2, 2)
    >>> tw.probe(net) is net
    True
    """
    if _run is not None:
        _run.begin(model, samples_per_step)
    return model


def run_script(path: Path, arguments: Sequence[str], then: Then, asking: Asking | None = None) -> None:
    """Run a script as `python path arguments…` would, until its training has been seen for long enough.

    What was found is handed to `then` in the midst of the training, while the script's process group is open. All
    workers call this.

    Raises:
        ValueError: there is no such script.
        NotSeen: it does not call `tw.probe`, or ends before enough was seen.
        SystemExit: the script ends with a code of its own.
    """
    global _run
    where = f"--script {path}"
    if not path.is_file():
        raise ValueError(fault(where, "the script is a file", None, "Give its path from here."))
    run = _run = _Run(asking or Asking(), then)
    try:
        with _as_main(path, arguments):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        if not run.over and ended.code:
            raise
    finally:
        _run = None
    if run.over:
        return
    if run.watch is None:
        way_out = f"Add the line `{LINE}` after the model is wrapped in DistributedDataParallel."
        raise NotSeen(fault(where, "it has a line for the probe, and ended without coming to one", None, way_out))
    rule = f"it makes {run.watch.total} steps, and begins another one"
    raise NotSeen(fault(where, rule, run.watch.seen, "Let it train for longer, or give fewer --steps."))


@contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[None]:
    """`sys.argv` and `sys.path` as Python sets them for a script."""
    argv, searched = sys.argv, sys.path[:]
    sys.argv, sys.path = [str(path), *arguments], [str(path.resolve().parent), *searched]
    try:
        yield
    finally:
        sys.argv, sys.path = argv, searched
