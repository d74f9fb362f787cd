"""Thin factors: orthonormal to rounding, and the same bits however many lie side by side or threads there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from thinwire.kernels import factors

EPS = torch.finfo(torch.float32).eps


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize(("n", "r", "a"), [(1, 1, 1), (3, 2, 7), (2, 8, 64), (1, 33, 1000)])
def test_rows_are_orthonormal_to_rounding(n: int, r: int, a: int, scale: float) -> None:
    """Nearly dependent ones too. Twice is enough: what is left is of the order of a rounding for each row."""
    p = drawn(n, r, a)
    if r > 1:
        p[:, 1] = p[:, 0] + 2.0**-12 * p[:, 1]
    made = factors.orthonormal(p * scale).to(torch.float64)
    gram = made @ made.transpose(1, 2)
    assert (gram - torch.eye(r, dtype=torch.float64)).abs().max() <= 4 * (r + 1) * EPS


@pytest.mark.parametrize(("r", "a"), [(2, 7), (4, 64), (16, 300)])
def test_rows_span_what_the_given_ones_span(r: int, a: int) -> None:
    """The projection on a random row space moves by the condition number, below 2^6 here, of a rounding of each sum."""
    p = drawn(1, r, a)
    made = factors.orthonormal(p)[0].to(torch.float64)
    q, _ = torch.linalg.qr(p[0].to(torch.float64).t())
    assert (made.t() @ made - q @ q.t()).norm() <= 2**6 * r * EPS


def test_a_row_that_adds_nothing_is_zero() -> None:
    p = drawn(1, 3, 50)
    p[0, 1] = 2 * p[0, 0]
    made = factors.orthonormal(p)
    assert bool((made[0, 1] == 0).all())
    assert bool((factors.orthonormal(torch.zeros(2, 3, 5)) == 0).all())
    before = drawn(1, 3, 20, seed=1)
    q = drawn(1, 3, 20, seed=2)
    again = factors.renewed(q * 1e-20, made, before)
    assert torch.equal(again[0, 1], before[0, 1])
    assert torch.equal(again[0, 0], factors.renewed(q * 1e-20 * 2.0**40, made, before)[0, 0])
    assert 1 <= float(again[0, 0].abs().max()) < 4


def test_bits_do_not_depend_on_what_lies_beside() -> None:
    p, q = drawn(5, 4, 37), drawn(5, 4, 61, seed=1)
    together = factors.orthonormal(p)
    out, room = torch.empty(5, 37, 61), torch.empty(5, 37, 61)
    factors.products(together, q, out, room)
    for i in range(5):
        assert torch.equal(factors.orthonormal(p[i : i + 1])[0], together[i])
        one = torch.empty(1, 37, 61)
        factors.products(together[i : i + 1], q[i : i + 1], one, torch.empty_like(one))
        assert torch.equal(one[0], out[i])


def test_products_are_rounded_one_by_one() -> None:
    """As the wire format says, and not fused: the same in NumPy's float32."""
    p, q = drawn(1, 3, 20), drawn(1, 3, 30, seed=1)
    out = torch.empty(1, 20, 30)
    factors.products(p, q, out, torch.empty_like(out))
    left, right = p[0].numpy(), q[0].numpy()
    wanted = left[0][:, None] * right[0]
    for k in (1, 2):
        wanted = wanted + left[k][:, None] * right[k]
    assert torch.equal(out[0], torch.from_numpy(wanted))


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    m, q = drawn(5, 512, 1111), drawn(5, 2, 1111, seed=1)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4, 8):
            torch.set_num_threads(threads)
            p, other = torch.empty(5, 2, 512), torch.empty(5, 2, 1111)
            with factors.one_blas_thread():
                factors.left_factors(m, q, p)
                factors.right_factors(m, p, other)
            found.append((p, other))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(p, found[0][0]) and torch.equal(other, found[0][1]) for p, other in found)


def tree(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The tree sum of the page on the wire format, over the last axis."""
    size = 1 << (x.shape[-1] - 1).bit_length()
    x = np.concatenate([x, np.zeros((*x.shape[:-1], size - x.shape[-1]), np.float32)], axis=-1)
    while size > 1:
        size //= 2
        x = x[..., :size] + x[..., size:]
    return x[..., 0]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_orthonormal_rows_are_those_of_the_wire_format(scale: float) -> None:
    """Bit for bit, by the page alone, in NumPy's float32."""
    p = (drawn(1, 5, 37) * scale)[0]
    p[3] = p[0] + p[1]
    rows = p.numpy().copy()
    peaks = np.clip(np.abs(rows).max(axis=1).view(np.int32) >> 23, 27, 253)
    rows *= np.float32(2) ** (127 - peaks)[:, None].astype(np.float32)
    for k in range(5):
        x = rows[k]
        length = np.sqrt(tree(x * x))
        for _ in range(2 if k else 0):
            coefficients = tree(rows[:k] * x)
            x = x - tree((coefficients[:, None] * rows[:k]).T)
        left = np.sqrt(tree(x * x))
        rows[k] = x / left if left > np.float32(2**-16) * length else 0
    assert torch.equal(factors.orthonormal(p[None])[0], torch.from_numpy(rows))
    assert not rows[3].any()
