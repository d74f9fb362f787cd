"""Whether this machine can make a lab, asked once; where it cannot, tests marked `lab` are skipped with its reason."""

from __future__ import annotations

import functools

import pytest

from thinwire.lab import Lab, LabUnavailable


@functools.cache
def lack() -> str | None:
    try:
        with Lab(hosts=1, rate="1gbit"):
            return None
    except LabUnavailable as error:
        return str(error)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("lab") and (reason := lack()):
        pytest.skip(f"no lab on this machine: {reason}")
