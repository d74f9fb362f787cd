"""Splits are partitions of the rows, the same at every call, and as uneven as they were asked to be."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire.convex.split import Dirichlet, split

KINDS = ["even", "shuffled", "label", Dirichlet(1e-300), Dirichlet(0.1), Dirichlet(5.0), Dirichlet(1e300)]
kinds = pytest.mark.parametrize("by", KINDS, ids=str)
quick = settings(max_examples=60, deadline=None)


@st.composite
def cases(draw: Any) -> tuple[int, int, Any, int]:
    rows = draw(st.integers(1, 60))
    workers = draw(st.integers(1, rows))
    labels = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    return rows, workers, np.array(labels), draw(st.integers(0, 2**32))


@kinds
@quick
@given(case=cases())
def test_a_split_is_a_partition_in_order_and_the_same_again(by: Any, case: tuple[int, int, Any, int]) -> None:
    rows, workers, labels, seed = case
    shards = split(by, workers, rows, labels, seed)
    assert len(shards) == workers
    assert sorted(np.concatenate(shards).tolist()) == list(range(rows))
    for shard in shards:
        assert len(shard)
        assert shard.dtype == np.int64
        assert np.all(np.diff(shard) > 0)
    again = split(by, workers, rows, labels, seed)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))


@pytest.mark.parametrize("by", ["even", "shuffled", "label"])
@quick
@given(case=cases())
def test_even_lengths_differ_by_one_at_most(by: str, case: tuple[int, int, Any, int]) -> None:
    rows, workers, labels, seed = case
    lengths = [len(shard) for shard in split(by, workers, rows, labels, seed)]
    assert max(lengths) - min(lengths) <= 1


@quick
@given(case=cases())
def test_sorted_by_label_few_workers_see_several_classes(case: tuple[int, int, Any, int]) -> None:
    """Each cut between two workers lies inside one class or between two: classes + workers − 1 pairs at most."""
    rows, workers, labels, _ = case
    seen = [set(labels[shard].tolist()) for shard in split("label", workers, rows, labels)]
    assert sum(map(len, seen)) <= len(set(labels.tolist())) + workers - 1
    for one, after in pairwise(seen):
        assert max(one) <= min(after)


@quick
@given(labels=st.lists(st.sampled_from(["Oslo", "Rome", "Bern"]), min_size=1, max_size=30))
def test_groups_make_one_worker_each_in_sorted_order(labels: list[str]) -> None:
    shards = split(labels, None, len(labels))
    assert [{labels[row] for row in shard} for shard in shards] == [{name} for name in sorted(set(labels))]
    assert all(np.all(np.diff(shard) > 0) for shard in shards)
    with_number = split(np.array(labels), len(shards), len(labels))
    assert all(np.array_equal(a, b) for a, b in zip(shards, with_number, strict=True))


def test_even_is_contiguous() -> None:
    assert [shard.tolist() for shard in split("even", 3, 7)] == [[0, 1, 2], [3, 4], [5, 6]]


def test_seeds_differ() -> None:
    labels = np.arange(100) % 3
    for by in ("shuffled", Dirichlet(1.0)):
        one, other = (split(by, 4, 100, labels, seed) for seed in (0, 1))
        assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def shares(alpha: float) -> Any:
    """(draws, workers): worker i's share of a class of 1000, in 400 draws."""
    labels = np.repeat(np.arange(400), 1000)
    shards = split(Dirichlet(alpha), 4, len(labels), labels)
    return np.stack([np.bincount(labels[shard], minlength=400) for shard in shards], axis=1) / 1000


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_shares_have_the_moments_of_dirichlet(alpha: float) -> None:
    """Mean 1/n and variance (1/n)(1 − 1/n)/(nα + 1); 5 sigma over 400 draws, and cuts round."""
    got, variance = shares(alpha), (1 / 4) * (3 / 4) / (4 * alpha + 1)
    assert got.mean(0) == pytest.approx(1 / 4, abs=5 * np.sqrt(variance / 400) + 1e-3)
    squares = (got - 1 / 4) ** 2
    assert squares.mean(0) == pytest.approx(variance, abs=5 * squares.std() / np.sqrt(400) + 1e-3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: split("even", 4, 3), r"split\(by='even', workers=4, rows=3\): worker 3 would have no rows.*workers=3"),
        (lambda: split("even", 1, 0), "worker 0 would have no rows"),
        (lambda: split("even", 0, 3), "workers must be at least 1"),
        (lambda: split("even", None, 3), "workers must be at least 1"),
        (
            lambda: split("lable", 1, 3),
            "by must be one of 'even', 'shuffled', 'label'; got 'lable'. Did you mean 'label'",
        ),
        (lambda: split("label", 2, 3), "looks at labels. Pass labels="),
        (lambda: split(Dirichlet(1.0), 2, 3), "looks at labels. Pass labels="),
        (lambda: split("label", 2, 3, [0, 1]), r"labels must have shape \(3,\), one for each row; got \(2,\)"),
        (lambda: split([0, 1], None, 3), r"groups must have shape \(3,\), one for each row; got \(2,\)"),
        (lambda: split([0, 1, 0], 3, 3), "groups make one worker each, and there are 2. Use workers=None"),
        (lambda: split([], None, 0), "groups make one worker each, and there are 0"),
        (lambda: Dirichlet(0.0), r"Dirichlet\(alpha=0.0\): alpha must be a positive number"),
        (lambda: Dirichlet(float("nan")), "alpha must be a positive number"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
