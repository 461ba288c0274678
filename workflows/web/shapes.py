"""Wulff shapes for the three-dimensional view, and as drawings for browsers without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.analysis.wulff import WulffResult

REACH = 10.0
"""Distance of the farthest corner from the middle in a view."""

EYE = (22.0, 32.0)
"""Elevation and azimuth of the eye in drawings (degrees), as in `workflows.report.wulff`."""


def faces_of(result: WulffResult, colours: Mapping[tuple[int, ...], int]) -> list[dict[str, Any]]:
    """Return the faces of a Wulff shape: corners in order, outward normal, colour and index of the facet.

    `colours` are numbers of the palette by the Miller index of the facet.
    """
    reach = max((float(np.linalg.norm(c, axis=1).max()) for _, c in result.polygons), default=1.0)
    faces = []
    for index, corners in result.polygons:
        if len(corners) < 3:
            continue
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
        length = float(np.linalg.norm(normal))
        if length == 0:
            continue
        normal = normal / length
        outwards = normal @ corners.mean(axis=0) > 0
        ordered = corners if outwards else corners[::-1]
        faces.append(
            {
                "corners": (ordered * REACH / reach).round(4).tolist(),
                "normal": (normal if outwards else -normal).round(5).tolist(),
                "colour": colours[tuple(result.facets[index].miller_index)],
                "facet": index,
            }
        )
    return faces


def drawing(faces: list[dict[str, Any]], title: str) -> Markup:
    """Draw the faces that point to the eye, the brighter the more they face the light."""
    elevation, azimuth = np.radians(EYE)
    level, height = np.cos(elevation), np.sin(elevation)
    eye = np.array([level * np.cos(azimuth), level * np.sin(azimuth), height])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(eye, right)
    light = np.array([0.55, 0.25, 0.80]) / np.linalg.norm([0.55, 0.25, 0.80])
    parts = []
    for face in faces:
        normal = np.asarray(face["normal"])
        if normal @ eye <= 1e-6:
            continue
        flat = np.asarray(face["corners"]) @ np.array([right, -up]).T
        points = " ".join(f"{x:.3f},{y:.3f}" for x, y in flat)
        shade = 0.34 * (1 - max(0.0, float(normal @ light)))
        parts.append(
            f'<polygon class="face f{face["colour"]}" points="{points}"/>'
            f'<polygon class="shade" fill-opacity="{shade:.3f}" points="{points}"/>'
        )
    edge = REACH + 0.4
    return Markup(  # every text was escaped where it came in
        f'<svg class="shape" viewBox="{-edge} {-edge} {2 * edge} {2 * edge}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
