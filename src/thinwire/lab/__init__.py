"""Several hosts with slow links on one Linux machine.

>>> from thinwire.lab import Loopback, parse_rate
>>> parse_rate("100mbit")
100000000
"""

from __future__ import annotations

from thinwire.lab.hosts import Lab, LabUnavailable, Loopback
from thinwire.lab.rate import format_rate, parse_rate

__all__ = ["Lab", "LabUnavailable", "Loopback", "format_rate", "parse_rate"]
