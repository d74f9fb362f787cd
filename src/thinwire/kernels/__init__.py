"""The hot loops, one signature each, whatever makes them: compiled code on the CPU, plain torch on any device.

`encode` and `decode` turn blocks of float32 into packed codes and back, bit for bit as docs/wire-format.md says;
`encode_difference` and `decode_mean` do it in one pass with the sender's and the receiver's arithmetic around them;
`smallest_draws`, `ranked_draws` and `largest_elements` select coordinates.
"""

from thinwire.kernels.cpu import single_thread
from thinwire.kernels.dispatch import decode, decode_mean, encode, encode_difference
from thinwire.kernels.format import Blocks, Format, Kind
from thinwire.kernels.reference import (
    largest_elements,
    nonfinite,
    ranked_draws,
    smallest_draws,
)

__all__ = [
    "Blocks",
    "Format",
    "Kind",
    "decode",
    "decode_mean",
    "encode",
    "encode_difference",
    "largest_elements",
    "nonfinite",
    "ranked_draws",
    "single_thread",
    "smallest_draws",
]
