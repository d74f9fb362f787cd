"""Finite sums over thin wires: problems, penalties, oracles, rules, and one loop that solves with a certificate."""

from thinwire.convex.certificate import Certificate
from thinwire.convex.methods.adiana import ADIANA
from thinwire.convex.methods.bidirectional import DORE, EF21P, MCM
from thinwire.convex.methods.gradient import Gradient
from thinwire.convex.methods.integers import IntDIANA, IntSGD
from thinwire.convex.methods.local import LoCoDL, Scaffnew
from thinwire.convex.methods.nesterov import Nesterov
from thinwire.convex.methods.partial import Partial
from thinwire.convex.oracles import LSVRG, PAGE, SAGA, Full, Minibatch, Oracle
from thinwire.convex.penalties import (
    L1,
    L1L2,
    L2,
    Box,
    GroupLasso,
    NonNegative,
    Penalty,
    Simplex,
    Zero,
)
from thinwire.convex.problems import (
    FiniteSum,
    HuberLoss,
    LogisticLoss,
    NonconvexLogistic,
    SoftmaxLoss,
    SquaredHingeLoss,
    SquaredLoss,
)
from thinwire.convex.solution import Moment, Solution, Status
from thinwire.convex.solve import Prediction, predict, solve

__all__ = [
    "ADIANA",
    "DORE",
    "EF21P",
    "L1",
    "L1L2",
    "L2",
    "LSVRG",
    "MCM",
    "PAGE",
    "SAGA",
    "Box",
    "Certificate",
    "FiniteSum",
    "Full",
    "Gradient",
    "GroupLasso",
    "HuberLoss",
    "IntDIANA",
    "IntSGD",
    "LoCoDL",
    "LogisticLoss",
    "Minibatch",
    "Moment",
    "Nesterov",
    "NonNegative",
    "NonconvexLogistic",
    "Oracle",
    "Partial",
    "Penalty",
    "Prediction",
    "Scaffnew",
    "Simplex",
    "SoftmaxLoss",
    "Solution",
    "SquaredHingeLoss",
    "SquaredLoss",
    "Status",
    "Zero",
    "predict",
    "solve",
]
