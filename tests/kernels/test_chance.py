"""That rounding at random is as random as it says: 10^8 draws of the compiled kernels."""

from __future__ import annotations

import math

import pytest
import torch

from tests.kernels.test_cpu import needs_library
from thinwire.kernels import cpu
from thinwire.kernels.format import Format, Kind
from thinwire.keys import Key, Purpose

pytestmark = needs_library
BLOCK, BLOCKS, STEPS = 1024, 12_500, 8


@pytest.mark.parametrize(
    ("fmt", "lower"),
    [(Format(Kind.DITHER, 0, BLOCK, 1), 0), (Format(Kind.DITHER, 4, BLOCK, 7), 4)],
    ids=["base 3", "four bits"],
)
def test_every_place_of_a_block_is_rounded_up_as_often_as_it_should(fmt: Format, lower: int) -> None:
    """With s levels and a scale of s, lower + p becomes lower + 1 with probability p, and lower otherwise.

    The places of a block have p = 1/256 … 255/256 in turn, for which 16 random bits are exact; so the counts of ups are
    binomial, and their squared deviations in units of p (1 − p) have the mean 1: a variance that is not the declared
    one, draws that are not equidistributed, and places that depend on each other's draws all move their sum, which is
    χ² with as many degrees of freedom as places, of standard deviation √(2 · places). Bounds are 5 standard deviations.
    """
    place = torch.arange(1, BLOCK)
    up = (place % 255 + 1) / 256
    x = torch.cat((torch.full((1,), float(fmt.levels)), lower + up)).repeat(BLOCKS)[None]
    sent, said = torch.empty(1, fmt.nbytes(x.shape[1]), dtype=torch.uint8), torch.empty_like(x)
    counts = torch.zeros(BLOCK - 1, dtype=torch.float64)
    for step in range(STEPS):
        stream = Key(seed=1, step=step).stream(Purpose.CODE)
        cpu.encode(fmt, x, stream, sent)
        above = cpu.decode(fmt, sent, x.shape[1], stream, said).view(BLOCKS, BLOCK)[:, 1:].sub_(lower)
        assert bool(((above == 0) | (above == 1)).all())  # one of the two neighbours: the variance is p (1 − p)
        counts += above.sum(dim=0, dtype=torch.float64)
    trials = BLOCKS * STEPS
    squares = (counts - trials * up).square() / (trials * up * (1 - up))
    assert abs(float(squares.sum()) - len(place)) < 5 * math.sqrt(2 * len(place))
    assert float((counts - trials * up).sum().abs()) < 5 * float((trials * up * (1 - up)).sum().sqrt())  # no bias
