"""The report's words: where the time went, and a warning where the machine was not free."""

from __future__ import annotations

from dataclasses import replace

from thinwire.demo.plan import RUNS, Plan
from thinwire.demo.text import load_corpus
from thinwire.demo.words import about, page
from thinwire.report.metrics import Point, Record, Results, Transport
from thinwire.report.provenance import busy

POINTS = (Point(0, 0.0, 0.0, 5.5), Point(1, 0.1, 1e6, 5.0), Point(3, 0.3, 3e6, 4.0))
TOTAL = {"steps": 4, "encode": 0.2, "wire": 0.4, "decode": 0.1}
MINE = Record("thinwire", "mine", 0, True, POINTS, (0.1,) * 3, 1, stats={"total": TOTAL, "notes": ["no kernel here"]})


def test_the_facts_say_where_the_time_went_and_what_the_wire_remarked() -> None:
    plan, corpus = Plan(runs=(RUNS["ddp"], RUNS["thinwire"])), load_corpus()
    known = about(plan, corpus, "thinwire demo")
    records = (MINE, replace(MINE, name="ddp", stats={}))
    results = Results(Transport(4, None), "ddp", records, {**known, "order": [(0, "thinwire"), (0, "ddp")]})
    facts = dict(page(results, plan, corpus).facts)
    inside = facts[f"Inside {RUNS['thinwire'].label}"]
    assert inside == "encode 50.0 ms, wire 100.0 ms, decode 25.0 ms a step, not all of it exposed; no kernel here"
    assert f"Inside {RUNS['ddp'].label}" not in facts
    assert "seed 0: thinwire, ddp" in facts["Order"]


def test_a_busy_machine_is_said_and_an_idle_one_is_not() -> None:
    assert "load 1000.0" in busy(1000.0)
    assert busy(0.0) == ""
