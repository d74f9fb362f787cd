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
from thinwire.training.reducer import Reducer, Settings
from thinwire.training.scaled import SQUARES, WAIT, Scaled

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
        scaled.squares, scaled.age = squares, WAIT
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
        if geometry:
            scaled.squares, scaled.age = size.square()[None].float(), WAIT
        seen = torch.zeros(d)
        for step in range(steps):
            v = size * torch.randn(2, d, generator=torch.Generator().manual_seed(step))
            seen += (finish(scaled.round(v, step)).estimate - v.mean(0)).square() / steps
        errors.append(seen[1::2].mean().sqrt() / seen[::2].mean().sqrt())
    # means of 60 · 512 squares, in blocks whose errors are not quite independent: within a tenth
    assert float(errors[0]) == pytest.approx(1, rel=0.1)
    assert float(errors[1]) == pytest.approx(apart**0.5, rel=0.1)


def errors(carrier: tw.Exchange | Scaled, steps: int, grows: Callable[[int], float] = lambda step: 1.0) -> list[float]:
    """Relative ones, of gradients of 0.01, times what they grow by."""
    stays, found = torch.randn(carrier.d), []
    for step in range(steps):
        v = 0.01 * grows(step) * (stays + 0.3 * torch.randn(carrier.group.size, carrier.d))
        outcome = finish(carrier.round(v, step))
        carrier.commit(outcome)
        found.append(float((outcome.estimate - v.mean(0)).norm() / v.mean(0).norm()))
    return found


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_it_begins_like_the_link_and_never_errs_more(route: str, size: float) -> None:
    """Few squares are bad ones, and a shift in other units than v / s would be a large error for many steps."""
    d = 1 << 12
    torch.manual_seed(0)
    plain = errors(tw.Exchange(LINKS[0], d, tw.LocalGroup(4), route=route), 40, lambda step: size)
    torch.manual_seed(0)
    scaled = errors(in_geometry(LINKS[0], d, 4, route=route), 40, lambda step: size)
    assert scaled[:WAIT] == plain[:WAIT]
    assert max(scaled[WAIT:]) < 1.5 * max(plain[WAIT:])


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("link", ["diana(rotated(1))", "dasha(rotated(2))", "ef21(topk(0.2))"])
def test_after_a_gradient_that_is_far_too_large_it_errs_as_the_link_does(link: str, route: str) -> None:
    def once(step: int) -> float:
        return 1e3 if step == 20 else 1.0

    d = 1 << 12
    torch.manual_seed(0)
    plain = errors(tw.Exchange(tw.parse_link(link), d, tw.LocalGroup(4), route=route), 60, once)
    torch.manual_seed(0)
    scaled = errors(in_geometry(tw.parse_link(link), d, 4, route=route), 60, once)
    assert max(scaled[20:]) < 3 * max(plain[20:])
    assert scaled[-1] < 3 * plain[-1] + 0.1


def test_what_is_saved_is_in_the_units_of_the_gradients() -> None:
    """s h, which a link without the geometry takes over as its h (`strict=False`)."""
    scaled, plain = (reducer(LINKS[0], route="sharded", **how) for how in ({"geometry": 0.9}, {}))
    for step in range(30):
        run(scaled, step)
    assert all(bool(exponents(c.squares).any()) for c in scaled.carriers if isinstance(c, Scaled))
    saved = scaled.state_dict()
    with pytest.warns(UserWarning, match="geometry is 'None' here, and was '0.9'"):
        plain.load_state_dict(saved, strict=False)
    wanted, found = run(scaled, 30), run(plain, 30)
    for name, estimate in wanted.items():
        assert float((found[name] - estimate).norm()) < 0.5 * float(estimate.norm())


def test_a_product_that_overflows_is_not_finite() -> None:
    """Natural compression rounds 3e38 / s up to 2^128 / s, which is finite."""
    scaled = in_geometry(tw.dcgd(tw.Natural()), 300, 1)
    scaled.squares, scaled.age = torch.full((1, 300), 2.0**40), WAIT
    outcome = finish(scaled.round(torch.full((1, 300), 3e38), 9))
    scaled.commit(outcome)
    assert not outcome.finite
    assert bool(outcome.estimate.isnan().all())
    assert bool((scaled.squares == 2.0**40).all())
    assert scaled.age == WAIT


def test_a_huge_estimate_leaves_squares_that_come_down_again() -> None:
    scaled = in_geometry(tw.dcgd(tw.Identity()), 2, 1)
    for step in range(40):
        size = 1e30 if step == 7 else 1.0
        scaled.commit(finish(scaled.round(torch.full((1, 2), size), step)))
    assert bool(scaled.squares.isfinite().all())


def test_what_nobody_has_seen_keeps_its_scale() -> None:
    """Zeros that come back leave s at 1, and the first value that does sets q; the others are averaged."""
    scaled = in_geometry(tw.dcgd(tw.Identity()), 3, 1)
    for k, v in enumerate(([0.0, 2.0, 0.0], [0.0, 4.0, 3.0])):
        scaled.commit(finish(scaled.round(torch.tensor([v]), k)))
    wanted = [0.0, (0.9 * 0.1 * 4 + 0.1 * 16) / (1 - 0.9**2), 9.0]
    np.testing.assert_allclose(scaled.squares[0].numpy(), wanted, rtol=1e-6)  # of products and a sum in float32
    assert exponents(scaled.squares)[0].tolist() == [0, 1, 1]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales from the second step on, so that few steps are enough."""
    monkeypatch.setattr("thinwire.training.scaled.WAIT", 1)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["first", "last", "bias"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_step_that_is_not_finite_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, value: float, where: str, route: str
) -> None:
    check("diana(rotated(1))", monkeypatch, value, where, 1, route=route, momentum=0.9, geometry=0.95)


@pytest.mark.usefixtures("soon")
@pytest.mark.filterwarnings("ignore:thinwire. .* sent as they are")
@pytest.mark.parametrize("interruption", [1, 3, 5])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_interrupted_and_resumed_is_uninterrupted(link: tw.Link, route: str, interruption: int) -> None:
    asked = reducers.settings(link, route=route, momentum=0.9, geometry=0.95, warmup_steps=1)
    resumed_at(tw.LocalGroup(3), asked, interruption, bad=(2,))


@pytest.mark.usefixtures("soon")
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


@pytest.mark.usefixtures("soon")
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
    ages = [[c.age for c in made.carriers if isinstance(c, Scaled)] for made in (before, after)]
    assert ages[0] == ages[1] == [3] * len(ages[0])
    (estimate,) = reducers.run(after, [3])
    assert bool(estimate.isfinite().all())


@pytest.mark.usefixtures("soon")
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
    for step in range(WAIT + 4):
        assert same(run(made, step), run(plain, step))
    scales = [c._scales() for c in made.carriers if isinstance(c, Scaled)]
    assert scales
    assert all(bool(exponents(q).any()) for q in scales)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("link", ["diana(rotated(1))", "dasha(rotated(2))"])
def test_the_mean_is_the_mean_while_scales_change(link: str, route: str) -> None:
    """h̄ of the h_i, in shares that do not divide d; and what owners have told is what everyone knows."""
    d, n, eps = 1001, 3, torch.finfo(torch.float32).eps
    carrier, steps = in_geometry(tw.parse_link(link), d, n, route=route), 40
    errors(carrier, steps, lambda step: 2.0 ** (step % 13))
    assert bool(exponents(carrier.squares).any())
    parts: dict[str, Any] = carrier.state_dict()
    h_i, h_bar = parts["up.shift" if "up.shift" in parts else "up.previous"], parts["up.mean"].reshape(-1)[:d]
    # each step rounds each h_i once, and h̄ as often as there are messages
    bound = steps * (n + 2) * eps * float(h_i.abs().max())
    assert bool(((h_i[:, :d].double().mean(0) - h_bar.double()).abs() <= bound).all())
    if route == "sharded":
        assert torch.equal(parts["down.shift"].reshape(-1)[:d], parts["down.mean"].reshape(-1)[:d])


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


def test_a_stage_that_owes_is_refused_before_its_step_comes() -> None:
    stages = tw.Stages({0: tw.diana(tw.Rotated(bits=1)), 2: tw.ef14(tw.Sign())})
    assert "units that change from step to step" in refused(lambda: reducer(stages, geometry=0.9))


def test_a_turn_takes_the_route_that_is_best() -> None:
    """That squares are remembered is no reason to keep one, and where another one is taken they go on."""
    sparse, other = tw.dcgd(tw.RandK(0.001)), tw.dcgd(tw.Rotated(bits=3))
    shape = torch.nn.Parameter(torch.empty(400, 400, device="meta"))
    made, plain = (
        Reducer([("w", shape)], Settings(sparse, geometry=geometry), tw.LocalGroup(8)) for geometry in (0.9, None)
    )
    (before,) = made.carriers
    assert isinstance(before, Scaled)
    before.squares, before.age = torch.rand(1, before.d), 9
    for one in (made, plain):
        one.turn(other)
    (after,) = made.carriers
    assert made.routes == plain.routes
    assert before.route != after.route
    assert isinstance(after, Scaled)
    assert (after.squares is before.squares, after.age) == (True, 9)


@pytest.mark.parametrize("beta2", [0.0, 1.0, -0.5, float("nan"), "0.95"])
def test_beta2_lies_between_0_and_1(beta2: Any) -> None:
    assert refused(lambda: reducer(LINKS[0], geometry=beta2)).startswith(f"geometry={beta2!r}: geometry, β₂, lies")


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
