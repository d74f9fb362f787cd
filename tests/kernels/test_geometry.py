"""Scales of powers of two: the compiled code gives torch's bits, and both give the formula's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.kernels.test_cpu import needs_library
from thinwire.kernels import change_geometry, geometry, into_geometry, out_of_geometry

ODD = [0.0, 2.0**-149, 2.0**-126, 2.0**-54, 2.0**-2, 3.9999998, 4.0, 2.0**127, float("inf")]


def drawn(seed: int, d: int) -> tuple[Tensor, Tensor]:
    """Squares over the whole range, odd ones among them, and values."""
    draw = torch.Generator().manual_seed(seed)
    squares = torch.exp2(250 * torch.rand(d, generator=draw) - 125)
    some = torch.randint(len(ODD), (d,), generator=draw)
    odd = torch.rand(d, generator=draw) < 0.2
    return torch.where(odd, torch.tensor(ODD)[some], squares), torch.randn(d, generator=draw)


@needs_library
@given(seed=st.integers(0, 2**32), d=st.integers(1, 300), rows=st.integers(1, 3), start=st.integers(0, 3))
def test_compiled_and_torch_give_the_same_bits(seed: int, d: int, rows: int, start: int) -> None:
    """Wherever in memory they begin, and in place."""
    squares, estimate = (x[start:] for x in drawn(seed, d + start))
    scales = torch.where(torch.rand(d, generator=torch.Generator().manual_seed(seed)) < 0.1, squares * 64, squares)
    v = torch.randn(rows, d + 5, generator=torch.Generator().manual_seed(seed))[:, :d]
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for library in (geometry._library(), None):
            patch.setattr(geometry, "_library", lambda library=library: library)
            u, out, after = torch.full((rows, d + 2), 7.0), estimate.clone(), torch.empty(d)
            into_geometry(squares, v, u[:, :d])
            out_of_geometry(scales, squares, 0.95, out, out, after)
            changed = v[0].clone()
            change_geometry(scales, squares, changed)
            assert bool((u[:, d:] == 7).all())
            found.append([x.view(torch.int32) for x in (u, out, after, changed)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_the_formula_says(dtype: torch.dtype) -> None:
    squares, v = (x.to(dtype) for x in drawn(1, 4000))
    squares = torch.where(squares.isinf(), torch.zeros((), dtype=dtype), squares)
    u, out, after = torch.empty(1, 4000, dtype=dtype), torch.empty_like(v), torch.empty_like(v)
    into_geometry(squares, v[None], u)
    scales = squares.flip(0)
    out_of_geometry(scales, squares, 0.9, v, out, after)
    changed = v.clone()
    change_geometry(squares, scales, changed)
    q = squares.double().numpy()
    k = np.floor(np.log2(np.where(q > 0, q, 1.0)) / 4 + 0.5)
    s = np.exp2(np.where(q > 0, np.maximum(k, -13), 0))
    assert (u[0].double().numpy() == v.double().numpy() / s).all()
    assert (out.double().numpy() == v.double().numpy() * s[::-1]).all()
    assert (changed.double().numpy() == v.double().numpy() * (s / s[::-1])).all()
    square = out.double().numpy() ** 2
    rounded = np.where(q > 0, 0.9 * q + 0.1 * square, square)
    # two products and a sum, of which each is rounded; 1e-37: where they are subnormal
    np.testing.assert_allclose(after.double().numpy(), rounded, rtol=3 * torch.finfo(dtype).eps, atol=1e-37)
