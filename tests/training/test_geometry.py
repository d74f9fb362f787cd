"""A link in the geometry of what came back: unbiased, alike on all workers, and as safe as without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import thinwire as tw
from tests.comm.ranks import run_ranks
from thinwire.kernels.geometry import exponents
from thinwire.rounds import finish
from thinwire.training.scaled import SQUARES, Scaled

from . import jobs, reducers
from .fleet import Fleet
from .rows import reducer, run, same
from .test_checkpoint import resumed_at
from .test_finite import check

LINKS = [tw.diana(tw.Rotated(bits=1)), tw.dcgd(tw.Dither(bits=4)), tw.ef21(tw.TopK(0.2)), tw.marina(tw.Ternary())]
ROUTES = ["gather", "sharded"]


def in_geometry(link: tw.Link, d: int, workers: int, **options: Any) -> Scaled:
    return Scaled(tw.Exchange(link, d, tw.LocalGroup(workers), **options), beta2=0.9)


@pytest.mark.parametrize(
    "link", [tw.dcgd(tw.Dither(bits=3)), tw.dcgd(tw.RandK(0.25)), tw.diana(tw.Ternary())], ids=repr
)
def test_it_is_unbiased(link: tw.Link) -> None:
    """Over seeds, with squares that differ by 10⁸: each coordinate's mean is v̄'s, to 5 standard errors."""
    d, trials = 40, 2000
    v = torch.randn(3, d, dtype=torch.float64) * torch.logspace(-2, 2, d)
    squares = torch.logspace(-4, 4, d, dtype=torch.float64)[None]
    seen = []
    for seed in range(trials):
        scaled = in_geometry(link, d, 3, seed=seed, dtype=torch.float64, route="gather")
        scaled.squares = squares
        seen.append(finish(scaled.round(v, 0)).estimate)
    estimates = torch.stack(seen)
    error = estimates.std(0) / trials**0.5
    rounding = torch.finfo(torch.float32).eps * v.abs().amax(0)  # of a block's largest value, which is told in float32
    assert bool(((estimates.mean(0) - v.mean(0)).abs() <= 5 * error + rounding).all())


@pytest.mark.parametrize("route", ROUTES)
def test_noise_is_in_proportion_to_the_geometry(route: str) -> None:
    """A block's coordinates err alike; in the geometry those that are 256 times smaller err 16 times less."""
    d, apart, steps = 1024, 256, 60
    size = torch.ones(d, dtype=torch.float64)
    size[::2] /= apart
    errors = []
    for geometry in (False, True):
        exchange = tw.Exchange(tw.dcgd(tw.Rotated(bits=2)), d, tw.LocalGroup(2), route=route)
        scaled = Scaled(exchange, 0.9)
        scaled.squares = size.square()[None].float() if geometry else scaled.squares
        seen = torch.zeros(d)
        for step in range(steps):
            v = size * torch.randn(2, d, generator=torch.Generator().manual_seed(step))
            seen += (finish(scaled.round(v, step)).estimate - v.mean(0)).square() / steps
        errors.append(seen[1::2].mean().sqrt() / seen[::2].mean().sqrt())
    # means of 60 · 512 squares, in blocks whose errors are not quite independent: within a tenth
    assert float(errors[0]) == pytest.approx(1, rel=0.1)
    assert float(errors[1]) == pytest.approx(apart**0.5, rel=0.1)


def test_the_first_step_is_that_of_the_link() -> None:
    v = torch.randn(2, 300)
    plain, scaled = tw.Exchange(LINKS[0], 300, tw.LocalGroup(2)), in_geometry(LINKS[0], 300, 2)
    assert torch.equal(finish(plain.round(v, 0)).estimate, finish(scaled.round(v, 0)).estimate)


def test_what_nobody_has_seen_keeps_its_scale() -> None:
    """Zeros that come back leave s at 1, and the first value that does sets q."""
    scaled = in_geometry(tw.dcgd(tw.Identity()), 3, 1)
    for k, v in enumerate(([0.0, 2.0, 0.0], [0.0, 4.0, 3.0])):
        scaled.commit(finish(scaled.round(torch.tensor([v]), k)))
    wanted = [0.0, 0.9 * 4 + 0.1 * 16, 9.0]
    np.testing.assert_allclose(scaled.squares[0].numpy(), wanted, rtol=1e-6)  # a division and a product in float32
    assert exponents(scaled.squares)[0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["first", "last", "bias"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_step_that_is_not_finite_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, value: float, where: str, route: str
) -> None:
    check("diana(rotated(1))", monkeypatch, value, where, 1, route=route, momentum=0.9, geometry=0.95)


@pytest.mark.filterwarnings("ignore:thinwire. .* sent as they are")
@pytest.mark.parametrize("interruption", [1, 3, 5])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_interrupted_and_resumed_is_uninterrupted(link: tw.Link, route: str, interruption: int) -> None:
    asked = reducers.settings(link, route=route, momentum=0.9, geometry=0.95, warmup_steps=1)
    resumed_at(tw.LocalGroup(3), asked, interruption, bad=(2,))


def test_through_stages_and_a_turn_the_squares_go_on() -> None:
    one, other = tw.diana(tw.Rotated(bits=3)), tw.diana(tw.Rotated(bits=1))
    stages = reducers.make(tw.LocalGroup(3), reducers.settings(tw.Stages({0: one, 2: other}), geometry=0.9))
    reducers.run(stages, range(2))
    turned = reducer(one, geometry=0.9)
    for step in range(2):
        run(turned, step)
    before = [c.squares.clone() for c in turned.carriers if isinstance(c, Scaled)]
    turned.turn(other)
    after = [c for c in turned.carriers if isinstance(c, Scaled)]
    assert all(torch.equal(c.squares, old) and c.link == other.bind(4) for c, old in zip(after, before, strict=True))
    carriers = [c for c in stages.carriers if isinstance(c, Scaled)]
    assert carriers
    assert all(c.link == other.bind(3) and bool(c.squares.any()) for c in carriers)
    assert bool(torch.stack([e.isfinite().all() for e in run(turned, 2).values()]).all())


@pytest.mark.filterwarnings("ignore:thinwire. ")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("change", [(3, [2, 0], 2), (2, [0, 1], 3), (3, [1], 4)], ids=str)
def test_who_joins_is_told_the_squares(change: tuple[int, list[int], int], route: str) -> None:
    old, staying, new = change
    asked = reducers.settings(LINKS[0], route=route, geometry=0.9)
    before, after = reducers.make(tw.LocalGroup(old), asked), reducers.make(tw.LocalGroup(new), asked)
    reducers.run(before, range(3))
    after.load_state_dict(reducers.packed(reducers.chosen(before.state_dict(), staying, route)))
    for was, now in zip(reducers.remembered(before), reducers.remembered(after), strict=True):
        assert (SQUARES in was) == (SQUARES in now)
        if SQUARES in was:
            assert torch.equal(was[SQUARES], now[SQUARES])
    (estimate,) = reducers.run(after, [3])
    assert bool(estimate.isfinite().all())


def test_every_rank_makes_the_same_squares() -> None:
    asked = reducers.settings(LINKS[0], route="sharded", momentum=0.9, geometry=0.95)

    def work(group: tw.ProcessGroup) -> tuple[Any, Any]:
        made = reducers.make(group, asked)
        seen = reducers.run(made, range(5), bad=(2,))
        return reducers.bits(seen), [reducers.bits(parts.get(SQUARES)) for parts in reducers.remembered(made)]

    found = run_ranks(3, work)
    local = reducers.make(tw.LocalGroup(3), asked)
    assert all(one == found[0] for one in found)
    assert found[0][0] == reducers.bits(reducers.run(local, range(5), bad=(2,)))


def test_an_exact_link_is_exact() -> None:
    """Powers of two round nothing."""
    made, plain = reducer("dcgd(identity())", geometry=0.9), reducer("dcgd(identity())")
    for step in range(4):
        assert same(run(made, step), run(plain, step))
    assert all(bool(exponents(c.squares).any()) for c in made.carriers if isinstance(c, Scaled))


def test_with_ddp_it_trains_and_replicas_stay_equal(fleet: Fleet) -> None:
    found = fleet.run(jobs.in_geometry)
    assert all(torch.equal(weights, found[0][0]) for weights, *_ in found)
    for _, losses, settings in found:
        assert losses[-1] < 0.7 * losses[0]
        assert settings["geometry"] == "0.95"


def refused(how: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match="geometry") as caught:
        how()
    return str(caught.value)


@pytest.mark.parametrize("link", ["ef14(topk(0.1))", "lowrank(2)"])
def test_a_link_that_owes_is_refused(link: str) -> None:
    said = refused(lambda: reducer(tw.spec.parse_sender(link), geometry=0.9))
    assert "units that change from step to step" in said


@pytest.mark.parametrize("beta2", [0.0, 1.0, -0.5, float("nan")])
def test_beta2_lies_between_0_and_1(beta2: float) -> None:
    assert "geometry, β₂, lies between 0 and 1" in refused(lambda: reducer(LINKS[0], geometry=beta2))


def test_auto_is_refused_at_once(fleet: Fleet) -> None:
    for said in fleet.run(jobs.auto_in_geometry):
        assert said.startswith("attach(link='auto', geometry=0.95): a geometry is that of a link")


def test_a_state_of_another_geometry_is_refused() -> None:
    saved, other = reducer(LINKS[0], geometry=0.9), reducer(LINKS[0])
    run(saved, 0)
    with pytest.raises(ValueError, match=r"geometry is 'None' here; got '0.9'"):
        other.load_state_dict(saved.state_dict())


def test_loops_without_ddp_have_it_too() -> None:
    net = torch.nn.Linear(64, 64)
    memory = tw.LinkMemory()
    for _ in range(3):
        net.zero_grad()
        net(torch.ones(2, 64)).square().mean().backward()
        tw.reduce_gradients_(net.named_parameters(), LINKS[0], memory, tw.LocalGroup(1), geometry=0.9)
    assert memory.reducer is not None
    assert isinstance(memory.reducer.carriers[0], Scaled)
    with pytest.raises(ValueError, match=r"geometry 0.9; got .* geometry None"):
        tw.reduce_gradients_(net.named_parameters(), LINKS[0], memory, tw.LocalGroup(1))
