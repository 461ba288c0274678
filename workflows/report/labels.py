"""Labels of points that cover neither points nor one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_DIRECTIONS = [
    *((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)),
    *((1, 0.5), (-1, 0.5), (1, -0.5), (-1, -0.5)),
]


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    fontsize: float = 8,
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> int:
    """Label points in the order given, each at the nearest free place; leave out those without one.

    Parameters
    ----------
    axes
        With final limits and layout; labels keep inside it.
    points
        Positions in data units, most important first.
    texts
        One for each point, or for the first of them only.
    fontsize
        In points.
    lines
        Ends of horizontal or vertical lines, in data units, that labels keep off.

    Returns
    -------
    int
        Number of labels left out.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not points:
        return 0
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    pixels = axes.transData.transform(np.asarray(points, dtype=float))
    frame = np.asarray(axes.get_window_extent().extents)
    dots = [np.array([x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale]) for x, y in pixels]
    taken = list(dots)
    for ends in lines:
        (x0, y0), (x1, y1) = axes.transData.transform(np.asarray(ends, dtype=float))
        taken.append(np.array([min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1]))
    omitted = 0
    for number, text in enumerate(texts):
        label = axes.annotate(
            text, points[number], (0, 0), textcoords="offset points", fontsize=fontsize, va="bottom"
        )
        label.set_in_layout(False)
        size = label.get_window_extent()
        width, height = size.width, size.height
        for distance, (dx, dy) in ((d, v) for d in (8, 15, 24, 36) for v in _DIRECTIONS):
            x = pixels[number][0] + dx * distance * scale - (1 - dx) / 2 * width
            y = pixels[number][1] + dy * distance * scale - (1 - dy) / 2 * height
            box = np.array([x, y, x + width, y + height])
            inside = (box[:2] >= frame[:2] + 2).all() and (box[2:] <= frame[2:] - 2).all()
            others = np.delete(pixels, number, axis=0)
            tip = pixels[number] + np.array([dx, dy]) * distance * scale
            crossing = distance > 10 and _passes(pixels[number], tip, others, 6 * scale)
            if inside and not crossing and not any(_overlap(box, other) for other in taken):
                label.set_position(((x - pixels[number][0]) / scale, (y - pixels[number][1]) / scale))
                if distance > 10:
                    _draw_leader(axes, points[number], (dx * distance, dy * distance))
                taken.append(box)
                break
        else:
            label.remove()
            omitted += 1
    return omitted


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def _passes(start: np.ndarray, end: np.ndarray, points: np.ndarray, closest: float) -> bool:
    """Whether a straight line comes nearer than `closest` to one of the points (pixels)."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0, 1)
    return bool((np.linalg.norm(points - start - share[:, None] * along, axis=1) < closest).any())


def _draw_leader(axes: Axes, point: tuple[float, float], offset: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-", "color": "#9AA0A6", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
    axes.annotate("", point, offset, textcoords="offset points", arrowprops=arrow).set_in_layout(False)
