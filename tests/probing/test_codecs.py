"""Machines: every candidate's codec has its costs, workers' figures are merged by medians, threads stay as set."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import thinwire as tw
from thinwire.advisor.calibration import codec_from
from thinwire.advisor.codecs import codec_of
from thinwire.advisor.facts import Codec, Machine
from thinwire.advisor.plan import plan_frames
from thinwire.probing import codecs, run
from thinwire.probing.codecs import find_machine, merge_machines
from thinwire.probing.run import CANDIDATES, compressors_of, links_of

CPU = torch.device("cpu")


def test_every_candidate_is_measured_and_can_be_planned_with() -> None:
    threads = torch.get_num_threads()
    said: list[tuple[str, float]] = []
    machine = find_machine(
        compressors_of(CANDIDATES), CPU, values=3000, seconds=0.1, cores=2, told=lambda *what: said.append(what)
    )
    assert torch.get_num_threads() == threads
    assert machine.cores == 2
    assert min(machine.memory, machine.round) > 0
    for link in links_of(CANDIDATES):
        codec = codec_of(machine, link.compressor)
        assert codec.source == "measured"
        assert min(codec.encode, codec.decode, codec.receive + codec.onto) > 0
        assert not any(frame.notes for frame in plan_frames([(300, 300)], link, machine, 4))  # the downlink's is there
    parts = [part for _, part in said]
    assert parts == sorted(parts)
    assert 0 <= parts[0] <= parts[-1] < 1


def test_before_each_call_caches_are_filled_with_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    fill = torch.Tensor.fill_
    monkeypatch.setattr(torch.Tensor, "fill_", lambda x, value: written.append(x.nbytes) or fill(x, value))
    seen: list[int] = []
    monkeypatch.setattr(codecs, "timer", lambda *_: lambda call: (call(), seen.append(len(written)), 1e-3)[2])
    monkeypatch.setattr(codecs, "_round", lambda seconds: 1e-3)
    find_machine([tw.TopK(0.01)], CPU, values=100, seconds=0.01)
    assert len(seen) > 3 * 4  # a copy and three calls, a first round and at least three
    assert all(after > before for before, after in pairwise([0, *seen]))
    assert max(written) == codecs.SWEPT


@pytest.mark.parametrize("further", [0.0, 1e-9, 5e-9])
def test_a_receiver_pays_for_the_first_payload_and_for_each_one_more(further: float) -> None:
    """Four payloads took what one takes, and three times `further`; a fifth is predicted to take as much more."""
    size, decode = 1000, 4e-9
    spent = {"encode": 0.0, "decode": size * decode, "decode_mean": size * (decode + 3 * further)}
    codec = codec_from(spent, size)
    of = [codec.onto + payloads * codec.receive for payloads in (1, 4, 5)]
    assert of[1] == pytest.approx(decode + 3 * further)
    assert of[2] - of[1] == pytest.approx(min(further, of[1] / 4))
    assert codec.onto >= 0


def test_candidates_share_compressors_and_none_is_measured_twice() -> None:
    once = compressors_of(["dcgd(rotated(1))", "diana(rotated(bits=1))"])
    assert len(once) == 1 + len(run.BESIDES)
    with pytest.raises(ValueError, match=r"candidate 'dianna.*': it is a link: .*Did you mean 'diana'"):
        compressors_of(["dianna(sign())"])


def test_figures_of_workers_are_merged_by_their_medians() -> None:
    codec = Codec(1e-9, 2e-9, 3e-9, 4e-9, 5e-9, "measured")
    one = Machine(0.5, 1e-10, 1e-3, {"sign()": codec, "topk(0.01)": replace(codec, sender=None)})
    slow = replace(
        one, memory=9e-10, round=9e-3, codecs={name: replace(codec, encode=9e-9) for name, codec in one.codecs.items()}
    )
    assert merge_machines([one, slow, one]) == one
    assert merge_machines([one, one]) == one


@pytest.mark.parametrize(
    ("values", "seconds", "message"), [(0, 1.0, "values must be 1"), (100, 0.0, "it takes some time; got 0")]
)
def test_nothing_to_measure_is_refused(values: int, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_machine([tw.Sign()], CPU, values=values, seconds=seconds)
