"""Where the labels of curves go in a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Side = Literal["left", "right", "center"]
PROBES = 60
MANY = 6
"""Up to this many labels, every order is tried."""


@dataclass(frozen=True)
class _Place:
    """Where a label could be: its offset in points, what it and its leader line cover, and how bad that is."""

    dx: int
    dy: int
    side: Side
    box: Bbox
    leader: tuple[tuple[float, float], ...]
    cost: float

    def clashes(self, other: _Place) -> bool:
        """Whether one of the two labels covers the other, or the other's leader line."""
        return (
            bool(self.box.overlaps(other.box))
            or any(bool(self.box.contains(*point)) for point in other.leader)
            or any(bool(other.box.contains(*point)) for point in self.leader)
        )


def spread_labels(axes: Axes, labels: Sequence[Annotation], renderer: Any) -> None:
    """Put every label near its point, inside the frame, on no other label, and on no curve if that can be.

    Labels choose one after the other; of all orders in which they could, the one that costs least is taken.
    """
    ink = [line.get_transform().transform(p) for line in axes.lines for p in _dense(axes, line.get_xydata())]
    places = [_rate_places(label, axes.get_window_extent(renderer), ink, renderer) for label in labels]
    orders = permutations(range(len(labels))) if len(labels) <= MANY else [tuple(range(len(labels)))]
    best = min((_choose(places, order) for order in orders), key=lambda choice: choice[0])[1]
    for number, place in best.items():
        labels[number].set_position((place.dx, place.dy))
        labels[number].set_horizontalalignment(place.side)


def _rate_places(label: Annotation, frame: Bbox, ink: Sequence[Any], renderer: Any) -> list[_Place]:
    from matplotlib.text import Text

    rated = []
    for dx, dy, side in _places():
        label.set_position((dx, dy))
        label.set_horizontalalignment(side)
        box = Text.get_window_extent(label, renderer).padded(1.5)
        outside = max(0.0, frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1)
        crossed = sum(bool(box.contains(*point)) for point in ink)
        cost = 100 * outside + 25 * crossed + (dx * dx + dy * dy) ** 0.5
        rated.append(_Place(dx, dy, side, box, _leader(label.axes, label.xy, box), float(cost)))
    return sorted(rated, key=lambda place: place.cost)


def _leader(axes: Any, xy: tuple[float, float], box: Bbox) -> tuple[tuple[float, float], ...]:
    """Points on the line from a label's point to the middle of its box, in pixels."""
    x, y = axes.transData.transform(xy)
    to_x, to_y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return tuple((x + part * (to_x - x), y + part * (to_y - y)) for part in (0.0, 0.2, 0.4, 0.6, 0.8))


def _choose(places: Sequence[Sequence[_Place]], order: Sequence[int]) -> tuple[float, dict[int, _Place]]:
    """In this order, each label's cheapest place that is still free; its cheapest of all if none is."""
    chosen: dict[int, _Place] = {}
    total = 0.0
    for number in order:
        free = (place for place in places[number] if not any(place.clashes(other) for other in chosen.values()))
        place = next(free, None)
        chosen[number] = place or places[number][0]
        total += chosen[number].cost + (1e6 if place is None else 0)
    return total, chosen


def _places() -> list[tuple[int, int, Side]]:
    """Offsets in points that a label may have from its point, with the side of the label that is there."""
    heights = (0, -14, 14, -28, 28, -42, 42)
    beside: list[tuple[int, int, Side]] = [(dx, dy, "left") for dx in (8, 22, 40) for dy in heights]
    before: list[tuple[int, int, Side]] = [(-dx, dy, "right") for dx, dy, _ in beside]
    return [*beside, *before, *((dx, dy, "center") for dy in (-16, -22, -30, -36) for dx in (0, -24, 24, -48, 48))]


def _dense(axes: Axes, points: Any) -> list[Any]:
    """Points along a curve, close enough to tell what it crosses."""
    import numpy as np

    if len(points) < 2:
        return list(points)
    steps = np.linspace(0, len(points) - 1, PROBES)
    index = np.arange(len(points))
    return list(np.column_stack([np.interp(steps, index, points[:, column]) for column in (0, 1)]))
