"""Whether a slab needs a dipole correction, and where its centre lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

SAME_SIDES = 0.05
"""A slab whose two sides map onto each other within this (A) has no dipole worth a correction."""

RIGHT_ANGLE = 1e-3
"""Largest cosine between c and the surface (1)."""


def require_normal_axis(structure: Structure) -> None:
    """Refuse a slab whose c axis is not along its normal: planar averages and DIPOL would be wrong.

    Raises
    ------
    InputError
        If c leaves the normal.
    """
    a, b, c = structure.lattice.matrix
    cosines = [abs(np.dot(c, v)) / np.linalg.norm(c) / np.linalg.norm(v) for v in (a, b)]
    if max(cosines) > RIGHT_ANGLE:
        angle = np.degrees(np.arcsin(min(1.0, max(cosines))))
        raise InputError(
            f"slab of {structure.composition.reduced_formula}: its c axis is {angle:.2f} degrees off the "
            "surface normal; cut it again with c along the normal (mgsurf slabs does)"
        )


def has_equal_sides(structure: Structure) -> bool:
    """Tell whether an operation that reverses the normal maps the slab onto itself: its dipole is then zero.

    Parameters
    ----------
    structure
        Slab with c along the normal.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    bare = structure.copy(site_properties={})
    operations = SpacegroupAnalyzer(bare, symprec=SAME_SIDES).get_symmetry_operations()
    return any(operation.rotation_matrix[2][2] < -0.5 for operation in operations)


def slab_centre(structure: Structure) -> tuple[float, float, float]:
    """Return the middle between the outermost atoms in fractional coordinates; 0.5 along a and b.

    The slab may reach through the cell's boundary: the widest gap along c is taken as the vacuum.
    """
    z = np.sort(np.mod(structure.frac_coords[:, 2], 1.0))
    gaps = np.diff(np.append(z, z[0] + 1.0))
    vacuum = int(np.argmax(gaps))
    centre = z[vacuum] + gaps[vacuum] / 2 + 0.5
    return 0.5, 0.5, round(float(np.mod(centre, 1.0)), 6)
