"""Figures as JSON can hold them, in which nothing is infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """What is not finite is None, wherever it stands in lists and mappings.

    >>> finite({"seconds": [1.5, float("inf")], "name": "ddp"})
    {'seconds': [1.5, None], 'name': 'ddp'}
    """
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def known(told: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None, so that the defaults of a class stand for it.

    >>> known({"bandwidth": None, "latency": 0.001})
    {'latency': 0.001}
    """
    return {name: value for name, value in told.items() if value is not None}
