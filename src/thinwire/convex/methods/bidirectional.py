"""Compression both ways: DORE, MCM, EF21-P + DIANA. The workers send by diana, and so, in one way or another, does the
server, whose messages every process makes for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from thinwire import theory
from thinwire._check import fault
from thinwire.compressors import Compressor
from thinwire.convex.methods import needs
from thinwire.convex.methods.base import Method, Rule, Run
from thinwire.convex.oracles import Record, Source
from thinwire.convex.shards import Array
from thinwire.convex.steps import Case
from thinwire.convex.wire import Downlink, Wire
from thinwire.theory import Plan

DOWN = 1
"""The tensor of the server's messages, in keys: the workers' is 0."""
NO_PENALTY = "Use DORE, or leave the penalty out."


@dataclass
class _Sides:
    """Who speaks: the workers, of their gradients, and the server."""

    source: Source
    up: Wire
    down: Downlink

    @classmethod
    def of(cls, run: Run, down: Compressor) -> _Sides:
        seed, d = run.draws.seed, run.objective.d
        return cls(run.source(), run.wire(), Downlink(down.bind(1), d, run.traffic, seed=seed, tensor=DOWN))

    def gradient(self, x: Array, k: int) -> Array:
        """The estimate of ∇f, the workers being at x."""
        return self.up.mean(self.source.gradients(x, k), k)

    def state_dict(self) -> Record:
        return {"up": self.up.state_dict(), "source": self.source.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.up.load_state_dict(state["up"])
        self.source.load_state_dict(state["source"])


def _checked(rule: Rule, case: Case) -> None:
    needs.diana_link(rule, case)
    needs.full_gradients(rule, case)
    needs.strong_convexity(rule, case)


def _omega(rule: Rule, down: Compressor, d: int) -> float:
    omega = down.bind(1).omega(d)
    if omega is None:
        way_out = f"Use EF21P({down!r}), or an unbiased compressor such as Rotated(bits=3)."
        raise ValueError(fault(repr(rule), "down must be unbiased", down, way_out))
    return omega


@dataclass(frozen=True)
class DORE(Rule):
    """Double residual compression: the server sends what its step adds to the model, and remembers what it left out.

    ĝ = the diana link's estimate of ∇f(x),  q = prox_{γR}(x − γĝ) − x + ηe
    q̂ = C_d(q) down,  e ← q − q̂,  x ← x + βq̂

    x is what all hold. With a C_d that loses nothing, and no penalty, it is DIANA with the step βγ.

    Args:
        down: C_d, unbiased.

    Source: Liu, Li, Tang, Yan, "A double residual compression algorithm for efficient distributed learning" (AISTATS
    2020), algorithm 1 and theorem 1: every f_i strongly convex; a penalty is allowed.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> problem, link = tw.LogisticLoss(A, b, l2=0.1), tw.diana(tw.Rotated(bits=1))
    >>> solution = tw.solve(problem, link=link, rule=tw.DORE(tw.Rotated(bits=1)), workers=10)
    >>> solution.status.name, solution.bytes_down == solution.bytes_up
    ('CONVERGED', True)
    """

    down: Compressor
    answers = False

    def plan(self, case: Case) -> Plan:
        _checked(self, case)
        if case.ridge <= 0:
            way_out = "Pass l2=… and no intercept to the loss, or use MCM or EF21P."
            raise ValueError(fault(repr(self), "every f_i must be strongly convex", None, way_out))
        if case.constrained:
            rule = "its iterate, x + βq̂, need not meet a constraint"
            raise ValueError(fault(repr(self), rule, None, "Use Gradient() or ADIANA(), whose iterates do."))
        down = _omega(self, self.down, case.d)
        each = replace(case.constants, strong=case.ridge)
        return theory.dore(each, case.omega, down, case.mean_variance)

    def start(self, run: Run) -> Method:
        return _DORE(run, self.down)


class _DORE(Method):
    def __init__(self, run: Run, down: Compressor) -> None:
        self.run, self.sides = run, _Sides.of(run, down)
        self.x, self.e = run.x.copy(), run.x * 0

    def round(self, k: int) -> None:
        run, step, more = self.run, self.run.plan.step, self.run.plan.more
        moved = run.prox(self.x - step * self.sides.gradient(self.x, k), step)
        q = moved - self.x + more["eta"] * self.e
        said = self.sides.down.say(q, k)
        self.e, self.x = q - said, self.x + more["beta"] * said

    def state_dict(self) -> Record:
        return {"x": self.x, "e": self.e, **self.sides.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.e = state["x"], state["e"]
        self.sides.load_state_dict(state)


@dataclass(frozen=True)
class MCM(Rule):
    """Preserved central model: the server keeps x as it is; the workers compute at what they were told of it.

    ĝ = the diana link's estimate of ∇f(ŵ),  x ← x − γĝ
    Ω = C_d(x − H) down,  ŵ = H + Ω,  H ← H + α_dΩ

    H is the server's shift, as h_i are the workers'. With a C_d that loses nothing it is DIANA.

    Args:
        down: C_d, unbiased.

    Source: Philippenko and Dieuleveut, "Preserved central model for faster bidirectional compression in distributed
    settings" (NeurIPS 2021), algorithm 1; the step is derived (`thinwire.theory.mcm`). No penalty.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> problem, link = tw.LogisticLoss(A, b, l2=0.1), tw.diana(tw.Rotated(bits=1))
    >>> tw.solve(problem, link=link, rule=tw.MCM(tw.Rotated(bits=3)), workers=10).status.name
    'CONVERGED'
    """

    down: Compressor
    answers = False

    def plan(self, case: Case) -> Plan:
        _checked(self, case)
        plan = theory.mcm(case.constants, case.omega, _omega(self, self.down, case.d), case.mean_variance)
        return needs.room_for_penalty(self, case, plan, NO_PENALTY)

    def start(self, run: Run) -> Method:
        return _Central(run, self.down, run.plan.more["down"])


@dataclass(frozen=True)
class EF21P(Rule):
    """EF21-P + DIANA: the server sends what brings the workers' model w nearer to x.

    ĝ = the diana link's estimate of ∇f(w),  x ← x − γĝ,  w ← w + C_d(x − w), which goes down

    With a C_d that loses nothing it is DIANA.

    Args:
        down: C_d, contractive.

    Source: Gruntkowska, Tyurin, Richtárik, "EF21-P and friends" (ICML 2023), EF21-P + DIANA. No penalty. The constants
    of its step are generous; larger steps, such as "theory*8", usually converge too.

    >>> import numpy as np, thinwire as tw
    >>> A, b = np.random.default_rng(0).normal(size=(200, 10)), np.arange(200) % 2
    >>> problem, link = tw.LogisticLoss(A, b, l2=0.1), tw.diana(tw.Rotated(bits=1))
    >>> tw.solve(problem, link=link, rule=tw.EF21P(tw.TopK(0.5)), step="theory*32", workers=10).status.name
    'CONVERGED'
    """

    down: Compressor
    answers = False

    def plan(self, case: Case) -> Plan:
        _checked(self, case)
        needs.independent_errors(self, case, "Use MCM, or a compressor such as Rotated(bits=1).")
        delta = self.down.bind(1).delta(case.d)
        if delta is None:
            way_out = f"Use EF21P(({self.down!r}).contractive())." if self.down.unbiased else ""
            raise ValueError(fault(repr(self), "down must be contractive", self.down, way_out))
        plan = theory.ef21p_diana(case.constants, case.omega, delta)
        return needs.room_for_penalty(self, case, plan, NO_PENALTY)

    def start(self, run: Run) -> Method:
        return _Central(run, self.down, 1.0)


class _Central(Method):
    """The server's x, and two vectors that all know: the workers' model w, and H, which learns by `back`; w, if 1."""

    def __init__(self, run: Run, down: Compressor, back: float) -> None:
        self.run, self.sides, self.back = run, _Sides.of(run, down), back
        self.x, self.w, self.h = run.x.copy(), run.x.copy(), run.x.copy()

    def round(self, k: int) -> None:
        self.x = self.x - self.run.plan.step * self.sides.gradient(self.w, k)
        said = self.sides.down.say(self.x - self.h, k)
        self.w, self.h = self.h + said, self.h + self.back * said

    def state_dict(self) -> Record:
        return {"x": self.x, "w": self.w, "h": self.h, **self.sides.state_dict()}

    def load_state_dict(self, state: Record) -> None:
        self.x, self.w, self.h = state["x"], state["w"], state["h"]
        self.sides.load_state_dict(state)
