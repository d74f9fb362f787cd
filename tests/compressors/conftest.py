"""Fixtures of the compressor suite: the table as a parameter, and one thread."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch

from thinwire.kernels import cpu

from .rows import ROWS, Row

with warnings.catch_warnings():  # the suite holds for plain torch as well, where nothing was compiled
    warnings.simplefilter("ignore", RuntimeWarning)
    cpu.available()


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more threads, and a busy machine makes them wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=ROWS)
def row(request: pytest.FixtureRequest) -> Row:
    """Each row of the table in turn."""
    return ROWS[request.param]
