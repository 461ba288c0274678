"""Placement of labels that cover neither points nor each other and clearly belong to one point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DOT = 5.0  # half the size of a point (typographic points), like all lengths here
_BESIDE = 8.0  # a label this near to its point needs no leader

_NEAR, _FAR = (15.0, 24.0, 36.0), (15.0, 24.0, 36.0, 52.0, 72.0, 96.0, 125.0, 160.0, 200.0)
_CLEARER = 3.0  # a label without a leader is nearer to its own point than to any other by at least this

_ANGLES = [(np.cos(a), np.sin(a)) for a in np.arange(0, 2 * np.pi, np.pi / 8)]
_ORDER = (0, 8, 4, 12, 2, 6, 14, 10, 1, 7, 15, 9, 3, 5, 13, 11)  # right, left, above, below, then between


@dataclass
class _Page:
    """What is drawn so far (pixels): boxes as (left, bottom, right, top), leaders as (start, end)."""

    frame: Floats
    dots: Floats
    boxes: list[Floats] = field(default_factory=list)
    leaders: list[tuple[Floats, Floats]] = field(default_factory=list)


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    required: int = 0,
    fontsize: float = 8,
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> list[int]:
    """Label points in the order given, each at the nearest free place, with a leader unless it is beside.

    The first `required` points are labelled in any case, if need be over other points; of the rest those
    without a free place are left out. Labels keep inside the axes, whose limits and layout must be final, and
    off horizontal and vertical lines, given by their ends in data units. Returned are the indices of the
    points that have a label.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not points:
        return []
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    pixels = axes.transData.transform(np.asarray(points, dtype=float))
    page = _Page(np.asarray(axes.get_window_extent().extents), pixels)
    for ends in lines:
        (x0, y0), (x1, y1) = axes.transData.transform(np.asarray(ends, dtype=float))
        page.boxes.append(np.array([min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1]))
    n_lines = len(page.boxes)
    labelled = []
    for number, text in enumerate(texts):
        label = axes.annotate(
            text, points[number], (0, 0), textcoords="offset points", fontsize=fontsize, va="bottom", zorder=5
        )
        label.set_in_layout(False)
        size = label.get_window_extent()
        must = number < required
        box = _place(page, number, (size.width, size.height), scale, must, n_lines)
        if box is None:
            label.remove()
            continue
        labelled.append(number)
        offset = (box[:2] - pixels[number]) / scale
        label.set_position((offset[0], offset[1]))
        end = _nearest(box, pixels[number])
        page.boxes.append(box)
        if np.linalg.norm(end - pixels[number]) > (_BESIDE + 3) * scale:
            page.leaders.append((pixels[number], end))
            tip = (end - pixels[number]) / scale
            _draw_leader(axes, points[number], (tip[0], tip[1]))
    return labelled


def _place(
    page: _Page, number: int, size: tuple[float, float], scale: float, must: bool, n_lines: int
) -> Floats | None:
    """Find a place for the label of a point; a label that must be there may cover points and lines."""
    boxes = list(_places(page.dots[number], size, scale, _FAR if must else _NEAR))
    for box in boxes:
        if _inside(box, page.frame) and _is_free(page, box, number, scale):
            return box
    if not must:
        return None
    point = page.dots[number]

    def cost(box: Floats) -> tuple[int, int]:
        """Count labels and leaders that are crossed, then points that are covered."""
        end = _nearest(box, point)
        crossed = sum(_overlap(box, other) for other in page.boxes[n_lines:])
        crossed += sum(_cross(point, end, *leader) or _cuts(*leader, box) for leader in page.leaders)
        return crossed, int((_gaps(box, page.dots) < _DOT * scale).sum())

    return min([box for box in boxes if _inside(box, page.frame)] or boxes, key=cost)


def _places(point: Floats, size: tuple[float, float], scale: float, far: Sequence[float]) -> Iterator[Floats]:
    width, height = size
    for distance in (_BESIDE, *far):
        for place in _ORDER:
            dx, dy = _ANGLES[place]
            x = point[0] + dx * distance * scale - (1 - dx) / 2 * width
            y = point[1] + dy * distance * scale - (1 - dy) / 2 * height
            yield np.array([x, y, x + width, y + height])


def _inside(box: Floats, frame: Floats) -> bool:
    return bool((box[:2] >= frame[:2] + 2).all() and (box[2:] <= frame[2:] - 2).all())


def _is_free(page: _Page, box: Floats, number: int, scale: float) -> bool:
    """Whether a label covers nothing there and cannot be taken for that of another point."""
    point = page.dots[number]
    # points on top of one another are one spot, to which one leader may lead
    others = page.dots[np.linalg.norm(page.dots - point, axis=1) > _DOT * scale]
    gaps = _gaps(box, others)
    if any(_overlap(box, other) for other in page.boxes) or (gaps < _DOT * scale).any():
        return False
    end = _nearest(box, point)
    own = float(np.linalg.norm(end - point))
    if any(_cuts(start, stop, box) for start, stop in page.leaders):
        return False
    if own <= (_BESIDE + 3) * scale:
        return bool((gaps > own + _CLEARER * scale).all())
    return not (
        _passes(point + (end - point) * (_DOT * scale / own), end, others, (_DOT + 1) * scale)
        or any(_cuts(point, end, other) for other in page.boxes)
        or any(_cross(point, end, *leader) for leader in page.leaders)
    )


def _gaps(box: Floats, points: Floats) -> Floats:
    """Distances of points from a box."""
    outside = np.maximum(0, np.maximum(box[:2] - points, points - box[2:]))
    distances: Floats = np.linalg.norm(outside, axis=1)
    return distances


def _nearest(box: Floats, point: Floats) -> Floats:
    """Return the point of a box that is nearest to a point."""
    nearest: Floats = np.clip(point, box[:2], box[2:])
    return nearest


def _overlap(a: Floats, b: Floats) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def _passes(start: Floats, end: Floats, points: Floats, closest: float) -> bool:
    """Whether a straight line comes nearer than `closest` to one of the points (pixels)."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0, 1)
    return bool((np.linalg.norm(points - start - share[:, None] * along, axis=1) < closest).any())


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> bool:
    """Whether two straight lines from a to b and from c to d cross."""

    def side(p: Floats, q: Floats, r: Floats) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _cuts(start: Floats, end: Floats, box: Floats) -> bool:
    """Whether a straight line runs through a box."""
    corners = [box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]]
    return _cross(start, end, corners[0], corners[2]) or _cross(start, end, corners[1], corners[3])


def _draw_leader(axes: Axes, point: tuple[float, float], offset: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-", "color": "#80868B", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
    axes.annotate("", point, offset, textcoords="offset points", arrowprops=arrow).set_in_layout(False)
