"""Links and collectives: pairs cover everyone, workers agree, a fit recovers the network that times were made of."""

from __future__ import annotations

import math
import random
from dataclasses import asdict
from itertools import combinations
from statistics import median

import pytest

import thinwire as tw
from thinwire.advisor.facts import Network
from thinwire.advisor.findings import CollectiveFound, LinkFound, Measured
from thinwire.comm import peers
from thinwire.probing import pairs
from thinwire.probing.collectives import COLLECTIVES, Taken, merged, sizes
from thinwire.probing.fit import SENT, Call, Fitted, errors, fit, predicted
from thinwire.probing.network import find_network, links_from, notes, round_from
from thinwire.probing.pairs import ALL_PAIRS, SAMPLED, tournament
from thinwire.probing.together import anyone, cores_each, everyones

from ..comm.ranks import run_ranks

NOISE = 0.05


@pytest.mark.parametrize("workers", range(2, 40))
def test_no_worker_is_twice_in_a_round_and_all_are_covered(workers: int) -> None:
    rounds = tournament(workers, seed=workers)
    for drawn in rounds:
        named = [worker for pair in drawn for worker in pair]
        assert len(set(named)) == len(named) == workers - workers % 2
        assert all(0 <= a < b < workers for a, b in drawn)
    met = [pair for drawn in rounds for pair in drawn]
    assert len(set(met)) == len(met)
    assert {worker for pair in met for worker in pair} == set(range(workers))
    if workers <= ALL_PAIRS:
        assert set(met) == set(combinations(range(workers), 2))
    else:
        assert len(rounds) == SAMPLED
        assert tournament(workers, seed=workers) == rounds != tournament(workers, seed=workers + 1)


@pytest.mark.parametrize("workers", [2, 3, 5, 8, 64, 5000])
def test_every_worker_has_a_whole_share(workers: int) -> None:
    made = sizes(workers)
    assert made == sorted(set(made))
    assert all(size % (4 * workers) == 0 for size in made)


def synthetic(network: Network, *, workers: int, cores: float, noise: float, seed: int = 0) -> list[Call]:
    """What the advisor's model says of collectives, times a lognormal factor."""
    drawn = random.Random(seed)
    made = []
    for size in sizes(workers):
        for name in SENT:
            seconds = predicted(network, name, size, workers=workers, cores=cores)
            fixed = (network.hop if name == "all_reduce" else network.message) * (workers - 1)
            busy = fixed + SENT[name](workers) * size * network.per_byte
            made.append(Call(name, size, seconds * math.exp(drawn.gauss(0, noise)), busy))
    return made


@pytest.mark.parametrize("noise", [0.0, NOISE])
@pytest.mark.parametrize(
    ("network", "workers", "cores"),
    [
        (Network(12e6, 2e-4, 0.0, 5e-4, 4e-4, 2e-9, 0.95, 0.8), 4, 0.5),
        (Network(120e6, 1e-4, 0.0, 3e-4, 2e-4, 1e-10, 1.0, 0.7), 8, 1.0),
        (Network(2.5e6, 2e-2, 0.0, 2e-2, 3e-2, 0.0, 1.0, 0.9), 2, 4.0),
        (Network(1.2e9, 3e-5, 0.0, 1e-5, 1e-5, 1e-11, 1.0, 0.5), 16, 8.0),
    ],
)
def test_a_fit_recovers_the_network_behind_the_times(
    network: Network, workers: int, cores: float, noise: float
) -> None:
    """Every figure is a median of at least three, times a factor whose logarithm has a deviation of `noise`.

    The median of three normals deviates by 0.67 of one. A rate also keeps what fixed costs leave in calls that take
    LONG times as long as the shortest ones: at most 1 / LONG of it, and in the median of growing sizes far less.
    """
    calls = synthetic(network, workers=workers, cores=cores, noise=noise)
    found = fit(calls, latency=network.latency, bandwidth=network.bandwidth, workers=workers, cores=cores)
    assert not found.bounded
    tolerance = 0.05 + 5 * 0.67 * noise
    for name in ("bandwidth", "ring", "direct", "hop", "message"):
        assert getattr(found.network, name) == pytest.approx(getattr(network, name), rel=tolerance), name
    assert found.network.call == 0
    assert found.error < 0.02 + 2 * noise


def test_processors_that_are_the_limit_hide_the_wire_and_are_charged() -> None:
    """Processors that are all in use: what a byte costs is found; of the bandwidth only that a pair's is its least."""
    truth = Network(hop=1e-4, message=1e-4, per_byte=4e-9)
    workers, cores = 4, 0.5
    calls = [
        Call(name, size, seconds := predicted(truth, name, size, workers=workers, cores=cores), seconds * cores)
        for size in sizes(workers)
        for name in SENT
    ]
    found = fit(calls, latency=0.0, bandwidth=1e9, workers=workers, cores=cores)
    assert found.bounded
    assert found.network.bandwidth == 1e9
    assert found.network.per_byte == pytest.approx(truth.per_byte)  # fixed costs and bytes add up on half a processor
    assert found.error < 0.05
    assert any("cannot be told" in text for text in notes([link(0, 1)], [], found))


def test_collectives_far_below_a_pair_are_the_processors_where_workers_share_them_and_else_in_doubt() -> None:
    truth = Network(bandwidth=1e8, latency=1e-5, message=1e-4, hop=1e-4)
    for cores, bounded in ((0.5, True), (4.0, False)):
        calls = synthetic(truth, workers=4, cores=cores, noise=0)
        found = fit(calls, latency=1e-5, bandwidth=1e9, workers=4, cores=cores)
        assert (found.slow, found.bounded, found.network.bandwidth) == (True, bounded, 1e9)
        expected = "Processors are the limit" if bounded else "which of them cannot be told"
        assert expected in notes([link(0, 1)], [], found)[0]
        assert found.error < 0.1


def test_where_processors_are_the_limit_both_kinds_of_collectives_keep_their_own_speed() -> None:
    """Of 4 ns a byte in a ring and 10 ns in messages to all, on a processor of one's own."""
    calls = [
        Call(name, size, 1e-3 + SENT[name](4) * size * (4e-9 if name == "all_reduce" else 1e-8), 0.0)
        for size in sizes(4)
        for name in SENT
    ]
    found = fit(calls, latency=0.0, bandwidth=1e9, workers=4, cores=1)
    assert found.bounded
    assert found.network.per_byte == pytest.approx(4e-9)
    assert found.network.ring == 1
    for name in ("all_reduce", "all_to_all"):
        longest = max((one for one in calls if one.name == name), key=lambda one: one.size)
        assert predicted(found.network, name, longest.size, workers=4, cores=1) == pytest.approx(
            longest.seconds, rel=0.1
        )


def test_collectives_that_are_faster_than_a_pair_alone_raise_the_bandwidth() -> None:
    """One connection need not fill a link; parts of the bandwidth stay at most 1."""
    truth = Network(bandwidth=1e9, message=1e-4, hop=1e-4)
    found = fit(synthetic(truth, workers=4, cores=8, noise=0), latency=0.0, bandwidth=2e8, workers=4, cores=8)
    assert max(found.network.ring, found.network.direct) == 1
    assert found.network.bandwidth == pytest.approx(truth.bandwidth, rel=0.05)


def test_a_call_that_a_longer_one_beats_tells_no_rate() -> None:
    """As Gloo's ring of 8 does at 1 MB, which takes twice as long as at 4 MB."""
    truth = Network(bandwidth=1e9, message=2e-4, hop=2e-4)
    calls = [
        one for one in synthetic(truth, workers=8, cores=8, noise=0) if one.size <= 1 << 22 or one.name != "all_reduce"
    ]
    held_up = [
        Call(one.name, one.size, 0.08, one.busy) if (one.name, one.size) == ("all_reduce", 1 << 20) else one
        for one in calls
    ]
    found, plain = (fit(made, latency=0.0, bandwidth=1e9, workers=8, cores=8) for made in (held_up, calls))
    assert asdict(found.network) == pytest.approx(asdict(plain.network))
    assert found.error >= plain.error


def test_errors_name_the_collective_that_is_predicted_worst() -> None:
    network = Network(bandwidth=1e6, latency=1e-3)
    calls = [
        Call(name, 1 << 20, predicted(network, name, 1 << 20, workers=4, cores=1) * factor, 0.0)
        for name, factor in (("all_reduce", 1.0), ("all_gather", 1.0), ("all_to_all", 2.0))
    ]
    error, (name, worst) = errors(network, calls, workers=4, cores=1)
    assert (error, name, worst) == (0.0, "all_to_all", pytest.approx(0.5))


def link(sender: int, receiver: int, *, rate: float = 1e6, spread: float = 0.0) -> LinkFound:
    figure = Measured(rate, rate * (1 - spread / 2), rate * (1 + spread / 2), 9)
    return LinkFound(sender, receiver, Measured(1e-4, 1e-4, 1e-4, 9), figure)


FITTED = Fitted(Network(), 0.1, 0.05, ("all_gather", 0.1), bounded=False)


def test_what_is_in_doubt_is_said_and_nothing_else() -> None:
    calm = [link(0, 1), link(1, 0)]
    assert notes(calm, [CollectiveFound("all_gather", 1024, Measured.of([1.0, 1.1, 1.2]))], FITTED) == []
    noisy = CollectiveFound("all_gather", 1024, Measured.of([1.0, 2.0, 3.0]))
    assert "1 of 1 collectives spread by more than 30%" in notes(calm, [noisy], FITTED)[0]
    assert "1 of 2 bandwidths" in notes([link(0, 1, spread=0.5), link(1, 0)], [], FITTED)[0]
    uneven = notes([link(0, 1), link(1, 0), link(0, 2, rate=1e5), link(2, 0)], [], FITTED)
    assert "from worker 0 to 2 it is 800 kb/s, in the median 8 Mb/s" in uneven[0]
    rough = Fitted(Network(), 0.1, 0.3, ("all_gather", 0.5), bounded=False)
    assert "median error of 30% (worst: all_gather, 50%)" in notes(calm, [], rough)[0]


def test_the_slowest_worker_counts_turn_by_turn() -> None:
    told = [[("all_gather", 1024, [1.0, 5.0], [0.1, 0.2])], [("all_gather", 1024, [2.0, 3.0], [0.3, 0.4])]]
    assert merged(told) == [Taken("all_gather", 1024, [2.0, 5.0], pytest.approx([0.2, 0.3]), [[1.0, 5.0], [2.0, 3.0]])]


def test_a_link_is_what_its_ends_heard() -> None:
    """Latency is the sender's to tell, bandwidth and its part of the longest all-to-all the receiver's."""
    heard = [[[(1, [1e-3])], [(1, [5e6])]], [[(0, [2e-3])], [(0, [7e6])]]]
    taken = [
        Taken("all_to_all", 1000, [9.0], [0.0], [[9.0], [9.0]]),
        Taken("all_to_all", 4000, [2.0], [0.0], [[1.0], [2.0]]),
    ]
    there, back = links_from(heard, taken)
    assert (there.sender, there.receiver, there.latency.median, there.bandwidth.median) == (0, 1, 1e-3, 7e6)
    assert (back.sender, back.receiver, back.latency.median, back.bandwidth.median) == (1, 0, 2e-3, 5e6)
    assert there.busy is not None
    assert back.busy is not None
    assert (there.busy.median, back.busy.median) == (1000.0, 2000.0)


def test_a_round_is_what_an_exchange_has_beside_its_collectives_turn_by_turn() -> None:
    def taken(name: str, size: int, busy: list[float]) -> Taken:
        return Taken(name, size, [1.0] * len(busy), busy, [[1.0] * len(busy)])

    wire = [taken("sharded", 1024, [2e-3, 9e-3, 1e-3]), taken("sharded", 4096, [9e-3])]
    assert round_from([*wire, taken("exchange", 1024, [3e-3, 10e-3, 9e-3])]) == pytest.approx(1e-3)
    assert round_from([*wire, taken("exchange", 1024, [1e-3, 1e-3, 1e-3])]) == 0


def test_workers_measure_and_find_the_same() -> None:
    steps: list[float] = []

    def work(group: tw.ProcessGroup) -> object:
        mine = group.ranks[0] == 0
        return find_network(group, seconds=0.5, told=(lambda what, part: steps.append(part)) if mine else None)

    first, *others = run_ranks(3, work)
    assert others == [first, first]
    assert {(one.sender, one.receiver) for one in first.links} == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert {one.name for one in first.collectives} == set(COLLECTIVES)
    for one in first.links:
        assert one.busy is not None
        assert min(one.latency.low, one.bandwidth.low, one.busy.low) > 0
        assert one.bandwidth.count >= pairs.FEWEST_ROWS
    assert first.network.latency <= median(one.latency.median for one in first.links)
    assert steps == sorted(steps)
    assert 0 <= steps[0] <= steps[-1] <= 1


def test_workers_hear_each_other_whatever_they_say() -> None:
    def work(group: tw.ProcessGroup) -> list[object]:
        return everyones(group, ["ω" * group.ranks[0], {"rank": group.ranks[0]}])

    assert run_ranks(3, work) == [[["ω" * rank, {"rank": rank}] for rank in range(3)]] * 3


def test_what_is_true_for_one_worker_all_know() -> None:
    assert run_ranks(3, lambda group: anyone(group, group.ranks[0] == 1)) == [True] * 3
    assert run_ranks(3, lambda group: anyone(group, False)) == [False] * 3


def test_workers_on_one_machine_share_its_processors() -> None:
    alone, three = run_ranks(1, cores_each)[0], run_ranks(3, cores_each)
    assert three == [alone / 3] * 3


def test_a_worker_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "GRACE", 0.2)

    def work(group: tw.ProcessGroup) -> None:
        if group.ranks[0] != 2:
            find_network(group, seconds=0.5)

    with pytest.raises(tw.PeerError, match="no answer from rank 2"):
        run_ranks(3, work, timeout=0.5)


def test_a_worker_that_leaves_in_the_middle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "GRACE", 0.2)
    monkeypatch.setattr("thinwire.probing.network.PATIENCE", 0.5)

    def work(group: tw.ProcessGroup) -> None:
        if group.ranks[0] == 1:
            cores_each(group)
        else:
            find_network(group, seconds=0.2)

    with pytest.raises(tw.PeerError, match=r"measuring the link between 0 and 1 .* no answer from rank 1"):
        run_ranks(2, work)


@pytest.mark.parametrize(("rows", "seconds", "message"), [(1, 1.0, "at least two processes"), (2, 1.0, "one worker")])
def test_one_worker_or_simulated_ones_are_refused(rows: int, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_ranks(1, lambda group: find_network(group, seconds=seconds), rows=rows)


def test_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="it takes some time; got 0"):
        run_ranks(2, lambda group: find_network(group, seconds=0.0))
