"""Bandwidths and times as people type them."""

from __future__ import annotations

import math
import re

from thinwire._check import fault

BITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]+)\s*", re.IGNORECASE)


def bandwidth(where: str, text: str) -> float:
    """Bytes a second of so many bits a second; infinite for 'none', which is no limit.

    Raises:
        ValueError: it is neither, or not above 0.

    >>> bandwidth("--bandwidth", "1gbit"), bandwidth("--bandwidth", "none")
    (125000000.0, inf)
    """
    if text.strip().lower() == "none":
        return math.inf
    bits = _read(where, text, BITS, "a bandwidth is a number and kbit, mbit, gbit or tbit, or 'none'", "1gbit")
    if not bits:
        raise ValueError(fault(where, "a bandwidth is above 0", text))
    return bits / 8


def seconds(where: str, text: str) -> float:
    """Seconds.

    Raises:
        ValueError: it is no time.

    >>> seconds("--latency", "250us"), seconds("--compute", "1.5 s")
    (0.00025, 1.5)
    """
    return _read(where, text, TIMES, "a time is a number and us, ms or s", "250ms")


def _read(where: str, text: str, units: dict[str, float], rule: str, example: str) -> float:
    match = _FORM.fullmatch(text.replace("µ", "u"))
    if match is None or match[2].lower() not in units:
        raise ValueError(fault(where, rule, text, f"Write for example {example}."))
    return round(float(match[1]) * units[match[2].lower()], 15)


def bandwidth_text(rate: float) -> str:
    """Bytes a second in bits.

    >>> bandwidth_text(125e6), bandwidth_text(2.5e6), bandwidth_text(float("inf"))
    ('1 Gb/s', '20 Mb/s', 'no limit')
    """
    if math.isinf(rate):
        return "no limit"
    unit, size = next(((name, size) for name, size in reversed(BITS.items()) if 8 * rate >= size), ("kbit", 1e3))
    return f"{8 * rate / size:.3g} {unit[0].upper() if unit != 'kbit' else 'k'}b/s"


def seconds_text(value: float) -> str:
    """Three digits and a unit.

    >>> seconds_text(0.25), seconds_text(1.5e-5), seconds_text(12)
    ('250 ms', '15 µs', '12 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
