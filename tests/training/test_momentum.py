"""Local momentum: what an optimiser is once its momentum is with the workers, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR

import thinwire as tw

PAGE = Path(__file__).parents[2] / "docs" / "momentum.md"
EPS = torch.finfo(torch.float32).eps
BETA = 0.9


def layer() -> nn.Linear:
    made = nn.Linear(40, 40, bias=False)
    nn.init.normal_(made.weight, generator=torch.Generator().manual_seed(1))
    return made


def gradients(step: int, workers: int = 3) -> Tensor:
    return torch.randn(workers, 40, 40, generator=torch.Generator().manual_seed(step))


class Twins:
    """A layer whose optimiser averages, and one whose workers do: the same gradients for both, sent as they are."""

    def __init__(self, make: Callable[[Any], Optimizer]) -> None:
        self.layers = layer(), layer()
        self.optimizers = [make(each.parameters()) for each in self.layers]
        self.beta = tw.take_momentum(self.optimizers[1])
        self.memory = tw.LinkMemory()

    def step(self, each: Tensor) -> tuple[Tensor, Tensor]:
        """One step of both; how far each has moved in it."""
        own, local = self.layers
        own.weight.grad = each.mean(0)
        local.weight.grad = each.mean(0)  # averaging is linear: one worker may stand for all if all is sent
        named = list(local.named_parameters())
        tw.reduce_gradients_(named, "dcgd(identity())", self.memory, tw.LocalGroup(1), momentum=self.beta)
        before = [each.weight.detach().clone() for each in self.layers]
        for optimizer in self.optimizers:
            optimizer.step()
        return own.weight.detach() - before[0], local.weight.detach() - before[1]


def test_sgd_is_sgd_but_for_the_first_steps() -> None:
    """The step is that of SGD's own momentum, divided by 1 − β^t."""
    twins = Twins(lambda p: SGD(p, lr=0.1, momentum=BETA))
    assert twins.optimizers[1].param_groups[0]["lr"] == pytest.approx(1.0)
    for t in range(1, 41):
        own, local = twins.step(gradients(t))
        # t roundings of sums and averages, and weights that were subtracted: some units, of eps each
        assert (local * (1 - BETA**t) - own).abs().max() < (t + 16) * EPS


def test_sgd_under_a_schedule_that_makes_up_for_it() -> None:
    twins = Twins(lambda p: SGD(p, lr=0.1, momentum=BETA))
    schedule = LambdaLR(twins.optimizers[1], lambda step: 1 - BETA ** (step + 1))
    for t in range(1, 41):
        twins.step(gradients(t))
        schedule.step()
    own, local = (each.weight.detach() for each in twins.layers)
    assert (own - local).abs().max() < 40 * 16 * EPS  # as above, in each of 40 steps


def test_muon_is_muon() -> None:
    """What is orthogonalised differs by the factor 1 − β^t, and orthogonalising forgets all factors."""
    twins = Twins(lambda p: Muon(p, lr=0.1, momentum=BETA, nesterov=False))
    for t in range(1, 11):
        twins.step(gradients(t))
        buffers = [
            o.state[each.weight]["momentum_buffer"] for o, each in zip(twins.optimizers, twins.layers, strict=True)
        ]
        assert (buffers[1] * (1 - BETA**t) - buffers[0]).abs().max() < (t + 4) * EPS
    moved = []
    for factor in (1.0, 4.0):  # a power of two, so that not one rounding differs
        one = layer()
        optimizer = Muon(one.parameters(), lr=0.1, momentum=0.0, nesterov=False)
        one.weight.grad = factor * gradients(0)[0]
        optimizer.step()
        moved.append(one.weight.detach())
    assert torch.equal(*moved)


@pytest.mark.parametrize("kind", [Adam, AdamW, torch.optim.Adamax, torch.optim.RAdam])
def test_adam_is_another_optimiser_where_gradients_are_noise(kind: Any) -> None:
    still, noisy = (Twins(lambda p: kind(p, lr=1e-3, betas=(BETA, 0.99))) for _ in range(2))
    constant = gradients(0)
    lengths = torch.zeros(2)
    for t in range(1, 301):
        own, local = still.step(constant)
        # signal alone: one step, up to the rounding of weights of a few units and of averages
        assert (own - local).abs().max() < 16 * EPS
        moved = noisy.step(gradients(t))
        if t > 200:
            lengths += torch.stack([step.square().sum() for step in moved])
    ratio = float((lengths[1] / lengths[0]).sqrt())
    wanted = ((1 + BETA) / (1 - BETA)) ** 0.5
    if kind is torch.optim.Adamax:  # divides by the largest |·|, of averages that are less often far from their mean
        assert ratio > 0.5 * wanted
    else:
        # squares of averages are correlated over (1 + β²)/(1 − β²) = 9.5 steps, so that v, over some 200 of them, is of
        # 20 squares: 1/√v differs from what it tends to by a share of that order; chance adds less than 1 %
        assert ratio == pytest.approx(wanted, rel=1 / 20)


def test_lion_with_one_beta_is_the_sign_of_the_average() -> None:
    """Lion: step by sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g; with β₁ = β₂ that is the sign of the new m."""
    one, memory, m = layer(), tw.LinkMemory(), torch.zeros(40, 40)
    for t in range(1, 31):
        g = gradients(t).mean(0)
        m = BETA * m + (1 - BETA) * g
        one.weight.grad = g.clone()
        tw.reduce_gradients_(one.named_parameters(), "dcgd(identity())", memory, tw.LocalGroup(1), momentum=BETA)
        clear = m.abs() > t * EPS
        assert torch.equal(one.weight.grad[clear].sign(), m[clear].sign())


def test_several_optimisers_and_groups() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    muon = Muon([net[0].weight, net[1].weight], momentum=0.8, nesterov=False)
    groups = [{"params": [net[0].bias], "lr": 0.5}, {"params": [net[1].bias]}]
    sgd = SGD(groups, lr=0.1, momentum=0.8)
    assert tw.take_momentum(muon, sgd) == 0.8
    assert [group["lr"] for group in sgd.param_groups] == pytest.approx([2.5, 0.5])
    assert muon.param_groups[0]["lr"] == 1e-3
    assert all(group["momentum"] == 0 for optimizer in (muon, sgd) for group in optimizer.param_groups)
    sgd.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
    assert sgd.param_groups[-1]["momentum"] == 0
    assert sgd.param_groups[-1]["lr"] == pytest.approx(0.5)


def test_a_scheduler_made_afterwards_starts_from_the_new_rate() -> None:
    optimizer = SGD(layer().parameters(), lr=0.1, momentum=0.9)
    tw.take_momentum(optimizer)
    schedule = StepLR(optimizer, step_size=1, gamma=0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_tensors_stay_tensors() -> None:
    optimizer = AdamW(
        layer().parameters(),
        lr=torch.tensor(0.1),
        betas=(torch.tensor(0.5), torch.tensor(0.75)),
        capturable=True,
        foreach=False,
    )
    assert tw.take_momentum(optimizer) == 0.5
    assert all(isinstance(beta, Tensor) for beta in optimizer.param_groups[0]["betas"])
    assert float(optimizer.param_groups[0]["betas"][0]) == 0


def cycled(optimizer: Optimizer) -> Optimizer:
    OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    return optimizer


def scheduled(optimizer: Optimizer) -> Optimizer:
    StepLR(optimizer, step_size=1)
    return optimizer


class MyAdam(Adam):
    pass


def two_groups(p: Any) -> Optimizer:
    return SGD([{"params": list(p), "momentum": 0.9}, {"params": layer().parameters(), "momentum": 0.5}])


def named(name: str) -> Callable[[Any], Optimizer]:
    return lambda p: getattr(torch.optim, name)(p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, momentum=0.9, nesterov=True), "travel; got 'nesterov=True'. Make the optimiser with"),
        (lambda p: Muon(p), r"take_momentum\(Muon\): Nesterov's step"),
        (lambda p: SGD(p, momentum=0.9, dampening=0.5), r"sums are not dampened; got 'dampening=0.5'. Let dampening=0"),
        (lambda p: SGD(p), r"there is no momentum to take. Pass a β of your choice: attach\(…, momentum=0.9\)"),
        (lambda p: Adam(p, betas=(0.0, 0.9)), "there is no momentum to take"),
        (lambda p: scheduled(SGD(p, lr=0.3, momentum=0.9)), "noted what it was; got 0.3. Call take_momentum before"),
        (lambda p: cycled(AdamW(p)), "a scheduler cycles the momentum .* Make the scheduler with cycle_momentum=False"),
        (named("RMSprop"), r"take_momentum\(RMSprop\): its momentum is of g / √v, .* meet. Use Adam"),
        (named("NAdam"), r"its β₁ changes from step to step, and it looks ahead. Use AdamW"),
        (named("Adagrad"), r"it knows SGD, Muon, .*RAdam; got 'Adagrad'. .* attach\(…, momentum=β\)"),
        (named("Adafactor"), "got 'Adafactor'"),
        (MyAdam, "got 'MyAdam'"),
        (lambda p: two_groups(p), r"one momentum for all parameters; got \[0.5, 0.9\]. Give all groups"),
    ],
)  # fmt: skip
def test_what_workers_cannot_take_over_is_refused_and_left_alone(make: Any, message: str) -> None:
    optimizer = make(layer().parameters())
    before = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=message):
        tw.take_momentum(optimizer)
    assert [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups] == before


def test_a_scheduler_is_no_matter_where_the_rate_stays() -> None:
    assert tw.take_momentum(scheduled(AdamW(layer().parameters()))) == 0.9


def test_nothing_to_take_it_from() -> None:
    with pytest.raises(ValueError, match="one momentum for all parameters"):
        tw.take_momentum()


def test_the_pages_snippet_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    told: dict[str, Any] = {}
    exec(code, told)
    assert told["beta"] == 0.9
    assert told["wire"].stats().total.steps == 3
    assert told["optimizer"].param_groups[0]["betas"] == (0.0, 0.95)


def test_the_pages_figures() -> None:
    """What the page says in numbers, from its formulas and from averages of noise."""
    text = PAGE.read_text(encoding="utf-8")
    for beta, difference, longer in ((0.9, 0.45, 4.4), (0.95, 0.32, None), (0.8, None, 3)):
        if difference:
            assert round((2 * (1 - beta)) ** 0.5, 2) == difference
            assert f"{difference} times" in text
        if longer:
            assert round(((1 + beta) / (1 - beta)) ** 0.5, 1) == longer
            assert f"{longer} times at β = {beta}" in text
    assert [round(1 / (1 - 0.9**t), 5) for t in (1, 10, 100)] == [10, 1.53534, 1.00003]
    noise = torch.randn(500, 400, generator=torch.Generator().manual_seed(0))
    m, pairs = torch.zeros(400), []
    for g in noise:
        before, m = m, 0.9 * m + 0.1 * g
        pairs.append((m - before, m))
    differences, averages = (torch.stack(each[100:]) for each in zip(*pairs, strict=True))
    # 400 × 400 values, correlated over some 10 steps: about 1 % of chance
    assert float(differences.norm() / averages.norm()) == pytest.approx(0.45, rel=0.03)
