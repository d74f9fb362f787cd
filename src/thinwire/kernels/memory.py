"""Memory for large results: fresh pages cost more than the kernels that fill them, unless they are huge."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64, c_void_p
from functools import lru_cache

import torch
from torch import Tensor

from thinwire.kernels.cpu import loaded


@lru_cache(maxsize=1)
def _huge_pages() -> Callable[[int, int], None] | None:
    library = loaded()
    if isinstance(library, str):
        return None
    library.thinwire_huge_pages.restype, library.thinwire_huge_pages.argtypes = None, (c_void_p, c_int64)
    return library.thinwire_huge_pages


def fresh(rows: int, width: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """(rows, width) of anything, to be written throughout.

    >>> fresh(2, 3, torch.float32).shape
    torch.Size([2, 3])
    """
    out = torch.empty(rows, width, dtype=dtype, device=device)
    advise = _huge_pages()
    if advise and out.device.type == "cpu":
        advise(out.data_ptr(), out.nbytes)
    return out
