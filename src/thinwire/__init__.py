"""thinwire: training and optimisation across machines that cannot talk much.

Workers send few bits, and what they send is the compressed *difference* between what they know now and what they have
already said. `attach` does it for a PyTorch DDP model; the parts are here to be combined.
"""

from thinwire.comm import Group, LocalGroup, PeerError, ProcessGroup
from thinwire.compressors import (
    BFloat16,
    Chain,
    Compressor,
    Dither,
    Float16,
    Identity,
    Induced,
    Natural,
    NaturalDither,
    PermK,
    RandK,
    Rotated,
    Scaled,
    Sign,
    Ternary,
    TopK,
)
from thinwire.exchange import Exchange, Outcome
from thinwire.keys import Key
from thinwire.link import Link, LinkState, Recursion
from thinwire.payload import Payload
from thinwire.presets import clag, dasha, dcgd, diana, ef14, ef21, ef_bv, lag, marina, rand_diana
from thinwire.spec import parse_compressor, parse_link, to_text
from thinwire.training import LinkMemory, PlainWire, Stats, Tally, Wire, all_reduce, attach, reduce_gradients_
from thinwire.version import __version__

__all__ = [
    "BFloat16",
    "Chain",
    "Compressor",
    "Dither",
    "Exchange",
    "Float16",
    "Group",
    "Identity",
    "Induced",
    "Key",
    "Link",
    "LinkMemory",
    "LinkState",
    "LocalGroup",
    "Natural",
    "NaturalDither",
    "Outcome",
    "Payload",
    "PeerError",
    "PermK",
    "PlainWire",
    "ProcessGroup",
    "RandK",
    "Recursion",
    "Rotated",
    "Scaled",
    "Sign",
    "Stats",
    "Tally",
    "Ternary",
    "TopK",
    "Wire",
    "__version__",
    "all_reduce",
    "attach",
    "clag",
    "dasha",
    "dcgd",
    "diana",
    "ef14",
    "ef21",
    "ef_bv",
    "lag",
    "marina",
    "parse_compressor",
    "parse_link",
    "rand_diana",
    "reduce_gradients_",
    "to_text",
]
