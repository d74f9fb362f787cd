"""What must come back exactly: degenerate compressors, representable values, and who shares which draws."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from thinwire import (
    BFloat16,
    Compressor,
    Dither,
    Float16,
    Identity,
    Induced,
    Key,
    Natural,
    NaturalDither,
    PermK,
    RandK,
    Sign,
    Ternary,
    TopK,
)
from thinwire.keys import Purpose

from .inputs import gaussian, unit
from .rows import ROWS

D = 128


def test_degenerate_compressors_are_the_identity() -> None:
    key, x = Key(seed=3, ranks=range(2)), torch.stack((gaussian(50), gaussian(50, 9)))
    for code in (Dither(bits=4), RandK(0.5), Sign()):
        assert Identity() >> code is code
    for compressor in (Identity(), Identity(bits=64), RandK(1.0), TopK(1.0), PermK(workers=1), RandK(50), TopK(50)):
        key_of = key if not isinstance(compressor, PermK) else replace(key, ranks=range(1), shares=range(2))
        back = compressor.decode(compressor.encode(x, key_of))
        assert torch.equal(back.float(), x)
        assert compressor.omega(50) in (0.0, None)
        assert compressor.delta(50) == 1.0
    double = x.double() * math.pi
    assert torch.equal(Identity(bits=64).decode(Identity(bits=64).encode(double, key)), double)


def test_what_a_code_can_represent_comes_back_exactly() -> None:
    """Bit for bit, whatever the draws: a value on a level has no neighbour to be rounded to."""
    generator = torch.Generator().manual_seed(4)
    whole = torch.randint(-7, 8, (1, 600), generator=generator).float()
    whole[0, ::50] = 7.0  # every block holds the scale itself
    powers = torch.exp2(torch.randint(-100, 100, (1, 600), generator=generator).float()) * whole.sign()
    near = torch.exp2(-torch.randint(0, 7, (1, 600), generator=generator).float()) * whole.sign()
    near[0, ::50] = 1.0
    exact: list[tuple[Compressor, Tensor]] = [
        (Dither(bits=4, block=100), whole),
        (Dither(bits=4, block=100), whole * 2.0**40),
        (Dither(bits=4, block=100, rounding="nearest"), whole),
        (Dither(levels=4, norm=2), 2.0 * torch.nn.functional.pad(unit(4, 0)[None], (0, 20))),
        (Ternary(), whole.sign()),
        (Natural(), powers),
        (NaturalDither(levels=7, block=100), near),
        (Sign(), torch.where(whole >= 0, 3.0, -3.0)),
        (Float16(), whole),
        (BFloat16(), whole),
        (TopK(3), torch.nn.functional.pad(torch.tensor([[1.5, -2.25, 1e-9]]), (40, 7))),
        (Induced(TopK(1.0), RandK(0.1)), whole),
    ]
    for compressor, x in exact:
        for step in range(20):
            assert torch.equal(compressor.decode(compressor.encode(x, Key(step=step))), x), compressor


def test_representable_values_of_eight_bits_come_back_up_to_a_draw_in_thousands() -> None:
    """With s = 127 the product |x| · (s / scale) may be off by 127 · 2^-23 = 2^-16, the grain of the draws: a value on
    a level may go to its neighbour with probability 2^-16 or so; 2 · 10^5 draws expect 3 at most, 12 is 5 sigma."""
    whole = (torch.arange(10_000) % 255 - 127).float()[None]
    back = torch.cat([Dither(bits=8).decode(Dither(bits=8).encode(whole, Key(step=i))) for i in range(20)])
    far = (back - whole).abs() > 127 * 2.0**-22
    assert far.sum() <= 12


def test_float_rounding_is_within_the_declared_bias() -> None:
    x = torch.linspace(6.2e-5, 65000, 100_001)[None]
    for compressor in (Float16(), BFloat16()):
        off = (compressor.decode(compressor.encode(x, Key())) - x).abs() / x
        assert off.max() <= compressor.bias(1)
        assert off.max() > 0.99 * compressor.bias(1)


def test_topk_keeps_the_largest_and_the_first_of_equals() -> None:
    x = torch.tensor([[1.0, -3.0, 3.0, 0.5, -3.0, 2.0]])
    assert TopK(2).decode(TopK(2).encode(x, Key())).tolist() == [[0, -3, 3, 0, 0, 0]]
    flat = torch.ones(1, 8)
    assert TopK(0.25).delta(8) == 0.25 == float((TopK(0.25).decode(TopK(0.25).encode(flat, Key()))).sum()) / 8


def test_induced_sends_the_remainder_of_the_first_part() -> None:
    compressor, x = Induced(TopK(2), RandK(0.5)), gaussian(20)[None]
    key = Key(seed=6)
    first = TopK(2).decode(TopK(2).encode(x, key))
    second = RandK(0.5).decode(RandK(0.5).encode(x - first, key.child()))
    assert torch.equal(compressor.decode(compressor.encode(x, key)), first + second)
    assert compressor.omega(20) == pytest.approx((1 - 2 / 20) * 1.0)


def test_shared_selections_are_shared_and_others_are_not() -> None:
    x, key = torch.ones(8, 400), Key(ranks=range(8))
    alike = RandK(0.1, shared=True).decode(RandK(0.1, shared=True).encode(x, key))
    assert (alike == alike[0]).all()
    own = RandK(0.1).decode(RandK(0.1).encode(x, key))
    assert len({tuple(row.tolist()) for row in own}) == 8


def test_every_purpose_step_tensor_rank_share_and_level_has_its_own_stream() -> None:
    keys = [
        Key(), Key(seed=1), Key(seed=2**63), Key(step=1), Key(tensor=1), Key(ranks=range(1, 2)),
        Key(shares=range(1, 2)), Key().child(), Key().child().child(),
    ]  # fmt: skip
    streams = {tuple(key.stream(purpose)[0].tolist()) for key in keys for purpose in Purpose}
    assert len(streams) == len(keys) * len(Purpose)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.compressor.unbiased])
def test_contractive_scales_by_what_omega_asks(name: str) -> None:
    compressor, x = ROWS[name].compressor, gaussian(D)[None]
    key = Key(seed=8)
    omega = compressor.omega(D)
    assert omega is not None
    scaled = compressor.contractive()
    wanted = compressor.decode(compressor.encode(x, key)) * (1 / (1 + omega))
    assert torch.equal(scaled.decode(scaled.encode(x, key)), wanted)
    assert scaled.nbytes(D) == compressor.nbytes(D)
    assert scaled.contractive() is scaled
