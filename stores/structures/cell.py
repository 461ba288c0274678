"""Cells given by lengths and angles."""

from __future__ import annotations

import math
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
    a, b, c = (float(length) for length in cell[:3])
    # numpy's cosines, so that cells keep all their digits from one version to the next; scalars are faster
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:])).tolist()
    sin_gamma = math.sqrt(1 - cos_gamma * cos_gamma)
    if not (min(a, b, c) > 0 and sin_gamma > 0):
        raise ValueError("lengths and angles span no cell")
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    c_z = 1 - cos_beta * cos_beta - c_y * c_y
    if not (c_z > 0 and math.isfinite(a * b * c)):
        raise ValueError("lengths and angles span no cell")
    rows = [a, 0.0, 0.0, b * cos_gamma, b * sin_gamma, 0.0, c * cos_beta, c * c_y, c * math.sqrt(c_z)]
    return np.array(rows, dtype=np.float64).reshape(3, 3)
