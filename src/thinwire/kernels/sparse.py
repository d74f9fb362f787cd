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


def place_runs(values: Tensor, which: Tensor, blocks: Blocks, scale: float, workers: int = 1) -> Tensor:
    """Rows of values · scale where `pick_runs` took them from, zeros elsewhere; (groups, d) sums over the workers."""
    if cpu_sparse.takes_sum(values, blocks, which.shape[1], workers):
        return cpu_sparse.place_runs(values, which, blocks, scale, workers)
    return reference_sparse.place_runs(values, which, blocks, scale, workers)


def pick_largest(x: Tensor, blocks: Blocks, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` largest magnitudes of each block: values, packed indices, and which rows are not finite."""
    if cpu_sparse.takes_row(x, blocks, keep):
        return cpu_sparse.pick_largest(x, blocks, keep)
    return reference_sparse.pick_largest(x, blocks, keep)


def place_largest(values: Tensor, side: Tensor, blocks: Blocks, keep: int, workers: int = 1) -> Tensor:
    """Rows of the values where `pick_largest` took them from, zeros elsewhere; (groups, d) sums over the workers."""
    if cpu_sparse.takes_sum(values, blocks, keep, workers):
        return cpu_sparse.place_largest(values, side, blocks, keep, workers)
    return reference_sparse.place_largest(values, side, blocks, keep, workers)
