"""The demo's text: English that every machine has, cut into what is trained on and what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thinwire._check import fault

BLOCK = 4096
"""Bytes in a block; every `HOLD_OUT`-th block is held out."""

HOLD_OUT = 10

MIN_BYTES = 20 * BLOCK
"""The shortest text that leaves enough to train on and to hold out."""


@dataclass(frozen=True)
class Corpus:
    """A text as bytes: `train` and `held_out` are one-dimensional uint8 tensors with no byte of the text in common."""

    name: str
    train: Tensor
    held_out: Tensor


def load_corpus(path: Path | None = None) -> Corpus:
    """The text of a file, or, with None, the topics of Python's own language reference (`pydoc_data.topics`).

    Paragraphs that occur again are dropped first (the topics quote each other at length), so that nothing held out
    was also trained on; then every tenth block of 4 KiB is held out.

    Raises ValueError if the file cannot be read or is shorter than 80 KiB.

    >>> corpus = load_corpus()
    >>> len(corpus.held_out) * 8 < len(corpus.train) < len(corpus.held_out) * 11
    True
    """
    if path is None:
        return split("Python's language reference (pydoc_data.topics)", _python_topics())
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(fault(f"text {str(path)!r}", f"the file cannot be read: {reason}")) from error
    return split(path.name, data)


def split(name: str, data: bytes) -> Corpus:
    """A `Corpus` of these bytes: repeated paragraphs dropped, every tenth block held out."""
    data = _distinct_paragraphs(data)
    if len(data) < MIN_BYTES:
        rule = f"the demo needs at least {MIN_BYTES:,} bytes of text (repeated paragraphs count once)"
        raise ValueError(fault(f"text {name!r}", rule, len(data), "Give a longer file, or leave --text out."))
    stream = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    held_out = (torch.arange(len(stream)) // BLOCK) % HOLD_OUT == HOLD_OUT - 1
    return Corpus(name, stream[~held_out], stream[held_out])


def batch(stream: Tensor, size: int, context: int, seed: int, step: int, rank: int) -> tuple[Tensor, Tensor]:
    """The inputs and targets, both (size, context), of one worker at one step: a function of the arguments alone.

    >>> inputs, targets = batch(torch.arange(100, dtype=torch.uint8), 2, 8, seed=0, step=0, rank=0)
    >>> bool((targets == inputs + 1).all())
    True
    """
    draw = np.random.default_rng((seed, step, rank))
    starts = torch.from_numpy(draw.integers(0, len(stream) - context, size=size))
    return _windows(stream, starts, context)


def held_out_batch(corpus: Corpus, size: int, context: int) -> tuple[Tensor, Tensor]:
    """The same `size` windows of the held-out part for every run, spread evenly over it."""
    starts = torch.linspace(0, len(corpus.held_out) - context - 1, size).long()
    return _windows(corpus.held_out, starts, context)


def _windows(stream: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    spans = stream[starts[:, None] + torch.arange(context + 1)].long()
    return spans[:, :-1], spans[:, 1:]


def _python_topics() -> bytes:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


def _distinct_paragraphs(data: bytes) -> bytes:
    return b"\n\n".join(dict.fromkeys(data.split(b"\n\n")))
