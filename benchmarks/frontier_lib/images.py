"""Fashion-MNIST, and how its rows are dealt to workers."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thinwire._check import fault

HOME = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
WAY_OUT = (
    "Name the folder that holds the four .gz files with --data: `apt-get install dataset-fashion-mnist` puts them "
    f"into {HOME}; https://github.com/zalandoresearch/fashion-mnist has them too."
)
CLASSES = 10


@dataclass(frozen=True)
class Images:
    """Pixels of mean 0 and deviation 1, (m, 1, 28, 28) float32, and labels, (m,) int64; of training and of test."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(folder: Path) -> Images:
    """Fashion-MNIST from its four gzipped IDX files; ValueError with the way to get them."""
    parts = []
    for part in ("train", "t10k"):
        pixels = read_idx(folder / f"{part}-images-idx3-ubyte.gz").astype(np.float32)[:, None] / 255
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)
        parts.append((torch.from_numpy(pixels), torch.from_numpy(labels)))
    train, test = parts
    mean, deviation = train[0].mean(), train[0].std()
    return Images(((train[0] - mean) / deviation, train[1]), ((test[0] - mean) / deviation, test[1]))


def read_idx(file: Path) -> np.ndarray:
    """The array in a gzipped IDX file of bytes: two zeros, the type 8, the number of dimensions, sizes, data."""
    try:
        data = gzip.decompress(file.read_bytes())
    except OSError as error:
        raise ValueError(fault(f"Fashion-MNIST {str(file)!r}", "the file cannot be read", error, WAY_OUT)) from None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(fault(f"Fashion-MNIST {str(file)!r}", "it is an IDX file of bytes", data[:4], WAY_OUT))
    sizes = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3]))
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def deal(labels: Tensor, workers: int, seed: int, few_classes: bool) -> Tensor:
    """(workers, m // workers) row numbers: shuffled, or sorted by label so that each worker sees few classes.

    Sorted rows are cut into as many pieces as there are workers, or twice as many where a single piece would lie
    within one class; a worker takes one piece, or one of each half.
    """
    draw = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=draw)
    if not few_classes:
        return shuffled[: len(labels) // workers * workers].view(workers, -1)
    order = shuffled[labels[shuffled].argsort(stable=True)]
    pieces = 1 if 2 * workers <= CLASSES else 2
    size = len(labels) // (workers * pieces)
    cut = order[: size * workers * pieces].view(pieces, workers, size)
    return cut.transpose(0, 1).reshape(workers, -1)


def draws(dealt: Tensor, batch: int, steps: int, seed: int) -> Tensor:
    """(steps, workers, batch) row numbers: each worker goes through its rows, newly shuffled in each epoch."""
    workers, held = dealt.shape
    draw = torch.Generator().manual_seed(seed + 1)
    whole = held // batch
    epochs = -(-steps // whole)
    orders = torch.stack(
        [torch.stack([torch.randperm(held, generator=draw) for _ in range(workers)]) for _ in range(epochs)]
    )
    rows = dealt.expand(epochs, workers, held).gather(2, orders)[:, :, : whole * batch]
    return rows.reshape(epochs, workers, whole, batch).transpose(1, 2).flatten(0, 1)[:steps]
