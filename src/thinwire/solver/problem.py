"""From a file to the problem that this process holds its part of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

import thinwire as tw
from thinwire._check import fault, one_of
from thinwire.convex.data import Data, bundled, load
from thinwire.convex.split import NAMES, Dirichlet, split
from thinwire.solver.names import BUNDLED, LOSSES, Call

DEFAULT_L2 = "L/1000"


@dataclass(frozen=True)
class Asked:
    """What the command line says of the problem.

    Args:
        data: a file, with {rank} in it one for each process; None for a bundled set.
        target: the column of a table that is b.
        loss: its name, with arguments or without.
        l1: weight of ‖x‖₁.
        l2: a number; or "L/K", which makes μ that part of L; None for DEFAULT_L2, where the loss takes it.
        split: even, shuffled, label or dirichlet:ALPHA.
        seed: of the split.
    """

    data: str | None
    target: str | None
    loss: str
    l1: float
    l2: str | None
    split: str
    seed: int

    def __post_init__(self) -> None:
        self.loss_call, self.by, self.relative  # noqa: B018  # wrong texts are refused here
        if not self.loss_call.takes(LOSSES, "l2") and self.l2 is not None:
            way_out = f'Write its weight into the loss: "{self.loss_call.name}(lam=0.1)".'
            raise ValueError(fault("--l2", f"{self.loss_call.name} takes no l2", self.l2, way_out))

    @property
    def loss_call(self) -> Call:
        """The loss."""
        return Call.of("--loss", self.loss, LOSSES)

    @property
    def by(self) -> str | Dirichlet:
        """Who holds which rows."""
        name, _, alpha = self.split.partition(":")
        if name == "dirichlet":
            try:
                return Dirichlet(float(alpha))
            except ValueError:
                raise ValueError(fault("--split", "dirichlet:ALPHA takes a positive number", self.split)) from None
        one_of("--split", "split", self.split, (*NAMES, "dirichlet:ALPHA"))
        return self.split

    @property
    def relative(self) -> tuple[bool, float]:
        """Whether l2 is relative, and its number."""
        text = DEFAULT_L2 if self.l2 is None and self.loss_call.takes(LOSSES, "l2") else self.l2 or "0"
        top, slash, below = text.partition("/")
        try:
            number = float(below if slash else text)
        except ValueError:
            number = -1.0
        if (slash and (top.strip() != "L" or not 1 < number < np.inf)) or not 0 <= number < np.inf:
            raise ValueError(
                fault("--l2", 'a number, at least 0, or "L/K" with K above 1', self.l2, 'Such as "L/1000".')
            )
        return bool(slash), number

    @property
    def name(self) -> str:
        """What the data are called."""
        return BUNDLED.get(self.loss_call.name, "breast_cancer") if self.data is None else Path(self.data).name


@dataclass(frozen=True, eq=False)
class Share:
    """The rows that this process holds, the worker of each, and what is known of all.

    Args:
        problem: with its l2.
        owners: (rows,) the number of each row's worker.
        penalty: R.
        l2: the number that came of it.
        rows: how many rows there are in all.
    """

    problem: tw.FiniteSum
    owners: np.ndarray[tuple[int], np.dtype[np.int64]]
    penalty: tw.Penalty | None
    l2: float
    rows: int


def read(asked: Asked, rank: int | None) -> Data:
    """The rows of this process' file, all of them.

    Raises:
        ValueError: it cannot be read, is missing, or needs what is not installed.
    """
    if asked.data is None:
        if asked.target is not None:
            rule = "it names a column of DATA, and there is none"
            raise ValueError(fault("--target", rule, asked.target, "Name a .parquet or .npy file, or leave it out."))
        return bundled(asked.name)
    if "{rank}" in asked.data and rank is None:
        way_out = "Run it under torchrun or thinwire lab, or name one file."
        raise ValueError(fault(f"DATA {asked.data!r}", "a file for each rank needs ranks", None, way_out))
    target: Any = asked.target
    if target is not None and asked.data.endswith(".npy"):
        target = int(target) if target.lstrip("-").isdigit() else target
    try:
        return load(asked.data, target=target, rank=rank)
    except FileNotFoundError:
        path = asked.data.replace("{rank}", str(rank))
        raise ValueError(fault(f"DATA {path!r}", "there is no such file")) from None
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None


def share(asked: Asked, data: Data, group: tw.Group) -> Share:
    """What this process holds of the problem.

    1. A file that all read is split over all workers, and each process keeps its own; a file of its own is split over
    the workers that it holds. 2. Sparse files of several ranks become as wide as the widest. 3. L, where l2 needs it.

    Raises:
        ValueError: a worker would have no rows, or the data do not fit the loss.
    """
    A, b, held = data.A, data.b, len(group.ranks)
    own = asked.data is not None and "{rank}" in asked.data
    if own:
        order = split(asked.by, held, A.shape[0], b, asked.seed)
        if sp.issparse(A):
            A = A.copy()
            A.resize(A.shape[0], max(_everyone(group, A.shape[1])))
        rows = sum(_everyone(group, A.shape[0])[::held])
    else:
        order = split(asked.by, group.size, A.shape[0], b, asked.seed)[group.ranks.start : group.ranks.stop]
        rows = A.shape[0]
    index, owners = np.concatenate(order), np.repeat(np.arange(held), [len(part) for part in order])
    A, b = A[index], b[index]
    relative, number = asked.relative
    penalty = tw.L1(asked.l1) if asked.l1 else None
    made = asked.loss_call
    if not made.takes(LOSSES, "l2"):
        return Share(made.make(LOSSES, A, b), owners, penalty, 0.0, rows)
    l2 = number
    if relative:  # μ = l2 and L = L₀ + l2, L₀ of the data: μ = L/K is l2 = L₀/(K − 1)
        plain = tw.predict(made.make(LOSSES, A, b), link=tw.dcgd(tw.Identity()), group=group, split=owners)
        l2 = plain.constants.smoothness / (number - 1)
    return Share(made.make(LOSSES, A, b, l2=l2), owners, penalty, l2, rows)


def _everyone(group: tw.Group, number: int) -> list[int]:
    """A number of each process, once for each of its workers."""
    mine = torch.full((len(group.ranks), 1), number, dtype=torch.int64).view(torch.uint8)
    return [int(value) for value in group.all_gather(mine).wait().view(torch.int64)[:, 0]]
