"""thinwire: training and optimisation across machines that cannot talk much.

Workers send few bits, and what they send is the compressed *difference* between what they know now and what they have
already said. `attach` does it for a PyTorch DDP model; the parts are here to be combined.
"""

import importlib
import typing

from thinwire.advisor import Advice, Probe, advise
from thinwire.auto import attach
from thinwire.comm import Group, LocalGroup, PeerError, ProcessGroup
from thinwire.compressors import (
    BFloat16,
    Chain,
    Compressor,
    Dither,
    Float16,
    Identity,
    Induced,
    Natural,
    NaturalDither,
    PermK,
    RandK,
    Rotated,
    Scaled,
    Sign,
    Ternary,
    TopK,
)
from thinwire.convex import (
    ADIANA,
    DORE,
    EF21P,
    L1,
    L1L2,
    L2,
    LSVRG,
    MCM,
    PAGE,
    SAGA,
    Box,
    Certificate,
    FiniteSum,
    Full,
    Gradient,
    GroupLasso,
    HuberLoss,
    IntDIANA,
    IntSGD,
    LoCoDL,
    LogisticLoss,
    Minibatch,
    Moment,
    Nesterov,
    NonconvexLogistic,
    NonNegative,
    Oracle,
    Partial,
    Penalty,
    Prediction,
    Scaffnew,
    Simplex,
    SoftmaxLoss,
    Solution,
    SquaredHingeLoss,
    SquaredLoss,
    Status,
    Zero,
    predict,
    solve,
)
from thinwire.exchange import Exchange, Outcome
from thinwire.keys import Key
from thinwire.link import Link, LinkState, Recursion
from thinwire.lowrank import LowRank
from thinwire.payload import Payload
from thinwire.presets import clag, dasha, dcgd, diana, ef14, ef21, ef_bv, lag, marina, rand_diana
from thinwire.probing.script import probe
from thinwire.probing.watch import Watch
from thinwire.spec import parse_compressor, parse_link, parse_sender, to_text
from thinwire.training import (
    Checkpoints,
    LinkMemory,
    Log,
    PerRank,
    Policy,
    Rule,
    Stages,
    Stats,
    Tally,
    Wire,
    all_reduce,
    reduce_gradients_,
    take_momentum,
)
from thinwire.version import __version__

if typing.TYPE_CHECKING:
    from thinwire.estimators import ElasticNet, Lasso, LinearSVC, LogisticRegression, Ridge

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
    "Advice",
    "BFloat16",
    "Box",
    "Certificate",
    "Chain",
    "Checkpoints",
    "Compressor",
    "Dither",
    "ElasticNet",
    "Exchange",
    "FiniteSum",
    "Float16",
    "Full",
    "Gradient",
    "Group",
    "GroupLasso",
    "HuberLoss",
    "Identity",
    "Induced",
    "IntDIANA",
    "IntSGD",
    "Key",
    "Lasso",
    "LinearSVC",
    "Link",
    "LinkMemory",
    "LinkState",
    "LoCoDL",
    "LocalGroup",
    "Log",
    "LogisticLoss",
    "LogisticRegression",
    "LowRank",
    "Minibatch",
    "Moment",
    "Natural",
    "NaturalDither",
    "Nesterov",
    "NonNegative",
    "NonconvexLogistic",
    "Oracle",
    "Outcome",
    "Partial",
    "Payload",
    "PeerError",
    "Penalty",
    "PerRank",
    "PermK",
    "Policy",
    "Prediction",
    "Probe",
    "ProcessGroup",
    "RandK",
    "Recursion",
    "Ridge",
    "Rotated",
    "Rule",
    "Scaffnew",
    "Scaled",
    "Sign",
    "Simplex",
    "SoftmaxLoss",
    "Solution",
    "SquaredHingeLoss",
    "SquaredLoss",
    "Stages",
    "Stats",
    "Status",
    "Tally",
    "Ternary",
    "TopK",
    "Watch",
    "Wire",
    "Zero",
    "__version__",
    "advise",
    "all_reduce",
    "attach",
    "clag",
    "dasha",
    "dcgd",
    "diana",
    "ef14",
    "ef21",
    "ef_bv",
    "lag",
    "marina",
    "parse_compressor",
    "parse_link",
    "parse_sender",
    "predict",
    "probe",
    "rand_diana",
    "reduce_gradients_",
    "solve",
    "take_momentum",
    "to_text",
]

_LATE = ("ElasticNet", "Lasso", "LinearSVC", "LogisticRegression", "Ridge")


def __getattr__(name: str) -> typing.Any:
    """The estimators, when one is asked for: nobody else waits for scikit-learn."""
    if name in _LATE:
        return getattr(importlib.import_module("thinwire.estimators"), name)
    raise AttributeError(f"module 'thinwire' has no attribute {name!r}")
