"""Tests marked `lab` are skipped, with the reason, where no lab can be made; small tensors get one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.lab.conftest import pytest_runtest_setup

__all__ = ["pytest_runtest_setup"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
