"""A checksum behind every block that a process sends to another, so that bytes damaged on their way are never averaged.

TCP's own checksum has 16 bits and ends at the network card: of the damage done by a bad card, switch, cable or memory
one packet in 65 536 passes, more on its way through the host. A CRC-32 finds every burst of up to 32 bits and all but
2⁻³² of other damage, and costs less than the bytes' way through the socket.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from torch import Tensor

BYTES = 4
"""What a checksum adds to a block."""


class Damaged(RuntimeError):
    """Blocks whose bytes are not those that were sent; `senders` are the processes that sent them."""

    def __init__(self, senders: Sequence[int]) -> None:
        super().__init__(f"wrong checksum of what rank {', '.join(map(str, senders))} sent")
        self.senders = senders


def seal(blocks: Tensor) -> Tensor:
    """(k, B) uint8 on a CPU -> (k, B + 4): each block, then its CRC-32 (that of zlib and PNG), little-endian.

    >>> import torch
    >>> seal(torch.tensor([[0x31, 0x32], [0, 0]], dtype=torch.uint8)).tolist()
    [[49, 50, 205, 68, 83, 79], [0, 0, 255, 18, 217, 65]]
    """
    k, size = blocks.shape
    sealed = blocks.new_empty(k, size + BYTES)
    sealed[:, :size] = blocks
    raw = sealed.numpy()
    for block in raw:
        block[size:] = memoryview(zlib.crc32(block[:size]).to_bytes(BYTES, "little"))
    return sealed


def unseal(sealed: Tensor, own: int) -> Tensor:
    """(k, B + 4) -> (k, B), block i being from process i; that of `own`, this process, has not been on the wire.

    Raises:
        Damaged: a checksum is not that of its block.

    >>> import torch
    >>> sealed = seal(torch.zeros(3, 5, dtype=torch.uint8))
    >>> sealed[2, 1] = 8
    >>> unseal(sealed, own=0)
    Traceback (most recent call last):
    thinwire.comm.checksum.Damaged: wrong checksum of what rank 2 sent
    """
    size = sealed.shape[1] - BYTES
    raw = sealed.numpy()
    wrong = [
        sender
        for sender, block in enumerate(raw)
        if sender != own and zlib.crc32(block[:size]) != int.from_bytes(block[size:].tobytes(), "little")
    ]
    if wrong:
        raise Damaged(wrong)
    return sealed[:, :size].contiguous()
