from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..training.fleet import Fleet


@pytest.fixture(scope="session")
def pair() -> Iterator[Fleet]:
    """Two processes."""
    made = Fleet(2)
    yield made
    made.close()
