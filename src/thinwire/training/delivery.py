"""How estimates come back: from frames, which the link knows, to buckets, which DDP waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.futures import Future

from thinwire.training.frames import Frame


class Delivery:
    """A frame of one step: which gradients are missing, and who waits for what comes back."""

    def __init__(self, frame: Frame, waits_for: Iterable[str] = ()) -> None:
        self._slots = {slot.name: slot for slot in frame.slots}
        self._waits_for = {*self._slots, *waits_for}
        self._lock = threading.Lock()
        self._fresh()

    def _fresh(self) -> None:
        self.missing = set(self._waits_for)
        self.hurt = False
        self._claims: dict[str, tuple[Tensor, Bucket, Tensor | None]] = {}
        self._estimate: Tensor | None = None
        self._made: torch.Event | None = None
        self._error: Exception | None = None
        self._delivered = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of a step is here."""
        return len(self.missing) == len(self._waits_for) and not self._claims

    def claim(self, name: str, gradient: Tensor, bucket: Bucket, scale: Tensor | None) -> None:
        """Whatever comes back of this parameter goes, times `scale`, into `gradient`, and `bucket` is told."""
        with self._lock:
            self._claims[name] = gradient, bucket, scale
            settled = self._settle()
        settled()

    def done(self, estimate: Tensor) -> None:
        """Take the estimate of the whole frame."""
        with self._lock:
            self._estimate, self._made = estimate, _mark(estimate)
            settled = self._settle()
        settled()

    def failed(self, error: Exception) -> None:
        """Tell all who wait, or will."""
        with self._lock:
            self._error = error
            settled = self._settle()
        settled()

    def _settle(self) -> Callable[[], None]:
        """Write what is back to where it is claimed; gives what tells the buckets, to be called without the lock.

        When all is delivered, the frame is ready for the next step before anyone hears that this one is over.
        """
        if self._estimate is None and self._error is None:
            return lambda: None
        error, buckets = self._error, [bucket for _, bucket, _ in self._claims.values()]
        if self._estimate is not None:
            _after(self._made, self._estimate)
            for name, (gradient, _, scale) in self._claims.items():
                estimate = self._estimate[self._slots[name].part].view_as(gradient)
                gradient.copy_(estimate if scale is None else estimate * scale)
        self._delivered += len(buckets)
        self._claims = {}
        if self._delivered == len(self._slots) and error is None:
            self._fresh()
        return lambda: _tell(buckets, error)


def _mark(tensor: Tensor) -> torch.Event | None:
    """On a GPU, where the current stream is by now: in frames' own streams, or in the backward pass'."""
    return torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None


def _after(mark: torch.Event | None, tensor: Tensor) -> None:
    """Let the current stream go on with the tensor when another stream has come to the mark."""
    if mark is not None:
        stream = torch.cuda.current_stream(tensor.device)
        stream.wait_event(mark)
        tensor.record_stream(stream)


def _tell(buckets: list[Bucket], error: Exception | None) -> None:
    for bucket in buckets:
        if error is None:
            bucket.one_back()
        else:
            bucket.fail(error)


class Bucket:
    """A bucket whose gradients are on their way."""

    def __init__(self, buffer: Tensor, missing: int) -> None:
        self._buffer, self._missing = buffer, missing
        self._lock = threading.Lock()
        self._marks: list[torch.Event | None] = []
        self._future: Future[Tensor] = Future(devices=[buffer.device] if buffer.is_cuda else [])
        # an exception that is set DDP takes for the result, "unable to cast it"; what `then` raises it raises
        self.future: Future[Tensor] = self._future.then(lambda done: done.value())

    def one_back(self) -> None:
        """One of its gradients is back; the last one completes it."""
        with self._lock:
            self._marks.append(_mark(self._buffer))
            self._missing -= 1
            complete = not self._missing and not self._future.done()
        if complete:
            for mark in self._marks:  # DDP waits for the stream in which the result is set, and for no other
                _after(mark, self._buffer)
            self._future.set_result(self._buffer)

    def fail(self, error: Exception) -> None:
        """None of them will be back."""
        with self._lock:
            if self._future.done():
                return
        self._future.set_exception(error)  # type: ignore[arg-type]  # typed as a result
