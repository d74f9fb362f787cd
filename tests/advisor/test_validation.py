"""What the advisor promises of its predictions, and that what stands in the repository is what its commands make."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from thinwire.advisor.calibration import Calibration, calibrate, reference
from thinwire.advisor.codecs import codec_of
from thinwire.advisor.facts import Codec, Machine
from thinwire.advisor.validation import Compared, Verdict, _chosen
from thinwire.spec import parse_compressor

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made() -> ModuleType:
    return script("calibrate")


@pytest.fixture(scope="module")
def probed(made: ModuleType) -> list[Compared]:
    found: list[Compared] = made.probed()
    return found


@pytest.fixture(scope="module")
def compared(made: ModuleType) -> list[Compared]:
    found: list[Compared] = made.compared(made.calibrated(lab=True))
    return found


def test_the_constants_are_those_of_the_benchmarks(made: ModuleType) -> None:
    assert made.calibrated(lab=False) == reference(), "run: python benchmarks/calibrate.py"


def test_the_predictions_are_those_of_the_model(
    made: ModuleType, compared: list[Compared], probed: list[Compared]
) -> None:
    for file, found in ((made.PREDICTED, compared), (made.GRID, probed)):
        kept = json.loads(file.read_text(encoding="utf-8"))["steps"]
        assert [one["name"] for one in kept] == [one.name for one in found], "run: python benchmarks/calibrate.py"
        for before, now in zip(kept, found, strict=True):
            assert before["predicted"]["seconds"] == pytest.approx(now.predicted.seconds)
            assert before["measured"] == now.measured


def test_the_page_shows_them() -> None:
    tables = script("tables")
    page = tables.SCALE.read_text(encoding="utf-8")
    assert tables.filled(page, tables.PREDICTIONS) == page, "run: python benchmarks/tables.py"


def test_steps_are_predicted_within_15_per_cent_and_ranked_right(compared: list[Compared]) -> None:
    """The median over all of the grid; the order of all pairs that are further apart than 20 %."""
    verdict = Verdict.of(compared)
    assert verdict.count >= 27
    assert verdict.median_error < 0.15
    assert verdict.ranked == verdict.pairs > 40


def test_steps_after_a_probe_are_predicted_within_15_per_cent_and_ranked_right(probed: list[Compared]) -> None:
    """2, 4 and 8 hosts, three rates, eight choices each."""
    verdict = Verdict.of(probed)
    assert verdict.count == 3 * 3 * 8
    assert verdict.median_error < 0.15
    assert verdict.ranked == verdict.pairs > 100


def test_a_calibration_survives_json() -> None:
    one = reference()
    assert Calibration.from_dict(json.loads(json.dumps(one.as_dict()))) == one
    with pytest.raises(ValueError, match="it has sources"):
        Calibration.from_dict({"network": {}})


def test_constants_give_back_what_they_were_made_from(made: ModuleType) -> None:
    """On as many hosts, an all-reduce that is long, and one that is short, take what was measured."""
    collective = made.read("collective")
    network = replace(reference().network, bandwidth=125e6)
    run = collective["runs"][0]
    at = {size["size"]: size["calls"]["Gloo all_reduce"]["seconds"]["median"] for size in run["sizes"]}
    assert network.ring_seconds(64 << 20, run["hosts"]) == pytest.approx(at[64 << 20], rel=0.02)
    slowed = replace(network, hop=network.hop * run["hosts"] / collective["provenance"]["cores"])
    assert slowed.ring_seconds(4096, run["hosts"]) == pytest.approx(at[4096], rel=0.01)  # 4 KiB take time, too


def test_bytes_cost_processors_what_links_without_a_rate_say(made: ModuleType) -> None:
    """4 hosts on 2 processors, which send a byte in 4 ns by the clock where that is cheapest: 2 ns of a processor."""
    sent = {"Gloo all_reduce": (1.5, 4e-9), "all_gather": (3.0, 1.6e-8), "all_to_all": (0.75, 2e-8)}
    calls = {name: {"seconds": {"median": each * times * (64 << 20)}} for name, (times, each) in sent.items()}
    unshaped = {
        "benchmark": "collective",
        "command": "thinwire bench collective --rate none",
        "provenance": {"cores": 2},
        "runs": [{"hosts": 4, "rate": None, "sizes": [{"size": 64 << 20, "calls": calls}]}],
    }
    found = calibrate(made.read("collective"), made.read("codec"), unshaped)
    assert found.network.per_byte == pytest.approx(2e-9)
    assert found.sources[-1] == "thinwire bench collective --rate none"


def test_other_benchmarks_are_refused(made: ModuleType) -> None:
    with pytest.raises(ValueError, match="JSON of thinwire bench collective"):
        calibrate(made.read("codec"), made.read("codec"))


def test_what_auto_took_is_the_simplest_of_the_fastest() -> None:
    trials = "auto, by trials of 10 values: float32 0.2 s, bfloat16 0.104 s, dcgd(Dither(bits=4)) 0.1 s"
    assert _chosen(["something else", trials]) == "bf16"
    assert _chosen([trials.replace("0.104", "0.106")]) == "dcgd(dither(bits=4))"
    decided = "step 7: auto: dcgd(rotated(bits=3)) is the fastest: float32 1 s, dcgd(rotated(bits=3)) 0.5 s"
    assert _chosen([decided, "step 107: auto: a step takes 2 s and not the 1 s predicted"]) == "dcgd(rotated(bits=3))"
    assert _chosen([decided, "step 114: auto: bfloat16 stays, which takes 1 s: float32 2 s"]) == "bf16"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("rotated(bits=3)", "measured"),
        ("rotated(bits=3, block=128)", "rotated(bits=3, block=128) taken for rotated(bits=3)"),
        ("topk(0.5)", "topk(0.5) taken for topk(0.01)"),
        ("randk(0.1, block=256)", "randk(0.1, block=256) taken for randk(0.01, block=256)"),
        ("randk(0.1).contractive()", "randk(0.1) taken for randk(0.01)"),
        ("permk()", "measured"),
        ("randk(0.1) >> sign()", "randk(0.1) >> sign() put together from its parts"),
    ],
)
def test_what_was_not_measured_is_taken_from_its_like(text: str, source: str) -> None:
    assert codec_of(reference().machine, parse_compressor(text)).source == source


def test_a_chain_costs_its_parts() -> None:
    select, code = Codec(1.0, 2.0, 0.5, 1.5), Codec(10.0, 20.0, 20.0, 5.0, 30.0)
    machine = Machine(codecs={"topk(0.25)": select, "sign()": code})
    found = codec_of(machine, parse_compressor("topk(0.25) >> sign()"))
    assert (found.encode, found.decode, found.receive, found.onto) == (3.5, 7.0, 5.5, 1.5)
