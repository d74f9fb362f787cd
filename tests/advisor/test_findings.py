"""What a probe found goes into JSON and comes back as it was; anything else is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from thinwire.advisor.calibration import Calibration
from thinwire.advisor.facts import Codec, Machine, Network, Workload
from thinwire.advisor.findings import Candidate, CollectiveFound, Gradients, LinkFound, Measured, Probe

FIGURE = Measured(2.0, 1.0, 3.0, 5)
CANDIDATES = (
    Candidate("diana(rotated(bits=1))", 0.9, 0.25, 0.1, {"weight": 0.3}),
    Candidate("dcgd(rotated(bits=3))", None, 0.1, math.inf, {}),
)
PROBE = Probe(
    workers=4,
    network=Network(latency=1e-3, message=1e-4),
    machine=Machine(cores=2, codecs={"rotated(bits=1)": Codec(1e-9, 1e-9, 1e-9, 0.0)}),
    workload=Workload(((3, 2), (2,)), (0.2, 0.1), 0.3),
    gradients=Gradients(8, None, 8, 1.0, 3.0, 0.5, CANDIDATES),
    links=(LinkFound(0, 1, FIGURE, FIGURE), LinkFound(1, 0, FIGURE, FIGURE, FIGURE)),
    collectives=(CollectiveFound("all_gather", 1024, FIGURE),),
    names=("weight", "bias"),
    sources=("thinwire probe",),
    notes=("noisy",),
)


@pytest.mark.parametrize("probe", [PROBE, replace(PROBE, workload=None, gradients=None, names=())])
def test_a_probe_comes_back_from_json(probe: Probe) -> None:
    assert Probe.from_dict(json.loads(json.dumps(probe.as_dict(), allow_nan=False))) == probe


def test_a_calibration_can_be_read_from_it() -> None:
    told = PROBE.as_dict()
    assert told["network"]["bandwidth"] is None
    found = Calibration.from_dict(told)
    assert found.machine == PROBE.machine
    assert found.network.message == PROBE.network.message


@pytest.mark.parametrize(
    "told", [{}, {"kind": "scale", "schema": 1}, {**PROBE.as_dict(), "schema": 2}, {**PROBE.as_dict(), "links": [{}]}]
)
def test_anything_else_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"probe: .*Make it anew: thinwire probe\."):
        Probe.from_dict(told)


def test_quartiles() -> None:
    assert Measured.of([4.0]) == Measured(4.0, 4.0, 4.0, 1)
    assert Measured.of([1.0, 2.0, 3.0, 4.0, 5.0]).spread == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="at least one measurement"):
        Measured.of([])
