"""What a step will cost, before it is run: facts in, predictions out; nothing here communicates.

>>> from dataclasses import replace
>>> from thinwire.advisor import Choice, Site, Workload, predict_step, reference
>>> known = reference()  # what codes and collectives cost where docs/benchmarks.md was measured
>>> links = replace(known.network, bandwidth=125e6, latency=1e-3)
>>> site = Site(4, links, replace(known.machine, cores=8), Workload.even(parameters=124e6, compute=0.25))
>>> dense, thin = (predict_step(Choice.parse(text), site) for text in ("ddp", "dcgd(rotated(3))"))
>>> dense.seconds > 5 * thin.seconds, thin.exposed < dense.exposed / 5, dense.sent > 10 * thin.sent
(True, True, True)
"""

from thinwire.advisor.advice import Advice, Option, Proposal, advise
from thinwire.advisor.calibration import Calibration, calibrate, reference
from thinwire.advisor.extra_steps import Extra
from thinwire.advisor.facts import Codec, Machine, Network, Workload
from thinwire.advisor.findings import Candidate, CollectiveFound, Gradients, LinkFound, Measured, Probe
from thinwire.advisor.host import Site
from thinwire.advisor.predict import Choice, Prediction, predict_step
from thinwire.advisor.scaling import Jitter, Layout, Point, Study

__all__ = [
    "Advice",
    "Calibration",
    "Candidate",
    "Choice",
    "Codec",
    "CollectiveFound",
    "Extra",
    "Gradients",
    "Jitter",
    "Layout",
    "LinkFound",
    "Machine",
    "Measured",
    "Network",
    "Option",
    "Point",
    "Prediction",
    "Probe",
    "Proposal",
    "Site",
    "Study",
    "Workload",
    "advise",
    "calibrate",
    "predict_step",
    "reference",
]
