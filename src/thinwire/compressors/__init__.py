"""Compressors: what travels, and what theory says of it."""

from thinwire.compressors.base import Compressor
from thinwire.compressors.code import Dither, Natural, NaturalDither, Rotated, Sign, Ternary
from thinwire.compressors.combine import Chain, Induced, Scaled
from thinwire.compressors.plain import BFloat16, Float16, Identity
from thinwire.compressors.select import PermK, RandK, Selector, TopK

__all__ = [
    "BFloat16",
    "Chain",
    "Compressor",
    "Dither",
    "Float16",
    "Identity",
    "Induced",
    "Natural",
    "NaturalDither",
    "PermK",
    "RandK",
    "Rotated",
    "Scaled",
    "Selector",
    "Sign",
    "Ternary",
    "TopK",
]
