"""The picture of a solver's history: three panels, and an axis that says what the height is."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes

import thinwire as tw
from thinwire.report.convergence import Curve, convergence


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the vertical axes that are drawn."""
    seen: list[str] = []
    original = Axes.set_ylabel

    def noted(self: Axes, text: str, **more: object) -> object:
        seen.extend([text] if text else [])
        return original(self, text, **more)

    monkeypatch.setattr(Axes, "set_ylabel", noted)
    return seen


def curve(values: list[float], gap: list[float | None] | None = None) -> Curve:
    k = range(len(values))
    return Curve(list(k), [1000 * i for i in k], [0.1 * i for i in k], values, gap or [None] * len(values))


@pytest.mark.parametrize(
    ("curves", "optimum", "said"),
    [
        ({"a": curve([3.0, 2.0, 1.5])}, 1.0, "P(x) − min P"),
        ({"a": curve([3.0, 2.0], [1.0, 0.1])}, None, "gap: P(x) − min P, at most"),
        ({"a": curve([3.0, 2.0])}, None, "P(x) − the least value found"),
        (
            {"a": curve([3.0, 2.0], [1.0, 0.1]), "b": curve([3.0, 1.0], [1.0, 0.1])},
            None,
            "P(x) − the least value found",
        ),
    ],
)
def test_the_axis_says_what_the_height_is(
    curves: dict[str, Curve], optimum: float | None, said: str, labels: list[str]
) -> None:
    svg = convergence(curves, optimum)
    ElementTree.fromstring(svg)
    assert labels == [said]


def test_histories_of_every_kind_can_be_drawn() -> None:
    """Diverged, at the optimum from the start, or one moment long: no warning, which would be an error here."""
    endless, nothing = curve([1.0, 1e300, float("inf"), float("nan")]), curve([1.0])
    flat = curve([0.0, 0.0], [0.0, 0.0])
    for curves in ({"a": endless}, {"b": nothing}, {"c": flat}, {"a": endless, "b": nothing, "c": flat}):
        ElementTree.fromstring(convergence(curves))
    with pytest.raises(ValueError, match="there must be a curve"):
        convergence({})


def test_the_same_history_gives_the_same_bytes() -> None:
    curves = {f"method {number}": curve([3.0, 2.0, 1.0 + number]) for number in range(8)}
    assert convergence(curves) == convergence(curves)


def test_a_solution_plots_itself(tmp_path: Path, labels: list[str]) -> None:
    A, b = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 2
    problem = tw.LogisticLoss(A, b, l2=0.1)
    solution = tw.solve(problem, workers=3)
    assert solution.plot(tmp_path / "history.svg") == (tmp_path / "history.svg").read_text()
    tw.solve(problem, workers=3, optimum=solution.certificate.value, max_rounds=5).plot()
    assert labels == ["gap: P(x) − min P, at most", "P(x) − min P"]
