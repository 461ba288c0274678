"""Atoms that are closer than any two nuclei in a solid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_DISTANCE = 0.7
"""No two nuclei in a solid come closer (A; H2: 0.74 A)."""
_MIN_COVALENT_SHARE = 0.5  # of the sum of the covalent radii


def closest_overlap(
    numbers: NDArray[np.int64], lattice: NDArray[np.float64], fractional: NDArray[np.float64]
) -> tuple[int, int, float] | None:
    """Return the two atoms that overlap most: closer than 0.7 A or half the sum of their covalent radii.

    Radii are those of B. Cordero et al., Dalton Trans. 2832 (2008).

    Parameters
    ----------
    numbers
        [N], atomic numbers.
    lattice
        [3, 3], vectors as rows (A).
    fractional
        [N, 3].

    Returns
    -------
    tuple or None
        Two indices in ascending order (equal for an atom and its own image) and their distance (A); None if
        no atoms overlap.
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
