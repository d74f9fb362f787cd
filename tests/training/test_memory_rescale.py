"""What error feedback owes stays owed when the learning rate changes: the virtual iterate goes where gradients say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import ExponentialLR

import thinwire as tw
from thinwire.exchange import Exchange
from thinwire.rounds import finish
from thinwire.training.frames import cut_frames
from thinwire.training.policy import Policy
from thinwire.training.rates import LARGEST, Rates
from thinwire.training.reducer import Reducer

from . import jobs
from .fleet import Fleet
from .rows import SHAPES, mean_gradient, parameters, reducer, run, same

EPS = torch.finfo(torch.float32).eps
UP_AND_DOWN = [1.0, 2.0, 2.0, 0.2, 0.3, 0.05, 0.05, 0.01]


def at(step: int) -> dict[str, float]:
    """Two groups of parameters, whose rates go their own ways."""
    own = UP_AND_DOWN[step % len(UP_AND_DOWN)]
    return {name: own if name.startswith("0") else 0.1 * 0.8**step for name in SHAPES}


def owed(made: Reducer) -> dict[str, Tensor]:
    """In units of gradients: the mean of the workers' errors and, where owners have some of their own, these."""
    found = {}
    for carrier, frame in zip(made.carriers, made.frames, strict=True):
        assert isinstance(carrier, Exchange)
        up, down = carrier.state
        total = torch.zeros(carrier.width) if up.error is None else up.error.mean(0)
        if down.error is not None:
            total = total + down.error.reshape(-1)
        found |= {slot.name: total[slot.part].view(slot.shape) for slot in frame.slots}
    return found


def astray(made: Reducer, steps: int, *, told: bool = True) -> float:
    """How far x − γ (what is owed) is from −Σ γ ḡ at the end, by its length."""
    moved = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    wanted = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    for step in range(steps):
        for name, estimate in run(made, step, rates=at(step) if told else None).items():
            moved[name] -= at(step)[name] * estimate
            wanted[name] -= at(step)[name] * mean_gradient(name, step)
    wrong = [moved[name] - at(steps - 1)[name] * owed(made)[name] - wanted[name] for name in SHAPES]
    return float(torch.cat([part.flatten() for part in wrong]).norm()) / float(
        torch.cat([part.flatten() for part in wanted.values()]).norm()
    )


@pytest.mark.parametrize("route", ["gather", "sharded"])
@pytest.mark.parametrize("link", ["ef14(topk(0.05))", "ef14(sign())", "ef14(rotated(1).contractive())"])
def test_the_virtual_iterate_takes_the_gradients_steps(link: str, route: str) -> None:
    # owners remember errors too; those of an unbiased downlink, Top-K's default, would be noise
    down = {"down": tw.ef14(tw.Sign())} if route == "sharded" else {}
    # a step rounds memories and estimates, up to some ten times as long as the gradients, a few times
    assert astray(reducer(link, route=route, **down), 16) < 16 * 100 * EPS
    assert astray(reducer(link, route=route, **down), 16, told=False) > 0.1, (
        "without the rates debts change their worth"
    )


def test_a_rate_that_stays_changes_no_bit() -> None:
    plain, told = reducer("ef14(topk(0.05))"), reducer("ef14(topk(0.05))")
    still = dict.fromkeys(SHAPES, 0.3)
    assert all(same(run(plain, step), run(told, step, rates=still)) for step in range(4))


@pytest.mark.parametrize("link", ["diana(rotated(1))", "dcgd(rotated(3))", "marina(ternary())"])
def test_links_without_errors_do_not_care(link: str) -> None:
    plain, told = reducer(link), reducer(link)
    assert all(same(run(plain, step), run(told, step, rates=at(step))) for step in range(4))


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_a_step_that_is_sent_whole_pays_in_its_own_units(route: str) -> None:
    link, v = tw.ef14(tw.Sign()), torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    exchange = Exchange(link, 500, tw.LocalGroup(4), route=route)
    for step in range(3):
        exchange.commit(finish(exchange.round(v, step)))
    assert exchange.state[0].error is not None
    due = v.mean(0) + 4 * exchange.state[0].error[:, :500].mean(0)
    outcome = finish(exchange.round(v, 3, dense=True, rescale=4.0))
    assert (outcome.estimate - due).abs().max() <= 8 * EPS * due.abs().max()  # sums of four, and a product
    exchange.commit(outcome)
    assert not exchange.state[0].error.any()


def test_a_step_that_is_not_finite_leaves_debts_as_they_were() -> None:
    """The rate moves on in a step that a scaler skips; the next one is as if it had not been, bit for bit."""
    spared, hurt = reducer("ef14(topk(0.05))"), reducer("ef14(topk(0.05))")
    for step in range(8):
        assert run(hurt, 50 + step, poison=step % 4, rates=at(50 + step))["0.weight"].isnan().all()
        assert same(run(spared, step, rates=at(step)), run(hurt, step, rates=at(step)))


@pytest.mark.parametrize("route", ["gather", "sharded"])
def test_resumed_with_another_rate(route: str) -> None:
    made = reducer("ef14(sign())", route=route)
    told, saved = [], []
    for step in range(6):
        saved.append(made.state_dict())
        told.append(run(made, step, rates=at(step)))
    for begin, state in enumerate(saved):
        again = reducer("ef14(sign())", route=route)
        again.load_state_dict(state)
        assert all(same(run(again, step, rates=at(step)), told[step]) for step in range(begin, 6))


def test_what_a_memory_is_multiplied_by() -> None:
    frame = cut_frames(parameters({"a.weight": (40, 40), "b.weight": (40, 50)}), Policy.usual(tw.ef14(tw.Sign())))[0]
    cpu = torch.device("cpu")

    def factor(then: dict[str, float], now: dict[str, float]) -> list[float]:
        found = Rates(now, then).factor(frame, cpu)
        return [found] if isinstance(found, float) else found.unique().tolist()

    assert factor({}, {"a.weight": 0.1, "b.weight": 0.1}) == [1.0], "nothing is remembered yet"
    assert factor({"a.weight": 0.1, "b.weight": 0.1}, {}) == [1.0], "no optimiser is known"
    assert factor({"a.weight": 0.5, "b.weight": 2.0}, {"a.weight": 0.5, "b.weight": 1.0}) == [1.0, 2.0]
    assert factor({"a.weight": 0.0, "b.weight": 0.0}, {"a.weight": 0.1, "b.weight": 0.1}) == [0.0], "a warm-up from 0"
    assert factor({"a.weight": 1.0, "b.weight": 1.0}, {"a.weight": 1e-9, "b.weight": 1e-9}) == [LARGEST]
    assert factor({"a.weight": 1.0, "b.weight": 1.0}, {"a.weight": 0.0, "b.weight": 0.0}) == [1.0]
    assert factor({"a.weight": 1.0}, {"a.weight": 0.1, "b.weight": 0.1}) == [1.0, 10.0], "b is new to the optimiser"


def test_it_matters_where_rates_decay() -> None:
    """f_i = Σ_j h_j (x_j − c_ij)² / 2, h from 1 to 0.1, γ = 0.2 · 0.96^t: Σγ is too short a way to make up for debts
    that lose their worth as γ falls. Paid in full, they bring x to where dense steps bring it, or closer."""
    draw = torch.Generator().manual_seed(0)
    targets, h = torch.randn(1, 300, generator=draw) + torch.randn(4, 300, generator=draw), torch.logspace(0, -1, 300)
    loss = {}
    for kind, link, rescale in (
        ("dense", tw.dcgd(tw.Identity()), 1.0),
        ("rescaled", tw.ef14(tw.TopK(0.1)), 1 / 0.96),
        ("as it is", tw.ef14(tw.TopK(0.1)), 1.0),
    ):
        exchange, x = Exchange(link, 300, tw.LocalGroup(4), route="gather"), torch.zeros(300)
        for step in range(120):
            outcome = finish(exchange.round(h * (x - targets), step, rescale=rescale))
            exchange.commit(outcome)
            x = x - 0.2 * 0.96**step * outcome.estimate
        loss[kind] = float((h * (x - targets.mean(0)).square()).sum() / 2)
    assert loss["rescaled"] <= loss["dense"]
    assert loss["as it is"] > 1.2 * loss["dense"]


def train_scaled(rank: int, size: int, poison: int) -> dict[str, Any]:
    """SGD with two groups under a scaler and a schedule: where it went, where gradients said, and debts in the end."""
    net, model = jobs.build()
    groups = [{"params": [net.first.weight], "lr": 0.5}, {"params": [net.second.weight, net.extra.weight]}]
    optimizer, scaler = torch.optim.SGD(groups, lr=0.1), GradScaler("cpu", init_scale=64.0, growth_interval=3)
    schedule = ExponentialLR(optimizer, 0.6)
    wire = tw.attach(model, "ef14(topk(0.05))", scaler=scaler, optimizer=optimizer, route="gather")
    matrices = {"first.weight": net.first.weight, "second.weight": net.second.weight, "extra.weight": net.extra.weight}
    rates = {"first.weight": 0.5, "second.weight": 0.1, "extra.weight": 0.1}
    begin = {name: p.detach().double() for name, p in matrices.items()}
    wanted = {name: torch.zeros_like(start) for name, start in begin.items()}
    counted = dict(rates)
    for step in range(7):
        x = jobs.data(rank, step)
        if step == poison:
            x[rank, rank] = float("inf")
        own = torch.autograd.grad(net(x).square().mean(), list(matrices.values()))
        if step != poison:
            for (name, total), g in zip(wanted.items(), own, strict=True):
                total -= rates[name] * g
            counted = dict(rates)
        scaler.scale(model(x).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        schedule.step()
        rates = {name: 0.6 * rate for name, rate in rates.items()}
    errors = wire.state_dict()["parameters"]
    wire.close()
    owes = {name: counted[name] * errors[name]["up.error"][0].view_as(p).double() for name, p in matrices.items()}
    moved = {name: p.detach().double() - begin[name] for name, p in matrices.items()}
    return {"moved": moved, "wanted": wanted, "owes": owes}


def test_attach_reads_the_rates(fleet: Fleet) -> None:
    results = fleet.run(train_scaled, 4)
    for name, moved in results[0]["moved"].items():
        mean = {part: sum(result[part][name] for result in results) / 3 for part in ("wanted", "owes")}
        assert not torch.equal(moved, mean["wanted"])
        # float32 weights of size 1 / 8 and more, rounded in each of 6 steps; errors and gradients are smaller
        assert (moved - mean["owes"] - mean["wanted"]).abs().max() < 6 * 4 * EPS


def test_a_loop_without_ddp_reads_them_too() -> None:
    net, memory = nn.Linear(64, 64, bias=False), tw.LinkMemory()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for lr in (1.0, 0.25):
        optimizer.param_groups[0]["lr"] = lr
        net.weight.grad = torch.eye(64)
        named = list(net.named_parameters())
        tw.reduce_gradients_(named, "ef14(topk(2))", memory, tw.LocalGroup(1), optimizer=optimizer)
    assert sorted(net.weight.grad.unique().tolist()) == [0.0, 5.0], "four times the first debt, and the new gradient"
