"""The table of compressors: one row each, and the common suite runs over all of them."""

from __future__ import annotations

from dataclasses import dataclass

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
    Rotated,
    Sign,
    Ternary,
    TopK,
)

DIMENSIONS = (0, 1, 2, 7, 127, 128, 129, 1000, 1024, 1025, 5000)


@dataclass(frozen=True)
class Row:
    """One compressor, and what is true of it that its interface does not say.

    Args:
        compressor: bound to a number of workers where it needs one.
        scales: C(2^k x) = 2^k C(x), bit for bit, far from the ends of float32.
        residue: how far from x the mean of an "unbiased" code may stay, relative to ‖x‖: what its docstring admits.
    """

    compressor: Compressor
    scales: bool = True
    residue: float = 0.0


ROWS = {
    "identity": Row(Identity()),
    "identity 64": Row(Identity(bits=64)),
    "float16": Row(Float16(), scales=False),
    "bfloat16": Row(BFloat16()),
    "dither 2 bits": Row(Dither(bits=2)),
    "dither 3 bits, blocks of 100": Row(Dither(bits=3, block=100)),
    "dither 4 bits": Row(Dither(bits=4)),
    "dither 5 bits": Row(Dither(bits=5)),
    "dither 8 bits": Row(Dither(bits=8, block=256)),
    "dither 20 levels, l2": Row(Dither(levels=20, norm=2)),
    "dither nearest": Row(Dither(bits=4, rounding="nearest")),
    "dither nearest, l2": Row(Dither(levels=5, norm=2, block=64, rounding="nearest")),
    "ternary": Row(Ternary()),
    "ternary l2, blocks of 99": Row(Ternary(norm=2, block=99)),
    "natural": Row(Natural()),
    "natural dither": Row(NaturalDither()),
    "natural dither l2": Row(NaturalDither(levels=3, norm=2, block=128)),
    "natural dither, 125 levels": Row(NaturalDither(levels=125)),
    "rotated 1 bit": Row(Rotated(bits=1), residue=0.1),
    "rotated 2 bits": Row(Rotated(bits=2, block=128), residue=0.1),
    "rotated 3 bits": Row(Rotated(bits=3), residue=0.1),
    "rotated 4 bits": Row(Rotated(bits=4, block=512), residue=0.1),
    "rotated least-error": Row(Rotated(bits=2, scale="least-error")),
    "sign": Row(Sign()),
    "sign, blocks of 100": Row(Sign(block=100)),
    "randk fraction": Row(RandK(0.25)),
    "randk count": Row(RandK(5)),
    "randk runs": Row(RandK(0.25, block=8)),
    "randk shared": Row(RandK(0.25, shared=True)),
    "permk": Row(PermK(workers=4)),
    "topk count": Row(TopK(5)),
    "topk fraction": Row(TopK(0.1, block=128)),
    "randk >> dither": Row(RandK(0.5) >> Dither(bits=4)),
    "randk >> natural": Row(RandK(0.5) >> Natural()),
    "randk >> ternary": Row(RandK(0.25, block=4) >> Ternary(block=64)),
    "randk >> nearest": Row(RandK(0.75) >> Dither(levels=1, rounding="nearest")),
    "randk >> sign": Row(RandK(0.75) >> Sign()),
    "randk shared >> bfloat16": Row(RandK(0.5, shared=True) >> BFloat16()),
    "randk >> induced": Row(RandK(0.5) >> Induced(Sign(), Natural())),
    "permk >> dither": Row(PermK(workers=4) >> Dither(bits=4)),
    "topk >> float16": Row(TopK(0.1) >> Float16(), scales=False),
    "topk >> identity 64": Row(TopK(0.1) >> Identity(bits=64)),
    "topk >> sign": Row(TopK(0.25, block=64) >> Sign()),
    "topk >> dither": Row(TopK(0.25) >> Dither(bits=4)),
    "topk >> rotated": Row(TopK(0.25) >> Rotated(bits=2, scale="least-error")),
    "induced": Row(Induced(TopK(0.25), RandK(0.25))),
    "induced dense": Row(Induced(Sign(), Dither(bits=4))),
    "induced, float64 part": Row(Induced(TopK(3) >> Identity(bits=64), Natural())),
    "induced twice": Row(Induced(TopK(0.1), Induced(Sign(), RandK(0.5)))),
    "randk contractive": Row(RandK(0.25).contractive()),
    "ternary contractive": Row(Ternary().contractive()),
    "chain contractive": Row((RandK(0.5) >> Dither(bits=4)).contractive()),
    "induced contractive": Row(Induced(TopK(0.25), RandK(0.25)).contractive()),
}
"""Every class, every kind of packing, and every way to combine."""

KEY = Key(seed=0xC0FFEE_0DDBA11, step=3, tensor=2, ranks=range(3))
