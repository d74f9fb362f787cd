"""The text: the same every time, nothing held out that was trained on, batches seeded by (seed, step, rank)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thinwire.demo.text import BLOCK, HOLD_OUT, MIN_BYTES, Corpus, batch, held_out_batch, load_corpus, split


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus()


def test_the_same_text_every_time(corpus: Corpus) -> None:
    again = load_corpus()
    assert torch.equal(corpus.train, again.train)
    assert torch.equal(corpus.held_out, again.held_out)


def test_the_split_is_disjoint_and_whole() -> None:
    size = 41 * BLOCK + 17
    position = torch.arange(size)
    data = (position * 131 + position // 256 * 7).to(torch.uint8).numpy().tobytes().replace(b"\n", b" ")
    parts = split("numbers", data)
    assert len(parts.train) + len(parts.held_out) == size
    whole = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    held = [whole[start : start + BLOCK] for start in range((HOLD_OUT - 1) * BLOCK, size, HOLD_OUT * BLOCK)]
    assert torch.equal(parts.held_out, torch.cat(held))


def test_nothing_held_out_occurs_in_training(corpus: Corpus) -> None:
    train = corpus.train.numpy().tobytes()
    paragraphs = corpus.held_out.numpy().tobytes().split(b"\n\n")
    long = [paragraph for paragraph in paragraphs if len(paragraph) > 120]
    assert len(long) > 20
    assert not any(paragraph in train for paragraph in long)


def test_batches_are_functions_of_seed_step_and_rank(corpus: Corpus) -> None:
    def first(**changed: int) -> torch.Tensor:
        return batch(corpus.train, 4, 64, **{"seed": 0, "step": 0, "rank": 0, **changed})[0]

    assert torch.equal(first(), first())
    for changed in ({"seed": 1}, {"step": 1}, {"rank": 1}):
        assert not torch.equal(first(), first(**changed))


def test_targets_are_the_next_bytes(corpus: Corpus) -> None:
    for inputs, targets in (batch(corpus.train, 3, 32, 0, 5, 2), held_out_batch(corpus, 3, 32)):
        assert inputs.shape == targets.shape == (3, 32)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_a_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(b"".join(b"line %d of my own text\n" % number for number in range(MIN_BYTES // 16)))
    assert load_corpus(path).name == "own.txt"


def test_a_short_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("too short")
    with pytest.raises(ValueError, match=r"needs at least 81,920 bytes of text.*got 9"):
        load_corpus(path)


def test_repetition_does_not_make_a_text_long() -> None:
    with pytest.raises(ValueError, match="repeated paragraphs count once"):
        split("again", b"the same paragraph\n\n" * MIN_BYTES)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.txt.*cannot be read"):
        load_corpus(tmp_path / "nowhere.txt")
