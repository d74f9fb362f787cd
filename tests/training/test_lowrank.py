"""PowerSGD in one process: what it must equal, what is conserved, and how good it must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import thinwire as tw
from tests.reference.lowrank import PowerSGD
from thinwire.keys import SHARED, Purpose, philox_one
from thinwire.lowrank import Plan
from thinwire.rounds import finish, finish_all
from thinwire.training.lowrank import LowRankExchange
from thinwire.training.reducer import Reducer, Settings

EPS = torch.finfo(torch.float32).eps
SHAPES = [(24, 40), (7,), (24, 40), (16, 5, 3, 3), (3, 2), (64, 16)]
WHOLE = [slice(960, 967), slice(1927 + 720, 1927 + 726)]
"""(7,) and (3, 2): two directions would not shrink them."""
D = sum(int(np.prod(shape)) for shape in SHAPES)
N = 3


def exchange(link: tw.LowRank | None = None, n: int = N) -> LowRankExchange:
    return LowRankExchange(link or tw.LowRank(2), SHAPES, tw.LocalGroup(n))


def step(made: LowRankExchange, v: Tensor, number: int = 0, *, dense: bool = False) -> Tensor:
    outcome = finish(made.round(v, number, dense=dense))
    made.commit(outcome)
    return outcome.estimate


def owed(made: LowRankExchange) -> Tensor:
    """(rows, d), E_i."""
    return torch.as_tensor(made.state_dict()["up.error"])


def vectors(seed: int, n: int = N) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("local", [True, False])
def test_it_is_the_twin_whichever_memory_the_twin_has(local: bool) -> None:
    """Only the mean of the memories reaches the estimates, so both memories give the same ones.

    A direction is known to a rounding times the ratio of the sizes that it separates, here below 2^4, and rounding is
    that of sums of a b numbers: √(ab) of 2^-24 of ‖M‖; ten steps add up.
    """
    a, b, r = 24, 40, 2
    made = LowRankExchange(tw.LowRank(r), [(a, b)], tw.LocalGroup(N))
    (stack,) = made.plan.stacks
    twin = PowerSGD(stack.right(made.state.basis)[0].t().numpy().astype(np.float64), local=local)
    for number in range(10):
        g = torch.randn(N, a, b, generator=torch.Generator().manual_seed(number)) * torch.logspace(0, -3, b)
        ours, wanted = step(made, g.reshape(N, -1), number), twin.step(g.numpy().astype(np.float64))
        error = np.linalg.norm(ours.view(a, b).numpy() - wanted)
        assert error <= 10 * 2**4 * (a * b) ** 0.5 * 2.0**-24 * np.linalg.norm(wanted)
    if local:
        assert np.linalg.norm(owed(made).view(N, a, b).numpy() - twin.e) <= 1e-4 * np.linalg.norm(twin.e)


def test_a_memory_never_exceeds_what_it_is_left_from() -> None:
    """E_i = (I − PPᵀ) M_i; of the paper's M_i − Ĝ this is false as soon as workers differ."""
    made, before = exchange(), torch.zeros(N, D)
    for number in range(5):
        v = vectors(number)
        step(made, v, number)
        m = v + before
        before = owed(made)
        assert bool((before.norm(dim=1) <= m.norm(dim=1)).all())


@pytest.mark.parametrize("dense", [False, True])
def test_what_is_sent_and_what_is_owed_is_what_was_there(dense: bool) -> None:
    """mean(v + E) = estimate + mean(E'): a few roundings of each of the rank + 2 terms, of numbers below 10."""
    made, before = exchange(), torch.zeros(N, D)
    for number in range(6):
        v = vectors(number)
        estimate = step(made, v, number, dense=dense and number == 3)
        after = owed(made)
        left = (v + before).mean(0) - estimate - after.mean(0)
        assert left.abs().max() <= 8 * EPS * 10
        assert bool((after == 0).all()) == (dense and number == 3)
        before = after


def test_what_would_not_shrink_is_the_mean() -> None:
    v = vectors(0)
    estimate = step(exchange(), v)
    plain = tw.all_reduce(v, tw.dcgd(tw.Identity()), tw.LinkMemory(), tw.LocalGroup(N))
    for part in WHOLE:
        assert torch.equal(estimate[part], plain[part])


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("memory", [True, False])
def test_what_two_directions_can_say_comes_back_exactly(rank: int, memory: bool) -> None:
    """Workers of any rank, whose mean is a fixed matrix of rank at most 2: once Q is warm, exact to rounding.

    That is of sums of up to 64 products of the workers' own values, which are up to twice as large as their mean.
    """
    made, generator = exchange(tw.LowRank(2, memory=memory)), torch.Generator().manual_seed(1)
    mean, start = torch.zeros(D), 0
    for shape in SHAPES:
        size = int(np.prod(shape))
        if size > 7:
            a, b = shape[0], size // shape[0]
            left, right = torch.randn(a, rank, generator=generator), torch.randn(rank, b, generator=generator)
            mean[start : start + size] = (left @ right).view(-1)
        start += size
    for number in range(4):
        v = torch.randn(N, D, generator=generator)
        v += mean - v.mean(0)
        error = (step(made, v, number) - mean).norm()
        assert number == 0 or error <= 2 * 64 * EPS * mean.norm()


def test_without_memory_it_is_a_projection_of_the_mean() -> None:
    made = exchange(tw.LowRank(2, memory=False))
    v = vectors(0)
    estimate, mean = step(made, v)[:960].view(24, 40), v.mean(0)[:960].view(24, 40)
    left = mean - estimate
    assert torch.linalg.matrix_rank(estimate, rtol=1e-5) == 2
    assert (estimate.t() @ left).abs().max() <= 24 * 10 * EPS * 10  # orthogonal: sums of 24 products
    assert set(made.state_dict()) == {"basis"}


def test_a_warm_start_finds_the_largest_directions() -> None:
    """Of a fixed matrix with a gap: after ten steps the error is within 1 % of the best that rank 2 can do."""
    made = LowRankExchange(tw.LowRank(2, memory=False), [(24, 40)], tw.LocalGroup(1))
    g = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(g, full_matrices=False)
    s[:2] *= 3
    g = u @ s.diag() @ v
    errors = [float((step(made, g.reshape(1, -1), t).view(24, 40) - g).norm()) for t in range(10)]
    assert errors[-1] <= 1.01 * float(s[2:].norm()) < errors[0]


def test_the_mean_of_what_is_sent_is_the_mean_of_what_is_there() -> None:
    """With memory Σ estimates = Σ v − mean(E), which stays bounded: of a constant vector the running mean converges."""
    made, v, total = exchange(), vectors(0), torch.zeros(D)
    errors = []
    for number in range(80):
        total += step(made, v, number)
        errors.append(float((total / (number + 1) - v.mean(0)).norm() / v.mean(0).norm()))
    assert errors[79] < 0.75 * errors[39]  # 40/80, if mean(E) did not change at all
    assert errors[79] < 0.2


def test_directions_survive_steps_without_gradients() -> None:
    made, v = exchange(), vectors(0)
    fresh = exchange()
    for number in range(3):
        assert bool((step(made, torch.zeros(N, D), number) == 0).all())
    assert torch.equal(step(made, v, 3), step(fresh, v, 3))


@pytest.mark.parametrize("power", [-60, -7, 60])
def test_scale_is_of_no_consequence(power: int) -> None:
    """A power of two times all gradients is that power of two times all that follows, bit for bit."""
    one, other = exchange(), exchange()
    for number in range(3):
        v = vectors(number)
        assert torch.equal(step(one, v, number) * 2.0**power, step(other, v * 2.0**power, number))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=0, max_size=3), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_any_shapes(listed: list[list[int]], rank: int, n: int) -> None:
    shapes = [*map(tuple, listed), (20, 20)]
    made = LowRankExchange(tw.LowRank(rank), shapes, tw.LocalGroup(n))
    v = torch.randn(n, made.d, generator=torch.Generator().manual_seed(0))
    outcome = finish(made.round(v, 0))
    made.commit(outcome)
    assert outcome.finite
    left = v.mean(0) - outcome.estimate - owed(made).mean(0)
    assert left.abs().max() <= (rank + 4) * EPS * 40
    small = [move for moves in made.plan.moves for move in moves]
    assert sum(part.stop - part.start for part in (*made.plan.whole, *(move.frame for move in small))) == made.d


POISON = [(bad, at, dense) for bad in (float("nan"), -float("inf")) for at in (3, 960) for dense in (False, True)]


@pytest.mark.parametrize(("poison", "at", "dense"), [*POISON, (1e30, 3, False)])
def test_a_step_that_is_not_finite_leaves_no_trace(poison: float, at: int, dense: bool) -> None:
    """In a matrix (3) and in what travels whole (960); products of 1e30 are finite, but their sums might not be."""
    hurt, spared = exchange(), exchange()
    for number in range(3):
        step(hurt, vectors(number), number)
        step(spared, vectors(number), number)
    v = vectors(3)
    v[1, at] = poison
    before = hurt.state_dict()
    outcome = finish(hurt.round(v, 3, dense=dense))
    hurt.commit(outcome)
    assert not outcome.finite
    assert bool(outcome.estimate.isnan().all())
    assert all(torch.equal(torch.as_tensor(part), torch.as_tensor(before[k])) for k, part in hurt.state_dict().items())
    for number in range(3, 6):
        assert torch.equal(step(hurt, vectors(number), number), step(spared, vectors(number), number))


def test_bytes_are_those_of_two_all_reduces() -> None:
    link = tw.LowRank(2)
    outcome = finish(exchange(link).round(vectors(0), 0))
    first = 2 * (24 + 24 + 16 + 64) + 7 + 6 + 1  # all P, what travels whole, a flag
    second = 2 * (40 + 40 + 45 + 16) + 1
    assert outcome.sent["up"] == (N - 1) * 4 * (-(-first // N) + -(-second // N))
    assert outcome.sent["down"] == outcome.sent["up"]
    assert link.nbytes(SHAPES) == 4 * (first + second)
    assert finish(exchange(link).round(vectors(0), 1, dense=True)).sent["up"] == (N - 1) * 4 * -(-(D + 1) // N)


def test_the_relative_error_is_that_of_the_memories() -> None:
    made, v = exchange(), vectors(0)
    outcome = finish(made.round(v, 0))
    made.commit(outcome)
    assert outcome.error is not None
    for squares, x in zip(outcome.error, (owed(made), v), strict=True):
        parts = x.split([int(np.prod(shape)) for shape in SHAPES], dim=1)
        torch.testing.assert_close(squares, torch.stack([part.square().sum() for part in parts]))
    assert finish(made.round(v, 1)).error is None


def test_a_state_that_does_not_fit_is_refused() -> None:
    made = exchange()
    with pytest.raises(ValueError, match=r"its parts are basis, up.error"):
        made.load_state_dict({"basis": torch.zeros(1, 3)})
    with pytest.raises(ValueError, match=r"basis has shape \(1, 282\)"):
        made.load_state_dict(made.state_dict() | {"basis": torch.zeros(1, 3)})


def test_arguments() -> None:
    for rank in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=r"LowRank\(rank=.*\): rank must be a whole number, at least 1"):
            tw.LowRank(rank)  # type: ignore[arg-type]
    assert tw.parse_sender("lowrank(4)") == tw.LowRank(4)
    for text in ("lowrank(4)", "lowrank(1, memory=False)"):
        assert tw.to_text(tw.parse_sender(text)) == text
    with pytest.raises(ValueError, match="carries matrices of gradients"):
        tw.parse_link("lowrank(4)")
    with pytest.raises(ValueError, match="each stage is a link"):
        tw.Stages({0: tw.LowRank(4)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="allreduce is its only route"):
        Reducer(nn.Linear(64, 64).named_parameters(), Settings(tw.LowRank(4), route="gather"), tw.LocalGroup(2))
    down = tw.dcgd(tw.Rotated(bits=3))
    with pytest.raises(ValueError, match="it has no downlink"):
        Reducer(nn.Linear(64, 64).named_parameters(), Settings(tw.LowRank(4), down=down), tw.LocalGroup(2))
    with pytest.warns(UserWarning, match="sent as they are"):
        Reducer(nn.Linear(64, 64).named_parameters(), Settings(tw.LowRank(40)), tw.LocalGroup(2))


def reduced(reducer: Reducer, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    for name, shape in reducer.shapes.items():
        for row in range(N):
            reducer.put(name, torch.randn(shape, generator=generator), row)
    return torch.cat([part.clone() for part in finish_all([reducer.reduce(i) for i in range(len(reducer.frames))])])


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 48), nn.Conv2d(8, 32, 3), nn.Linear(64, 48))


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("link", ["lowrank(2)", "lowrank(2, memory=False)"])
def test_interrupted_and_resumed_is_uninterrupted(link: str, momentum: float | None) -> None:
    def make() -> Reducer:
        return Reducer(
            net().named_parameters(),
            Settings(tw.parse_sender(link), momentum=momentum, warmup_steps=1),
            tw.LocalGroup(N),
        )

    whole, first, second = make(), make(), make()
    wanted = [reduced(whole, number) for number in range(6)]
    for number in range(3):
        reduced(first, number)
    second.load_state_dict(first.state_dict())
    for number in range(3, 6):
        assert torch.equal(reduced(second, number), wanted[number])


def test_local_momentum_is_sent_in_the_gradients_place() -> None:
    """The sum of what came back and of what is owed is the sum of the running averages: of six steps, to rounding."""
    beta, given = 0.9, [torch.randn(N, 48, 64) for _ in range(6)]
    parameter = nn.Parameter(torch.zeros(48, 64))
    reducer = Reducer([("w", parameter)], Settings(tw.LowRank(2), momentum=beta), tw.LocalGroup(N))
    average, averages, total = torch.zeros(N, 48, 64), torch.zeros(48, 64), torch.zeros(48, 64)
    for t, g in enumerate(given, 1):
        for row in range(N):
            reducer.put("w", g[row], row)
        total += finish(reducer.reduce(0)).view(48, 64)
        average = beta * average + (1 - beta) * g
        averages += (average / (1 - beta**t)).mean(0)
    owes = reducer.state_dict()["parameters"]["w"]["up.error"].mean(0).view(48, 64)
    torch.testing.assert_close(total + owes, averages, rtol=0, atol=6 * 8 * EPS * 10)


def test_the_first_directions_are_those_of_the_wire_format() -> None:
    made = LowRankExchange(tw.LowRank(4), [(64, 300)], tw.LocalGroup(2), seed=5 << 32 | 3, tensor=7)
    (basis,) = torch.as_tensor(made.state_dict()["basis"])
    k0, k1, s2, s3 = philox_one((0, 7, 0, SHARED << 8 | Purpose.SELECT), (3, 5))
    for e in (0, 1, 511, 512, 1023, 1024, 1199):
        block, inside = divmod(e, 1024)
        word = philox_one((inside % 512 % 128, block, s2, s3), (k0, k1))[inside % 512 // 128]
        draw = word >> 16 * (inside // 512) & 0xFFFF
        assert float(basis[e]) == (2 * draw + 1 - 65536) / 65536


def test_a_plan_lays_equal_shapes_together() -> None:
    plan = Plan.of(tw.LowRank(2), SHAPES)
    assert [(stack.count, stack.a, stack.b) for stack in plan.stacks] == [(2, 24, 40), (1, 16, 45), (1, 64, 16)]
    assert plan.whole == tuple(WHOLE)
