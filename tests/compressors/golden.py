"""Makes golden.json, the bytes that every version of the format must keep: `python -m tests.compressors.golden`.

To write it anew is right only together with a change of the format's version, which peers of the old one cannot read.
Rows that are not in the file yet are added without touching those that are: `python -m tests.compressors.golden --add`.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import torch

from thinwire import Compressor, Key

from .rows import ROWS

FILE = Path(__file__).with_name("golden.json")
X = [0.0, 7.0, -3.0, 1.0, 0.375, -0.625, 2.5, -7.0, 1e-3, -1e-3, 5.75]
"""Exact in float32 but for 1e-3; ties, a zero, both signs, and a length that fills no plane."""
LONG = [((i * 2654435761) % 2001 - 1000) / 8 for i in range(2500)]
"""Several blocks of most codes, with the last one not full."""
KEY = Key(seed=2024, step=3, tensor=1, ranks=range(2, 3))


def encoded(compressor: Compressor) -> dict[str, str]:
    """Under KEY, the payload of X in hexadecimal, and the SHA-256 of the payload of LONG."""
    short, long = (compressor.encode(torch.tensor([x]), KEY).data.numpy().tobytes() for x in (X, LONG))
    return {"payload": short.hex(), "sha256 of the long one": sha256(long).hexdigest()}


def main() -> None:
    """Write the file: all rows, or with --add the new ones."""
    kept: dict[str, dict[str, str]] = json.loads(FILE.read_text()) if "--add" in sys.argv else {}
    made = {name: kept.get(name) or encoded(row.compressor) for name, row in ROWS.items()}
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
