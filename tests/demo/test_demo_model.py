"""The model: one to two million parameters, seeded, causal, and it learns."""

from __future__ import annotations

import math

import pytest
import torch

from thinwire.demo.model import Gpt, GptShape, count_parameters, next_byte_loss
from thinwire.demo.text import batch, load_corpus

SMALL = GptShape(context=32, width=32, layers=2, heads=2)


def test_one_to_two_million_parameters() -> None:
    shape = GptShape()
    matrices = shape.layers * 12 * shape.width**2 + (shape.vocabulary + shape.context) * shape.width
    norms = (2 * shape.layers + 1) * shape.width
    assert count_parameters(Gpt(shape, seed=0)) == matrices + norms
    assert 1e6 < matrices < 2e6


def test_weights_are_a_function_of_the_seed() -> None:
    first = Gpt(SMALL, seed=3).state_dict()
    torch.manual_seed(99)
    again, other = Gpt(SMALL, seed=3).state_dict(), Gpt(SMALL, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_no_position_sees_what_comes_after_it() -> None:
    model = Gpt(SMALL, seed=0)
    tokens = torch.randint(256, (1, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 256
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :10], after[:, :10], rtol=0, atol=1e-5)
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_the_loss_starts_near_uniform_and_falls() -> None:
    corpus = load_corpus()
    model = Gpt(SMALL, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        inputs, targets = batch(corpus.train, 16, 32, seed=0, step=step, rank=0)
        loss = next_byte_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(256), rel=0.1)
    # The entropy of single bytes in this text is 3.27 nats: anything that learns at all gets there from 5.55.
    assert min(losses[-5:]) < 3.6


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        GptShape(width=30, heads=4)
