"""What a compressor costs here: as measured, or put together from what was measured of its like."""

from __future__ import annotations

from dataclasses import replace

from thinwire._check import fault
from thinwire.advisor.facts import Codec, Machine
from thinwire.compressors import Chain, Compressor, Scaled
from thinwire.spec import parse_compressor, to_text

LONG = 1 << 20
"""The length at which payloads are compared."""


def codec_of(machine: Machine, compressor: Compressor) -> Codec:
    """The costs of a compressor.

    1. As measured, if it was. 2. Of a chain: the selector's, and the code's on what is left. 3. Of the same kind with
    other arguments: those that differ in fewest, then in bytes.

    Raises:
        ValueError: nothing of its kind was measured.
    """
    text = to_text(compressor)
    if text in machine.codecs:
        return machine.codecs[text]
    if isinstance(compressor, Scaled):
        return codec_of(machine, compressor.inner)
    if isinstance(compressor, Chain):
        return _chained(machine, compressor)
    alike = [made for name in machine.codecs if type(made := parse_compressor(name)) is type(compressor)]
    if not alike:
        way_out = "Measure it: thinwire bench codec --json."
        raise ValueError(fault(text, "how long it takes on this machine is not known", None, way_out))
    nearest = min(alike, key=lambda made: _distance(made, compressor))
    return replace(machine.codecs[to_text(nearest)], source=f"{text} taken for {to_text(nearest)}")


def _distance(one: Compressor, other: Compressor) -> tuple[int, int]:
    """How many arguments differ, those that only set the size left out; then bytes."""
    first, second = one.arguments(), other.arguments()
    named = (first.keys() | second.keys()) - {"k", "bits", "workers"}
    differ = sum(first.get(name) != second.get(name) for name in named)
    return differ, abs(_bytes(one) - _bytes(other))


def _bytes(compressor: Compressor) -> int:
    return compressor.bind(1).nbytes(LONG)


def _chained(machine: Machine, chain: Chain) -> Codec:
    """Each worker's values are decoded by the code, and placed; all of them onto one vector."""
    select, code = codec_of(machine, chain.select), codec_of(machine, chain.code)
    kept = chain.select.kept(LONG) / LONG
    return Codec(
        encode=select.encode + kept * code.encode,
        decode=select.decode + kept * code.decode,
        receive=select.receive + kept * code.decode,
        onto=select.onto,
        source=f"{to_text(chain)} put together from its parts",
    )
