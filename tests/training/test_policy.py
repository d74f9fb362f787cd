"""Policies: which parameters travel by what, and what is said of a policy that cannot be meant so."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import thinwire as tw
from thinwire.training.frames import cut_frames

from . import jobs
from .fleet import Fleet
from .rows import SHAPES, mean_gradient, parameters, reducer, run

FINE, COARSE = tw.dcgd(tw.Rotated(bits=3)), tw.diana(tw.Rotated(bits=1))
GROWING = tw.Stages({0: FINE, 10: COARSE})

rules = st.builds(
    tw.Rule,
    st.sampled_from([None, FINE, COARSE, GROWING]),
    names=st.sampled_from(["*", "p*", "*.weight", "*1*", "p3.bias", "q*"]),
    min_ndim=st.integers(0, 3),
    min_size=st.sampled_from([0, 1, 100, 1024, 5000]),
)
models = st.lists(
    st.tuples(st.sampled_from(["weight", "bias"]), st.lists(st.integers(1, 80), max_size=3)), min_size=1, max_size=12
)


@given(models, st.lists(rules, min_size=1, max_size=4))
def test_frames_follow_the_first_rule_that_covers(listed: list[tuple[str, list[int]]], given_rules: list[Any]) -> None:
    shapes = {f"p{i}.{name}": tuple(shape) for i, (name, shape) in enumerate(listed)}
    policy = tw.Policy(*given_rules)
    frames = cut_frames(parameters(shapes), policy)
    slots = [slot for frame in frames for slot in frame.slots]
    assert sorted(slot.name for slot in slots) == sorted(shapes), "every parameter once"
    order = list(reversed(shapes))
    for frame in frames:
        ends = [slot.start + slot.size for slot in frame.slots]
        assert [slot.start for slot in frame.slots] == [0, *ends[:-1]]
        assert frame.d == ends[-1]
        places = [order.index(slot.name) for slot in frame.slots]
        assert places == sorted(places), "in the order of the backward pass"
        for slot in frame.slots:
            assert slot.shape == shapes[slot.name]
            first = next((rule for rule in given_rules if rule.covers(slot.name, slot.shape)), None)
            assert frame.sender == (first.sender if first else None)
    lasts = [order.index(frame.slots[-1].name) for frame in frames if frame.sender is not None]
    assert lasts == sorted(lasts), "frames leave in the order in which they are full"
    assert [frame.sender is None for frame in frames[:-1]] == [False] * (len(frames) - 1), "as it is: one, the last"
    covered = {name: [rule.covers(name, shape) for rule in given_rules] for name, shape in shapes.items()}
    deciding = {covers.index(True) for covers in covered.values() if any(covers)}
    assert len(policy.idle(shapes)) == len(given_rules) - len(deciding), "whoever decides nothing is named"


def test_a_policy_is_a_value() -> None:
    policy = tw.Policy(tw.Rule(GROWING, "*embedding*"), tw.Rule(COARSE, min_ndim=2, min_size=1024), tw.Rule(None))
    for twin in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy)):
        assert twin == policy
        assert str(twin) == str(policy)
    assert policy != tw.Policy(*policy.rules[:2])
    wanted = (
        "policy(rule(stages(0: dcgd(rotated(bits=3)), 10: diana(rotated(bits=1))), '*embedding*'), "
        "rule(diana(rotated(bits=1)), '*', min_ndim=2, min_size=1024), rule(as it is, '*'))"
    )
    assert str(policy) == wanted, "what the workers compare has every part of it"


def test_a_link_alone_is_the_usual_policy() -> None:
    policy = tw.Policy.usual(FINE)
    assert str(policy) == "dcgd(rotated(bits=3))"
    assert reducer(FINE).settings.policy == policy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tw.Rule("dcgd(rotated(3))"), "Stages of links, or None; got 'dcgd.*'. A text becomes a link by"),
        (lambda: tw.Rule(tw.Rotated(bits=3)), r"sender is a link, .*, or None; got Rotated\(bits=3\)"),
        (lambda: tw.Rule(FINE, names=["*.weight"]), r"names is one pattern; got \['\*.weight'\]. For several"),
        (lambda: tw.Rule(FINE, min_ndim=-1), "min_ndim is a whole number, at least 0; got -1"),
        (lambda: tw.Rule(FINE, min_size=0.5), "min_size is a whole number, at least 0; got 0.5"),
        (lambda: tw.Policy(), r"a policy has a rule at least. Rule\(None\): all as it is"),
        (lambda: tw.Policy(FINE), r"a policy is made of rules; got dcgd.*Policy.usual\(link\)"),
        (lambda: tw.Stages({}), "one link holds from step 0, none from before"),
        (lambda: tw.Stages({5: FINE}), r"one link holds from step 0, none from before; got \[5\]"),
        (lambda: tw.Stages({-1: FINE, 0: FINE}), "none from before"),
        (lambda: tw.Stages({0: FINE, 2.5: COARSE}), "steps are whole numbers; got 2.5"),
        (lambda: tw.Stages({0: FINE, "9": COARSE}), "steps are whole numbers; got '9'"),
        (lambda: tw.Stages({0: FINE, True: COARSE}), "steps are whole numbers; got True"),
        (lambda: tw.Stages({0: "dcgd(rotated(3))"}), "each stage is a link; got 'dcgd.*A text becomes a link"),
        (lambda: tw.Stages({0: tw.ef14(tw.TopK(0.1)), 9: FINE}), "still owes what it has not sent when .* takes over"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rule_for_nothing_is_said() -> None:
    typo = tw.Policy(tw.Rule(FINE, "embeding*"), tw.Rule(COARSE, min_ndim=2))
    said = r"rule\(dcgd\(rotated\(bits=3\)\), 'embeding\*'\) covers no parameter of this model"
    with pytest.warns(UserWarning, match=said):
        made = reducer(typo)
    assert len(made.stats().notes) == 1
    with pytest.raises(ValueError, match=f"strict: {said}"):
        reducer(typo, strict=True)
    hidden = tw.Policy(tw.Rule(COARSE, min_ndim=2), tw.Rule(FINE, "embedding*"))
    with pytest.warns(UserWarning, match="decides about no parameter: the rules before it cover all that it covers"):
        reducer(hidden)
    with pytest.warns(UserWarning, match=r"min_size=1024\) covers no parameter of this model"):
        tw.reduce_gradients_(torch.nn.Linear(2, 2).named_parameters(), FINE, tw.LinkMemory(), tw.LocalGroup(1))


def test_what_no_rule_covers_is_the_plain_mean() -> None:
    made = reducer(tw.Policy(tw.Rule(None, "0.*"), tw.Rule(FINE, "embedding*"), tw.Rule(COARSE, "1.weight")))
    assert [[slot.name for slot in frame.slots] for frame in made.frames] == [
        ["1.weight"],
        ["embedding.weight"],
        ["1.bias", "0.bias", "0.weight"],
    ]
    estimates = run(made, 0)
    for name in SHAPES:
        # the sum of four float32 numbers of some units, whatever the order: a few roundings
        exact = torch.allclose(estimates[name], mean_gradient(name, 0), rtol=0, atol=4e-6)
        assert exact == (name not in ("1.weight", "embedding.weight")), name


SEVERAL = tw.Policy(
    tw.Rule(tw.Stages({0: tw.dcgd(tw.Rotated(bits=3)), 2: tw.dcgd(tw.Rotated(bits=1))}), "first.*", min_ndim=2),
    tw.Rule(tw.diana(tw.Identity()), "second.weight"),
    tw.Rule(tw.ef14(tw.TopK(0.05)), min_ndim=2),
)


def test_several_links_under_attach(fleet: Fleet) -> None:
    dense = fleet.run(jobs.train_with, "dcgd(identity())", {})
    ours = fleet.run(jobs.train_with, SEVERAL, {})
    assert len(ours[0]["stats"].routes) == 4
    many = fleet.run(jobs.train_with, SEVERAL, {"ddp": {"bucket_cap_mb": 0.01, "gradient_as_bucket_view": True}})
    for result in (*ours, *many):
        assert torch.equal(result["weights"], ours[0]["weights"]), "replicas drift, or buckets matter"
    sizes = [4096, 64, 4096, 64, 64, 4096, 64]  # first, second, tied (its weight is first's), extra
    parts = [part.split(sizes) for part in (dense[0]["gradients"][0], ours[0]["gradients"][0])]
    as_it_is = [torch.equal(a, b) for a, b in zip(*parts, strict=True)]
    assert as_it_is == [False, True, True, True, True, False, True], "matrices of the first and last layer are coded"


def test_several_links_resume(fleet: Fleet) -> None:
    whole = fleet.run(jobs.train_with, SEVERAL, {"steps": 5, "attach": {"momentum": 0.9}})
    for at in (1, 2, 3):
        half = fleet.run(jobs.train_with, SEVERAL, {"steps": at, "attach": {"momentum": 0.9}})
        rest = {"steps": 5 - at, "start": at, "attach": {"momentum": 0.9}}
        resumed = fleet.run(jobs.train_from, SEVERAL, half, rest)
        for result in resumed:
            assert torch.equal(result["weights"], whole[0]["weights"])
