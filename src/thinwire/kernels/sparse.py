"""Which make of the sparse kernels runs: the compiled one on CPU tensors of float32, plain torch everywhere else."""

from __future__ import annotations

from torch import Tensor

from thinwire.kernels import cpu_sparse, reference_sparse
from thinwire.kernels.format import Blocks


def nonfinite(x: Tensor) -> Tensor:
    """(rows,) bool: which rows of a floating matrix hold a NaN or an Inf."""
    if cpu_sparse.takes_values(x):
        return cpu_sparse.nonfinite(x)
    return reference_sparse.nonfinite(x)


def smallest_draws(stream: Tensor, count: int, of: int) -> Tensor:
    """(rows, count) int64, ascending: the numbers below `of` whose 32-bit draws are smallest, the lower on a tie."""
    if cpu_sparse.takes_draws(stream, count, of):
        return cpu_sparse.smallest_draws(stream, count, of)
    return reference_sparse.smallest_draws(stream, count, of)


def ranked_draws(stream: Tensor, of: int) -> Tensor:
    """(rows, of) int64: the numbers below `of` in the order of their 32-bit draws, a random permutation of each row."""
    if cpu_sparse.takes_draws(stream, of, of):
        return cpu_sparse.ranked_draws(stream, of)
    return reference_sparse.ranked_draws(stream, of)


def pick_runs(x: Tensor, which: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """The blocks of each row whose numbers are `which`, ascending, and which rows are not finite."""
    if cpu_sparse.takes_row(x, blocks, which.shape[1]):
        return cpu_sparse.pick_runs(x, which, blocks)
    return reference_sparse.pick_runs(x, which, blocks)


def place_runs(values: Tensor, which: Tensor, blocks: Blocks, scale: float) -> Tensor:
    """(rows, d): values · scale where `pick_runs` took them from, zeros elsewhere."""
    if cpu_sparse.takes_row(values, blocks, which.shape[1]):
        return cpu_sparse.place_runs(values, which, blocks, scale)
    return reference_sparse.place_runs(values, which, blocks, scale)


def pick_largest(x: Tensor, blocks: Blocks, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` largest magnitudes of each block: values, packed indices, and which rows are not finite."""
    if cpu_sparse.takes_row(x, blocks, keep):
        return cpu_sparse.pick_largest(x, blocks, keep)
    return reference_sparse.pick_largest(x, blocks, keep)


def place_largest(values: Tensor, side: Tensor, blocks: Blocks, keep: int) -> Tensor:
    """(rows, d): the values where `pick_largest` took them from, zeros elsewhere."""
    if cpu_sparse.takes_row(values, blocks, keep):
        return cpu_sparse.place_largest(values, side, blocks, keep)
    return reference_sparse.place_largest(values, side, blocks, keep)
