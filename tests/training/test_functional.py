"""Frames, local momentum, and the functions for loops without DDP, in one process."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import thinwire as tw
from thinwire.training.frames import LARGEST_FRAME, SMALLEST_FRAME, cut_frames
from thinwire.training.policy import SMALL

POLICY = tw.Policy.usual(tw.dcgd(tw.Rotated(bits=3)))

shapes = st.lists(st.lists(st.integers(1, 300), min_size=0, max_size=3), min_size=1, max_size=20)


@given(shapes)
def test_frames_hold_every_parameter_once(listed: list[list[int]]) -> None:
    parameters = [(f"p{i}", nn.Parameter(torch.empty(shape, device="meta"))) for i, shape in enumerate(listed)]
    frames = cut_frames(parameters, POLICY)
    slots = [slot for frame in frames for slot in frame.slots]
    assert sorted(slot.name for slot in slots) == sorted(name for name, _ in parameters)
    sizes = dict(parameters)
    for frame in frames:
        at = 0
        for slot in frame.slots:
            p = sizes[slot.name]
            assert (slot.start, slot.size) == (at, p.numel())
            assert (frame.sender is not None) == (p.ndim > 1 and p.numel() >= SMALL)
            at += slot.size
        assert frame.d == at
    assert sum(frame.sender is None for frame in frames) <= 1


def test_frames_of_a_large_model_are_neither_small_nor_large() -> None:
    parameters = [(f"w{i}", nn.Parameter(torch.empty(1000, 1000, device="meta"))) for i in range(40)]
    frames = cut_frames(parameters, POLICY)
    most = LARGEST_FRAME * 3 // 2 + 1_000_000  # a rest of less than half a frame joins the last, whole parameters each
    assert all(SMALLEST_FRAME <= frame.d <= most for frame in frames)
    assert frames[0].slots[0].name == "w39", "the last registered is the first that the backward pass finishes"


def test_frozen_parameters_do_not_travel() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    net[0].requires_grad_(False)
    names = {slot.name for frame in cut_frames(net.named_parameters(), POLICY) for slot in frame.slots}
    assert names == {"1.weight", "1.bias"}
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        cut_frames(net[0].named_parameters(), POLICY)


def test_local_momentum_is_the_running_average() -> None:
    net, memory = nn.Linear(64, 64), tw.LinkMemory()
    average, beta = torch.zeros(64, 64), 0.9
    for step in range(1, 6):
        gradient = torch.randn(64, 64)
        net.weight.grad, net.bias.grad = gradient.clone(), torch.zeros(64)
        tw.reduce_gradients_(net.named_parameters(), "dcgd(identity())", memory, tw.LocalGroup(1), momentum=beta)
        average = beta * average + (1 - beta) * gradient
        # both are float32 recursions of 5 steps in slightly different order
        torch.testing.assert_close(net.weight.grad, average / (1 - beta**step), rtol=1e-5, atol=1e-6)


def test_parameters_that_are_frozen_in_between_are_left_alone() -> None:
    model, memory = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)), tw.LinkMemory()
    for frozen in (False, True, False):
        model.zero_grad()
        model[0].requires_grad_(not frozen)
        model(torch.ones(1, 64)).sum().backward()
        tw.reduce_gradients_(model.named_parameters(), "dcgd(rotated(4))", memory, tw.LocalGroup(1))
        assert (model[0].weight.grad is None) == frozen
        assert model[1].weight.grad.any()
    memory = tw.LinkMemory()
    tw.reduce_gradients_(model[1].named_parameters("1"), "dcgd(rotated(4))", memory, tw.LocalGroup(1))
    with pytest.raises(ValueError, match=r"those of the first call; got \['0.weight', '0.bias'\]"):
        tw.reduce_gradients_(model.named_parameters(), "dcgd(rotated(4))", memory, tw.LocalGroup(1))


def test_a_missing_gradient_counts_as_zeros() -> None:
    net = nn.Linear(64, 64)
    net.weight.grad = torch.ones(64, 64)
    tw.reduce_gradients_(net.named_parameters(), "dcgd(identity())", tw.LinkMemory(), tw.LocalGroup(1))
    assert bool((net.weight.grad == 1).all())
    assert bool((net.bias.grad == 0).all())


def test_what_would_not_shrink_is_sent_as_it_is_and_said() -> None:
    net = nn.Linear(64, 64)
    net.weight.grad, net.bias.grad = torch.ones(64, 64), torch.ones(64)
    link = tw.dcgd(tw.Induced(tw.TopK(0.9), tw.RandK(0.9)))
    with pytest.warns(UserWarning, match=r"makes \d+ bytes of 4096 float32 values: sent as they are \(weight\)"):
        tw.reduce_gradients_(net.named_parameters(), link, memory := tw.LinkMemory(), tw.LocalGroup(1))
    assert memory.reducer is not None
    assert len(memory.reducer.stats().notes) == 1
    assert bool((net.weight.grad == 1).all())


@pytest.mark.parametrize("link", ["diana(randk(0.2))", "ef14(topk(0.1))", "marina(natural())"])
def test_all_reduce_resumes_bit_for_bit(link: str) -> None:
    group, vectors = tw.LocalGroup(4), [torch.randn(4, 50) for _ in range(8)]
    whole, first, second = tw.LinkMemory(), tw.LinkMemory(), tw.LinkMemory()
    expected = [tw.all_reduce(v, link, whole, group) for v in vectors]
    for v in vectors[:4]:
        tw.all_reduce(v, link, first, group)
    second.load_state_dict(first.state_dict())
    for v, wanted in zip(vectors[4:], expected[4:], strict=True):
        assert bool((tw.all_reduce(v, link, second, group) == wanted).all())


def test_all_reduce_of_what_is_not_finite() -> None:
    group, memory, link = tw.LocalGroup(2), tw.LinkMemory(), "diana(rotated(2))"
    other = tw.LinkMemory()
    good = [torch.randn(2, 300) for _ in range(3)]
    tw.all_reduce(good[0], link, memory, group)
    tw.all_reduce(good[0], link, other, group)
    bad = good[1].clone()
    bad[1, 7] = float("inf")
    assert bool(tw.all_reduce(bad, link, memory, group).isnan().all())
    assert bool((tw.all_reduce(good[2], link, memory, group) == tw.all_reduce(good[2], link, other, group)).all())


def test_errors_say_what_to_do() -> None:
    group, memory = tw.LocalGroup(2), tw.LinkMemory()
    with pytest.raises(ValueError, match="a group that holds 2 workers takes one row for each"):
        tw.all_reduce(torch.zeros(3, 5), "dcgd(identity())", memory, group)
    tw.all_reduce(torch.zeros(2, 5), "dcgd(identity())", memory, group)
    with pytest.raises(ValueError, match="each tensor has a memory of its own"):
        tw.all_reduce(torch.zeros(2, 6), "dcgd(identity())", memory, group)
    other = tw.LinkMemory()
    other.load_state_dict(memory.state_dict())
    for _ in range(2):  # it is not forgotten
        with pytest.raises(ValueError, match=r"link is 'ef14\(sign\(\)\)' here; got 'dcgd\(identity\(bits=32\)\)'"):
            tw.all_reduce(torch.zeros(2, 5), "ef14(sign())", other, group)
    with pytest.raises(TypeError, match="Wrap the model first"):
        tw.attach(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"init_process_group first, or use LocalGroup\(n\)"):
        tw.ProcessGroup()


def test_another_link_or_momentum_needs_another_memory() -> None:
    net, memory = nn.Linear(64, 64), tw.LinkMemory()
    net(torch.ones(1, 64)).sum().backward()
    tw.reduce_gradients_(net.named_parameters(), "ef14(topk(0.1))", memory, tw.LocalGroup(1))
    for link, momentum in (("ef21(topk(0.1))", None), ("ef14(topk(0.1))", 0.9)):
        with pytest.raises(ValueError, match="Each link has a memory of its own"):
            tw.reduce_gradients_(net.named_parameters(), link, memory, tw.LocalGroup(1), momentum=momentum)


def test_gradients_that_were_given_stay_what_they_were() -> None:
    net, memory = nn.Linear(64, 64), tw.LinkMemory()
    kept = []
    for factor in (1.0, 2.0):
        net.zero_grad()
        (factor * net(torch.ones(1, 64))).sum().backward()
        tw.reduce_gradients_(net.named_parameters(), "dcgd(identity())", memory, tw.LocalGroup(1))
        kept.append(net.weight.grad)
    assert bool((kept[0] == 1).all())
    assert bool((kept[1] == 2).all())
