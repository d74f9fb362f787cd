"""A checksum behind every block that a process sends to another, so that bytes damaged on their way are never averaged.

TCP's own checksum has 16 bits and ends at the network card: of the damage done by a bad card, switch, cable or memory
one packet in 65 536 passes, more on its way through the host. A CRC-32 finds every burst of up to 32 bits and all but
2⁻³² of other damage. zlib-ng's is taken: it reads memory several times as fast as the interpreter's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from zlib_ng import zlib_ng

BYTES = 4
"""What a checksum adds to a block."""


class Damaged(RuntimeError):
    """Blocks whose bytes are not those that were sent; `senders` are the processes that sent them."""

    def __init__(self, senders: Sequence[int]) -> None:
        super().__init__(f"wrong checksum of what rank {', '.join(map(str, senders))} sent")
        self.senders = senders


def sums(blocks: Tensor) -> Tensor:
    """(k, B) uint8 on a CPU -> (k, 4): the CRC-32 of each block (that of zlib and PNG), little-endian.

    >>> import torch
    >>> sums(torch.tensor([[0x31, 0x32], [0, 0]], dtype=torch.uint8)).tolist()
    [[205, 68, 83, 79], [255, 18, 217, 65]]
    """
    told = blocks.new_empty(len(blocks), BYTES)
    for block, place in zip(blocks.numpy(), told.numpy(), strict=True):
        place[:] = memoryview(zlib_ng.crc32(block).to_bytes(BYTES, "little"))
    return told


def check(blocks: Tensor, told: Tensor, own: int) -> None:
    """Whether (k, B) are what (k, 4) tell, block i being from process i; that of `own` has not been on the wire.

    Raises:
        Damaged: a checksum is not that of its block.
    """
    pairs = zip(blocks.numpy(), told.numpy(), strict=True)
    wrong = [
        sender
        for sender, (block, place) in enumerate(pairs)
        if sender != own and zlib_ng.crc32(block) != int.from_bytes(place.tobytes(), "little")
    ]
    if wrong:
        raise Damaged(wrong)


def seal(blocks: Tensor) -> Tensor:
    """(k, B) -> (k, B + 4): each block, then its checksum.

    >>> import torch
    >>> seal(torch.tensor([[0x31, 0x32]], dtype=torch.uint8)).tolist()
    [[49, 50, 205, 68, 83, 79]]
    """
    return torch.cat([blocks, sums(blocks)], dim=1)


def unseal(sealed: Tensor, own: int) -> Tensor:
    """(k, B + 4) -> (k, B), as `check` wants it.

    Raises:
        Damaged: a checksum is not that of its block.

    >>> import torch
    >>> sealed = seal(torch.zeros(3, 5, dtype=torch.uint8))
    >>> sealed[2, 1] = 8
    >>> unseal(sealed, own=0)
    Traceback (most recent call last):
    thinwire.comm.checksum.Damaged: wrong checksum of what rank 2 sent
    """
    blocks, told = sealed[:, :-BYTES], sealed[:, -BYTES:]
    check(blocks, told, own)
    return blocks.contiguous()
