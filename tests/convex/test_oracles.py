"""What oracles remember."""

import numpy as np

import thinwire as tw
from thinwire.comm import LocalGroup
from thinwire.convex.draws import Draws
from thinwire.convex.setup import bind
from thinwire.convex.wire import Exact, Traffic


def test_what_saga_has_told_stays_as_it_was() -> None:
    """A checkpoint holds the last two states: the older one must not follow the table."""
    A, b = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    group = LocalGroup(2)
    objective = bind(tw.LogisticLoss(A, b, l2=0.1), group, Exact(group, Traffic()))
    source = tw.SAGA().start(objective, np.zeros(3), Draws(0, range(2), 10))
    told = source.state_dict()
    before = {name: part.copy() for name, part in told.items()}
    for k in range(2):
        source.gradients(np.ones(3), k)
        assert all(np.array_equal(told[name], before[name]) for name in before)
        source.load_state_dict(told)
