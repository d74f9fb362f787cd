"""Link rates as text: '100mbit', '2.5gbit', 'none'."""

from __future__ import annotations

import re

from thinwire._check import call, fault

UNITS = {"kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
LOWEST = 1_000
HIGHEST = 100_000_000_000
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([kmg]bit)\s*", re.IGNORECASE)


def parse_rate(text: str) -> int | None:
    """Bits per second of a link rate, None for 'none' (a link that is not shaped).

    Units are decimal, as `tc` and network cards count: 1mbit is 1,000,000 bits a second.

    >>> parse_rate("100mbit")
    100000000
    >>> parse_rate("2.5 Gbit")
    2500000000
    >>> parse_rate("none") is None
    True
    >>> parse_rate("100MB")
    Traceback (most recent call last):
    ValueError: parse_rate('100MB'): a rate is a number followed by kbit, mbit or gbit, or 'none'. Write for example
    '500kbit', '100mbit', '2.5gbit' or 'none' (bits a second, not bytes: 1 MB/s is 8mbit).
    """
    where = f"parse_rate({text!r})"
    if text.strip().lower() == "none":
        return None
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            fault(
                where,
                "a rate is a number followed by kbit, mbit or gbit, or 'none'",
                way_out="Write for example '500kbit', '100mbit', '2.5gbit' or 'none' "
                "(bits a second, not bytes: 1 MB/s is 8mbit).",
            )
        )
    rate = round(float(match[1]) * UNITS[match[2].lower()])
    if not LOWEST <= rate <= HIGHEST:
        raise ValueError(fault(where, "a rate must be 1kbit to 100gbit", way_out="Write 'none' for no shaping."))
    return rate


def format_rate(rate: int | None) -> str:
    """The shortest text that parses back to the same rate.

    >>> format_rate(2_500_000_000), format_rate(None), format_rate(1_234)
    ('2.5gbit', 'none', '1.234kbit')
    """
    if rate is None:
        return "none"
    unit = next(name for name, size in reversed(UNITS.items()) if rate >= size or name == "kbit")
    whole, rest = divmod(rate, UNITS[unit])
    digits = f"{rest:0{len(str(UNITS[unit])) - 1}d}".rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"


def checked(hosts: int, rate: str | None, where: str = "Lab") -> int | None:
    """The parsed rate of a lab with so many hosts, or ValueError naming the argument that is wrong."""
    if not 1 <= hosts <= 250:
        raise ValueError(fault(call(where, hosts=hosts), "hosts must be 1 to 250 (one /24 network)", hosts))
    return None if rate is None else parse_rate(rate)
