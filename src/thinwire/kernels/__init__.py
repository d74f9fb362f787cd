"""The hot loops, one signature each, whatever makes them: compiled code on the CPU, plain torch on any device.

`encode` and `decode` turn blocks of float32 into packed codes and back, bit for bit as docs/wire-format.md says;
`encode_difference` and `decode_mean` do it in one pass with the sender's and the receiver's arithmetic around them;
`smallest_draws` and `ranked_draws` choose coordinates; `pick_runs` and `pick_largest` gather what was chosen, and
`place_runs` and `place_largest` put it back. `nonfinite` says which rows hold a NaN or an Inf. `into_geometry` and
`out_of_geometry` divide by scales, powers of two, and multiply with them; `change_geometry` does both.
"""

from thinwire.kernels.cpu import single_thread
from thinwire.kernels.dispatch import decode, decode_mean, encode, encode_difference
from thinwire.kernels.format import Blocks, Format, Kind
from thinwire.kernels.geometry import change_geometry, into_geometry, out_of_geometry
from thinwire.kernels.memory import fresh
from thinwire.kernels.reference_sparse import index_bits
from thinwire.kernels.sparse import (
    nonfinite,
    pick_largest,
    pick_runs,
    place_largest,
    place_runs,
    ranked_draws,
    smallest_draws,
)

__all__ = [
    "Blocks",
    "Format",
    "Kind",
    "change_geometry",
    "decode",
    "decode_mean",
    "encode",
    "encode_difference",
    "fresh",
    "index_bits",
    "into_geometry",
    "nonfinite",
    "out_of_geometry",
    "pick_largest",
    "pick_runs",
    "place_largest",
    "place_runs",
    "ranked_draws",
    "single_thread",
    "smallest_draws",
]
