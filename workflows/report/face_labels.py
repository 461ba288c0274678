"""Labels of the faces of a polyhedron in three-dimensional axes: on the face, or beside it with a leader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DARK = 0.6  # darkness of a face from which text on it is white

_FONT_SIZE = 7.5

_MARGIN = 1.0
"""Between a label and the edges of its face, or another label (typographic points, like all lengths here)."""

_OUTSIDE = 9.0  # from the outline of the polyhedron to a label beside it

_TURNS = np.radians([0, 8, -8, 16, -16, 24, -24, 32, -32, 42, -42, 54, -54, 70, -70, 90, -90])
"""Directions beside that of the face, tried in turn."""


def label_faces(
    axes: Any,
    faces: Sequence[tuple[int, Floats]],
    labels: Mapping[int, str],
    darkness: Sequence[float],
) -> None:
    """Put each label on the largest visible face of its family, or beside the outline where it does not fit.

    Parameters
    ----------
    axes
        Three-dimensional, with final limits, aspect, view and place in the figure.
    faces
        Family and corners in order, shape (n, 3), of every face of a convex polyhedron about the origin.
    labels
        Text by family; families without a visible face have no label.
    darkness
        Of each face, 0 (white) to 1 (black); on dark ones the text is white.
    """
    from matplotlib.path import Path

    to_points = 72 / axes.get_figure(root=True).dpi
    outline = np.vstack([_flat(axes, corners) for _, corners in faces]) * to_points
    centre = _flat(axes, np.zeros((1, 3)))[0] * to_points
    boxes: list[Floats] = []
    outside: list[tuple[int, Floats]] = []
    for family in labels:
        visible = [
            (_flat(axes, corners) * to_points, dark)
            for (own, corners), dark in zip(faces, darkness, strict=True)
            if own == family and _faces_eye(axes, corners)
        ]
        if not visible:
            continue
        flat, dark = max(visible, key=lambda one: _area(one[0]))
        size = _size(axes, labels[family])
        place = _place_inside(flat, size, Path(flat))
        if place is None:
            outside.append((family, flat.mean(axis=0)))
            continue
        boxes.append(np.concatenate([place - size / 2, place + size / 2]))
        _write(axes, place, labels[family], "white" if dark > DARK else "#202124")
    # those that point up first, then in turn
    for family, point in sorted(outside, key=lambda one: -one[1][1]):
        size = _size(axes, labels[family])
        place = _place_outside(point, size, centre, outline, boxes)
        boxes.append(np.concatenate([place - size / 2, place + size / 2]))
        end = np.clip(point, place - size / 2 - _MARGIN, place + size / 2 + _MARGIN)
        line = _to_axes(axes, np.array([point, end]))
        axes.get_figure(root=True).add_artist(_leader(line))
        _write(axes, place, labels[family], "#202124")


def _flat(axes: Any, points: Floats) -> Floats:
    """Return where points are drawn, shape (n, 2) (pixels)."""
    from mpl_toolkits.mplot3d import proj3d  # type: ignore[import-untyped]

    axes.apply_aspect()
    x, y, _ = proj3d.proj_transform(points[:, 0], points[:, 1], points[:, 2], axes.get_proj())
    return np.asarray(axes.transData.transform(np.column_stack([x, y])))


def _faces_eye(axes: Any, corners: Floats) -> bool:
    elevation, azimuth = np.radians([axes.elev, axes.azim])
    eye = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
    outward = normal * np.sign(normal @ corners.mean(axis=0))
    return bool(outward @ eye > 0)


def _area(flat: Floats) -> float:
    x, y = flat.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _size(axes: Any, text: str) -> Floats:
    """Return width and height of a text (points)."""
    figure = axes.get_figure(root=True)
    drawn = figure.text(0, 0, text, fontsize=_FONT_SIZE)
    box = drawn.get_window_extent(figure.canvas.get_renderer())
    drawn.remove()
    return np.array([box.width, box.height], dtype=np.float64) * float(72 / figure.dpi)


def _place_inside(flat: Floats, size: Floats, face: Any) -> Floats | None:
    """Return the place nearest to the middle of a face at which a box fits into it, None if there is none."""
    middle = flat.mean(axis=0)
    low, high = flat.min(axis=0), flat.max(axis=0)
    grid = np.array(np.meshgrid(*[np.linspace(a, b, 15) for a, b in zip(low, high, strict=True)]))
    places = np.vstack([middle, grid.reshape(2, -1).T])
    half = size / 2 + _MARGIN
    fits = np.ones(len(places), dtype=bool)
    for corner in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        fits &= face.contains_points(places + half * np.array(corner))
    if not fits.any():
        return None
    near = places[fits]
    return np.asarray(near[np.linalg.norm(near - middle, axis=1).argmin()])


def _place_outside(
    point: Floats, size: Floats, centre: Floats, outline: Floats, boxes: Sequence[Floats]
) -> Floats:
    """Return a free place beyond the outline in about the direction of a point from the centre."""
    start = np.arctan2(*(point - centre)[::-1])
    places = []
    for turn in _TURNS:
        direction = np.array([np.cos(start + turn), np.sin(start + turn)])
        reach = float(((outline - centre) @ direction).max()) + _OUTSIDE
        # the box begins where the distance ends
        places.append(centre + direction * (reach + float(np.abs(direction) @ size) / 2))
    free = [
        place
        for place in places
        if all(
            (place + size / 2 + _MARGIN < box[:2]).any() or (place - size / 2 - _MARGIN > box[2:]).any()
            for box in boxes
        )
    ]
    return np.asarray((free or places)[0])


def _to_axes(axes: Any, points: Floats) -> Floats:
    """Return points as fractions of the figure, shape (n, 2)."""
    figure = axes.get_figure(root=True)
    return np.asarray(figure.transFigure.inverted().transform(points * figure.dpi / 72))


def _write(axes: Any, place: Floats, text: str, colour: str) -> None:
    x, y = _to_axes(axes, place[None])[0]
    axes.get_figure(root=True).text(
        x, y, text, ha="center", va="center", fontsize=_FONT_SIZE, color=colour, zorder=5
    )


def _leader(line: Floats) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(line[:, 0], line[:, 1], color="#202124", linewidth=0.6, zorder=4)
