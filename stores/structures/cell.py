"""Cells given by lengths and angles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def lattice_matrix(cell: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return lattice vectors as rows (A) from a, b, c (A), alpha, beta, gamma (degrees).

    The first vector lies along x, the second in the xy plane.

    Raises
    ------
    ValueError
        If these span no cell.
    """
    a, b, c = cell[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:]))
    sin_gamma = np.sqrt(1 - cos_gamma**2)
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    c_z = 1 - cos_beta**2 - c_y**2
    if not (min(a, b, c) > 0 and c_z > 0):
        raise ValueError("lengths and angles span no cell")
    rows = [[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [c * cos_beta, c * c_y, c * np.sqrt(c_z)]]
    return np.array(rows, dtype=np.float64)
