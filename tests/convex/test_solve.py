"""The loop: it ends at the optimum with a true certificate, or says why not; the same bits wherever workers live."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

import thinwire as tw

from ..comm.ranks import run_ranks
from .cases import PROBLEMS, N, bound, data, labels

LINKS = [
    "dcgd(identity(bits=64))",
    "diana(rotated(bits=1))",
    "diana(ternary)",
    "rand_diana(natural)",
    "ef21(topk(0.5))",
]
LINKS += ["ef_bv(topk(0.5))", "marina(randk(0.5))", "dasha(randk(0.5))", "clag(topk(0.5))", "lag()"]
PENALTIES = [tw.L1(0.05), tw.L1L2(0.02, 0.1), tw.NonNegative(), tw.Box(-0.2, 0.2), tw.Simplex(2.0)]
PENALTIES += [tw.GroupLasso(0.05, [0, 0, 1, 1, 2, 2]), tw.L2(0.1)]


def best(problem: tw.FiniteSum, penalty: tw.Penalty | None = None) -> tw.Solution:
    """The optimum by plain proximal gradient steps, certified."""
    link = tw.dcgd(tw.Identity(bits=64))
    return tw.solve(problem, penalty=penalty, link=link, workers=1, tol=1e-13, max_rounds=100_000)


@pytest.mark.parametrize("link", LINKS)
def test_every_link_finds_the_optimum(link: str) -> None:
    """μ-strong convexity turns a gap g into a distance √(2g/μ): the certificate's, which must hold."""
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    found = tw.solve(problem, link=tw.parse_link(link), workers=5, tol=1e-10, max_rounds=20_000)
    wanted = best(problem)
    assert found.status is tw.Status.CONVERGED
    assert found.certificate.gap is not None
    assert found.certificate.distance is not None
    assert found.certificate.value - wanted.certificate.value <= found.certificate.gap
    assert np.linalg.norm(found.x - wanted.x) <= found.certificate.distance + 1e-6


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "nonconvex logistic"])
def test_every_loss_agrees_with_an_independent_solver(name: str) -> None:
    problem = PROBLEMS[name](data(), l2=0.1)
    found = tw.solve(problem, workers=4, tol=1e-13, max_rounds=20_000)
    assert found.converged

    f = bound(problem, 1)
    start = np.zeros_like(found.x)
    independent = minimize(lambda x: f.values(x)[0], start, jac=lambda x: f.gradients(x)[0], tol=1e-9)
    assert found.certificate.value <= independent.fun + 1e-10
    np.testing.assert_allclose(found.x, independent.x, atol=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_penalties_converge_and_the_gap_is_a_bound(penalty: tw.Penalty, l2: float) -> None:
    problem = tw.SquaredLoss(data(), data() @ np.ones(6) + np.sin(np.arange(N)), l2=l2)
    found = tw.solve(problem, penalty=penalty, link=tw.diana(tw.Ternary()), workers=5, tol=1e-9, max_rounds=20_000)
    wanted = best(problem, penalty)
    assert found.converged, found.status
    assert wanted.converged
    for moment in found.history[1:]:
        assert moment.gap is None or moment.gap >= (moment.value - wanted.certificate.value) * (1 - 1e-6) - 1e-13
    np.testing.assert_allclose(found.x, wanted.x, atol=1e-3)


@pytest.mark.parametrize("oracle", [tw.LSVRG(batch=2), tw.SAGA(batch=2), tw.LSVRG(batch=3, p=0.5)])
def test_vr_diana_goes_where_sgd_diana_does_not(oracle: tw.Oracle) -> None:
    problem, link = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2), tw.diana(tw.RandK(0.5))
    found = tw.solve(problem, link=link, oracle=oracle, workers=4, tol=1e-10, max_rounds=60_000)
    assert found.converged
    noisy = tw.solve(problem, link=link, oracle=tw.Minibatch(batch=2), workers=4, tol=1e-10, max_rounds=found.rounds)
    assert noisy.status is tw.Status.FLOOR
    assert noisy.certificate.gap is not None
    assert found.certificate.gap is not None
    assert noisy.certificate.gap > 1e4 * found.certificate.gap


@pytest.mark.parametrize("link", [tw.marina(tw.RandK(0.5)), tw.dasha(tw.RandK(0.5))])
def test_page_with_marina_and_dasha(link: tw.Link) -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    found = tw.solve(
        problem, link=link, oracle=tw.PAGE(batch=5), workers=4, tol=1e-9, max_rounds=100_000, step="theory*4"
    )
    assert found.converged


@pytest.mark.parametrize("oracle", [tw.LSVRG(), tw.SAGA(), tw.Minibatch(), tw.LSVRG(p=1.0)])
def test_with_one_sample_a_worker_every_oracle_is_the_full_gradient(oracle: tw.Oracle) -> None:
    """v = ∇f_iS(x) − ∇f_iS(w) + ∇f_i(w), S all there is. What is left are three roundings a step."""
    problem = tw.LogisticLoss(data(rows=4), labels(data(rows=4), 2), l2=0.2)
    full, other = (
        tw.solve(problem, workers=4, link=tw.dcgd(tw.Identity(bits=64)), oracle=one, tol=1e-6, step=0.5, max_rounds=20)
        for one in (tw.Full(), oracle)
    )
    np.testing.assert_allclose(other.x, full.x, rtol=1e-13)


def test_dcgd_stops_at_a_floor_and_says_so() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    found = tw.solve(problem, link=tw.dcgd(tw.Ternary()), workers=5, split="label", tol=1e-10, max_rounds=3000)
    assert found.status is tw.Status.FLOOR
    assert "diana" in found.status.value


def test_too_large_a_step_diverges_and_says_so() -> None:
    problem = tw.SquaredLoss(data(), np.ones(N))
    found = tw.solve(problem, workers=3, step="theory*64", max_rounds=5000)
    assert found.status is tw.Status.DIVERGED


def test_float32_ends_where_its_rounding_does() -> None:
    problem = tw.LogisticLoss(data().astype(np.float32), labels(data(), 2), l2=0.2)
    found = tw.solve(problem, workers=3, tol=1e-20, max_rounds=2000)
    assert found.x.dtype == np.float32
    assert found.status is tw.Status.ROUNDING


@pytest.mark.parametrize("name", ["logistic", "softmax"])
@pytest.mark.parametrize("oracle", [tw.Full(), tw.LSVRG(batch=4), tw.SAGA(batch=4)])
@pytest.mark.parametrize("sparse", [False, True])
def test_processes_give_the_same_bits_as_one(name: str, oracle: tw.Oracle, sparse: bool) -> None:
    """Four workers: in one process, as four ranks, and as two ranks of two."""
    A = data(rows=64, sparse=sparse)
    problem, link = (
        PROBLEMS[name](A, l2=0.1, intercept=True),
        tw.diana(tw.Ternary() if name == "logistic" else tw.RandK(0.5)),
    )
    local = tw.solve(problem, link=link, oracle=oracle, workers=4, max_rounds=30, tol=1e-12, check_every=10, seed=7)
    for processes in (4, 2):

        def work(group: tw.ProcessGroup, share: int = 64 // processes, rows: int = 4 // processes) -> tw.Solution:
            first = group.ranks.start // rows * share
            mine = A[first : first + share]
            own = tw.FiniteSum(problem.name, problem.loss, mine, problem.targets[first : first + share], 0.1, True)
            return tw.solve(
                own, link=link, oracle=oracle, group=group, max_rounds=30, tol=1e-12, check_every=10, seed=7
            )

        for solution in run_ranks(processes, work, rows=4 // processes):
            assert np.array_equal(solution.x, local.x)
            assert [m.value for m in solution.history] == [m.value for m in local.history]
            assert (solution.bytes_up, solution.rounds) == (local.bytes_up, local.rounds)


def test_mismatched_ranks_are_named() -> None:
    def columns(group: tw.ProcessGroup) -> None:
        A = data()[:, : 6 - group.ranks.start]
        with pytest.raises(tw.PeerError, match="rank 0 has 6, rank 1 has 5"):
            tw.solve(tw.SquaredLoss(A, np.ones(N)), group=group)

    def steps(group: tw.ProcessGroup) -> None:
        with pytest.raises(tw.PeerError, match="rank 0 has 'step = 0', rank 1 has 'step = 1'"):
            tw.solve(tw.SquaredLoss(data(), np.ones(N)), group=group, step=group.ranks.start)

    run_ranks(2, columns)
    run_ranks(2, steps)


@pytest.mark.parametrize(
    ("loss", "more", "says"),
    [
        (lambda A, b, rank: tw.SquaredLoss(A, b, l2=rank), {}, "'l2 = 0', rank 1 has 'l2 = 1'"),
        (lambda A, b, rank: tw.HuberLoss(A, b, delta=1 + rank), {}, "'delta = 1', rank 1 has 'delta = 2'"),
        (lambda A, b, rank: (tw.HuberLoss if rank else tw.SquaredLoss)(A, b), {}, "'loss = SquaredLoss', rank 1"),
        (lambda A, b, rank: tw.SquaredLoss(A[:, rank:], b, intercept=bool(rank)), {}, "'intercept = False', rank"),
        (lambda A, b, rank: tw.SquaredLoss(A.astype(["f4", "f8"][rank]), b), {}, "'dtype = float32', rank 1"),
        (lambda A, b, rank: tw.SquaredLoss(A, b), {"x0": lambda rank: np.full(6, rank)}, "'x0 = .*', rank 1"),
        (lambda A, b, rank: tw.SquaredLoss(A, b), {"tol": lambda rank: 0.1 + rank}, "'tol = 0.1', rank 1"),
        (lambda A, b, rank: tw.SquaredLoss(A, b), {"max_rounds": lambda rank: 1 + rank}, "'max_rounds = 1'"),
    ],
)
def test_ranks_that_state_another_problem_are_named(loss: Any, more: dict[str, Any], says: str) -> None:
    def work(group: tw.ProcessGroup) -> None:
        rank = group.ranks.start
        with pytest.raises(tw.PeerError, match=says):
            tw.solve(loss(data(), np.ones(N), rank), group=group, **{name: make(rank) for name, make in more.items()})

    run_ranks(2, work)


@pytest.mark.parametrize("oracle", [tw.Full(), tw.LSVRG(batch=2), tw.SAGA(batch=2)])
def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(oracle: tw.Oracle, tmp_path: Path) -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.05)
    kept = tmp_path / "run-{rank}.pt"
    link = tw.diana(tw.Rotated(bits=1))
    whole = tw.solve(problem, link=link, oracle=oracle, workers=4, tol=1e-14, max_rounds=60, check_every=10)
    for end in (20, 30, 60):
        parts = tw.solve(
            problem, link=link, oracle=oracle, workers=4, tol=1e-14, max_rounds=end, check_every=10, checkpoint=kept
        )
    assert np.array_equal(whole.x, parts.x)
    assert [m.value for m in whole.history] == [m.value for m in parts.history]
    assert whole.bytes_up == parts.bytes_up
    with pytest.raises(ValueError, match="another run's"):
        tw.solve(problem, link=tw.diana(tw.Ternary()), oracle=oracle, workers=4, checkpoint=kept)


def test_bytes_are_those_of_the_payloads() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.1)
    link = tw.diana(tw.Ternary())
    found = tw.solve(problem, link=link, workers=3, tol=1e-12, max_rounds=17)
    assert found.bytes_up == 17 * link.compressor.nbytes(6)
    assert found.bytes_sent == 2 * found.bytes_up
    assert found.bytes_down == 17 * 6 * 8


def test_the_callback_sees_every_moment_and_can_stop() -> None:
    seen: list[tw.Moment] = []
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.1)
    found = tw.solve(
        problem, workers=3, tol=1e-14, check_every=5, callback=lambda m, x: seen.append(m) or m.round >= 15
    )
    assert found.status is tw.Status.STOPPED
    assert [m.round for m in seen] == [0, 5, 10, 15]
    assert list(found.history) == seen


def test_a_known_optimum_decides() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.1)
    wanted = best(problem).certificate.value
    found = tw.solve(problem, workers=3, tol=1e-6, optimum=wanted, check_every=1)
    gaps = [gap for gap in found.suboptimality() if gap is not None]
    assert gaps[-1] <= 1e-6 * gaps[0] < gaps[-2]


@pytest.mark.parametrize(
    "more, message",
    [
        ({"workers": 61}, "worker"),
        ({"tol": 0}, "tol must be positive"),
        ({"step": "fast"}, 'step must be "theory"'),
        ({"step": "theory*-1"}, 'step must be "theory"'),
        ({"step": -1.0}, "step must be positive"),
        ({"x0": np.ones(3)}, r"x0 must be \(6,\)"),
        ({"link": tw.marina(tw.RandK(0.5)), "penalty": tw.L1(0.1)}, "allows no penalty"),
        ({"link": tw.ef21(tw.TopK(0.5)), "oracle": tw.SAGA()}, "no theorem covers them"),
        ({"link": tw.rand_diana(tw.RandK(0.5))}, "strong"),
        ({"oracle": tw.LSVRG(batch=31)}, "batch"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_round(more: dict[str, object], message: str) -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2))
    with pytest.raises(ValueError, match=message):
        tw.solve(problem, **{"workers": 2, **more})  # type: ignore[arg-type]


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes; got '1: 1'"):
        tw.solve(tw.LogisticLoss(data(), np.ones(N, int)))
    with pytest.raises(ValueError, match="Use SoftmaxLoss"):
        tw.solve(tw.LogisticLoss(data(), labels(data(), 3)))


def test_a_nonconvex_problem_has_no_gap_and_its_gradient_vanishes() -> None:
    problem = tw.NonconvexLogistic(data(), labels(data(), 2), lam=0.1)
    found = tw.solve(problem, link=tw.ef21(tw.TopK(0.5)), workers=4, tol=1e-6, max_rounds=20_000)
    assert found.converged
    assert found.certificate.gap is None
    assert found.certificate.mapping <= 1e-6 * found.history[0].mapping
    assert math.isfinite(found.certificate.value)


RULES = [tw.Gradient(), tw.Gradient(momentum=0.5), tw.Nesterov(), tw.ADIANA(), tw.Scaffnew(), tw.LoCoDL(), tw.IntSGD()]
RULES += [tw.IntDIANA(), tw.Partial(0.5), tw.DORE(tw.Rotated(bits=3)), tw.MCM(tw.Rotated(bits=3))]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_solves_by_its_usual_link(rule: tw.Gradient) -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    found = tw.solve(problem, rule=rule, workers=5, tol=1e-5, max_rounds=20_000)
    assert found.converged, found.status
    assert found.bytes_up > 0


def test_no_rate_is_promised_to_momentum() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.05)
    assert tw.predict(problem, workers=4).rounds is not None
    assert tw.predict(problem, workers=4, rule=tw.Gradient(momentum=0.9)).rounds is None


def test_a_warm_start_is_no_divergence() -> None:
    """At the optimum the mapping is of rounding's size; the link, which knows nothing yet, leads away at first."""
    problem = tw.LogisticLoss(data(), labels(data(), 2), intercept=True)
    settings = {"penalty": tw.L1(0.01), "workers": 4, "tol": 1e-6}
    best = tw.solve(problem, **{**settings, "tol": 1e-13, "link": tw.diana(tw.Identity(bits=64))}, max_rounds=100_000)
    found = tw.solve(problem, **settings, link=tw.diana(tw.Ternary()), x0=best.x, max_rounds=50)
    assert found.status is not tw.Status.DIVERGED


def test_dore_refuses_constraints() -> None:
    with pytest.raises(ValueError, match="need not meet a constraint"):
        tw.solve(tw.SquaredLoss(data(), np.ones(N), l2=0.1), rule=tw.DORE(tw.Rotated(bits=3)), penalty=tw.NonNegative())


def test_pages_p_is_the_theorems() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    rare, often = (
        tw.predict(problem, link=tw.dasha(tw.RandK(0.5)), oracle=tw.PAGE(batch=2, p=p), workers=4).plan.step
        for p in (0.01, 0.9)
    )
    assert rare < often
    with pytest.raises(ValueError, match="the coin is the link's"):
        tw.predict(problem, link=tw.marina(tw.RandK(0.5)), oracle=tw.PAGE(batch=2, p=0.5), workers=4)


def test_a_step_of_the_users_is_taken_as_it_is_with_momentum_too() -> None:
    problem = tw.LogisticLoss(data(), labels(data(), 2), l2=0.2)
    plain, heavy = (tw.predict(problem, rule=tw.Gradient(momentum=m), workers=4) for m in (0.0, 0.75))
    assert heavy.plan.step == plain.plan.step / 4
    assert tw.predict(problem, rule=tw.Gradient(momentum=0.75), workers=4, step=0.5).plan.step == 0.5


def test_what_is_given_stays_as_it_is() -> None:
    """A matrix with unsorted and repeated entries is put in order in a copy."""
    given = sp.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([1, 0, 0]), np.array([0, 3, 3])), shape=(2, 2))
    tw.SquaredLoss(given, [1.0, 2.0])
    assert given.indices.tolist() == [1, 0, 0]


@pytest.mark.parametrize("more", [{"workers": 0}, {"workers": 7, "group": tw.LocalGroup(3)}])
def test_workers_are_counted_once(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        tw.solve(tw.SquaredLoss(data(), np.ones(N)), **more)


def test_one_callback_stops_all_ranks() -> None:
    def work(group: tw.ProcessGroup) -> tw.Status:
        problem = tw.SquaredLoss(data(), np.ones(N), l2=0.1)
        return tw.solve(problem, group=group, tol=1e-14, callback=lambda m, x: group.ranks.start == 0).status

    assert run_ranks(2, work) == [tw.Status.STOPPED] * 2


def test_a_checkpoint_is_of_its_data(tmp_path: Path) -> None:
    kept = tmp_path / "run.pt"
    A = data()
    tw.solve(tw.SquaredLoss(A, np.ones(N)), workers=3, max_rounds=5, tol=1e-14, checkpoint=kept)
    with pytest.raises(ValueError, match="another run's"):
        tw.solve(tw.SquaredLoss(A + 1e-9, np.ones(N)), workers=3, checkpoint=kept)
    kept.write_bytes(b"something else")
    with pytest.raises(ValueError, match="it is no checkpoint"):
        tw.solve(tw.SquaredLoss(A, np.ones(N)), workers=3, checkpoint=kept)
    with pytest.raises(ValueError, match="its folder does not exist"):
        tw.solve(tw.SquaredLoss(A, np.ones(N)), workers=3, checkpoint=tmp_path / "nowhere" / "run.pt")
