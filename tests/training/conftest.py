from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Three processes: an odd number, so that nothing divides by luck."""
    made = Fleet(3)
    yield made
    made.close()
