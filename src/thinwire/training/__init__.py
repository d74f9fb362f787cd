"""thinwire in training: DDP's hook, the engine behind it, and functions for other loops."""

from thinwire.training.beside import Pilot, Watcher
from thinwire.training.checkpoint import Checkpoints
from thinwire.training.ddp import Wire
from thinwire.training.functional import LinkMemory, all_reduce, reduce_gradients_
from thinwire.training.log import Log
from thinwire.training.momentum import take_momentum
from thinwire.training.per_rank import PerRank
from thinwire.training.policy import Policy, Rule, Stages
from thinwire.training.stats import Stats, Tally

__all__ = [
    "Checkpoints",
    "LinkMemory",
    "Log",
    "PerRank",
    "Pilot",
    "Policy",
    "Rule",
    "Stages",
    "Stats",
    "Tally",
    "Watcher",
    "Wire",
    "all_reduce",
    "reduce_gradients_",
    "take_momentum",
]
