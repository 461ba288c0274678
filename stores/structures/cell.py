"""Cells given by lengths and angles, and atoms that are closer than any two nuclei in a solid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def lattice_matrix(cell: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return lattice vectors as rows (A) from a, b, c (A), alpha, beta, gamma (degrees).

    The first vector lies along x, the second in the xy plane; a ValueError if these span no cell.
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


MIN_DISTANCE = 0.7  # no two nuclei in a solid come closer (A; H2: 0.74 A)
_MIN_COVALENT_SHARE = 0.5  # of the sum of the covalent radii


def closest_overlap(
    numbers: NDArray[np.int64], lattice: NDArray[np.float64], fractional: NDArray[np.float64]
) -> tuple[int, int, float] | None:
    """Return the two atoms that overlap most: closer than 0.7 A or half the sum of their covalent radii.

    Radii are those of B. Cordero et al., Dalton Trans. 2832 (2008). Shapes are [N], [3, 3] (vectors as rows,
    A) and [N, 3]. Returned are two indices in ascending order (equal for an atom and its own image) and their
    distance (A); None if no atoms overlap.
    """
    from ase.data import covalent_radii
    from pymatgen.optimization.neighbors import find_points_in_spheres

    radii = covalent_radii[numbers]
    reach = max(MIN_DISTANCE, 2 * _MIN_COVALENT_SHARE * float(radii.max()))
    wrapped = fractional - np.floor(fractional)
    positions = np.ascontiguousarray(wrapped @ lattice)
    first, second, _, distances = find_points_in_spheres(
        positions,
        positions,
        r=reach,
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(lattice, dtype=float),
        tol=1e-8,
    )
    limits = np.maximum(MIN_DISTANCE, _MIN_COVALENT_SHARE * (radii[first] + radii[second]))
    itself = (first == second) & (distances < 1e-8)
    close = np.flatnonzero((distances < limits) & ~itself)
    if not len(close):
        return None
    worst = close[np.argmin(distances[close])]
    i, j = sorted((int(first[worst]), int(second[worst])))
    return i, j, float(distances[worst])
