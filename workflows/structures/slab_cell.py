"""Slabs that others built: their cell with c along the normal, their symmetry."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SYMMETRY_TOLERANCE = 0.15
"""Distance within which the two sides of a relaxed slab count as equal (A)."""


def upright(structure: Structure, axis: int) -> Structure:
    """Return the same slab with c along the surface normal.

    The lattice vectors are renumbered in turn until the one that leads through the vacuum is c, the cell is
    turned so that a lies along x and the normal along z, and c loses its part parallel to the surface. That
    shifts periodic images sideways against each other across the vacuum and changes nothing else.
    Fractional coordinates along c stay as they are, so that planes of a LOCPOT keep their heights.

    Parameters
    ----------
    structure
        Slab with vacuum along one lattice vector, of either handedness.
    axis
        Number of that vector.
    """
    order = list(upright_order(structure, axis))
    rows = np.asarray(structure.lattice.matrix, dtype=float)[order]
    fractional = np.asarray(structure.frac_coords, dtype=float)[:, order].copy()
    a, b, c = rows
    x = a / np.linalg.norm(a)
    normal = np.cross(a, b)
    z = normal / np.linalg.norm(normal)
    frame = np.array([x, np.cross(z, x), z])
    cartesian = fractional @ rows @ frame.T
    cell = np.array([a, b, (c @ z) * z]) @ frame.T
    cell[0, 1:] = cell[1, 2] = cell[2, :2] = 0.0
    new = np.linalg.solve(cell.T, cartesian.T).T
    new[:, :2] %= 1.0
    new[:, 2] = fractional[:, 2]
    return Structure(Lattice(cell), [site.specie for site in structure], new)


def upright_order(structure: Structure, axis: int) -> tuple[int, int, int]:
    """Return which lattice vectors become a, b and c when the one numbered `axis` becomes c."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    # in a left-handed cell the other order of a and b makes c point upward
    return (a, b, axis) if np.linalg.det(structure.lattice.matrix) > 0 else (b, a, axis)


def asymmetry(slab: Structure, free: Sequence[bool] | None = None) -> str:
    """Say why the two sides of a slab differ.

    Parameters
    ----------
    slab
        c along the normal.
    free
        Whether each atom was free to relax: the sides must agree in this too.

    Returns
    -------
    str
        One line; empty if an operation that reverses the normal maps the slab onto itself.
    """
    labels = _labels(slab, None)
    if not _is_symmetric(slab, labels):
        return f"no symmetry operation maps one side onto the other within {SYMMETRY_TOLERANCE:g} A"
    if free is not None and not _is_symmetric(slab, _labels(slab, free)):
        return "other atoms were free to relax on one side than on the other"
    return ""


def _labels(slab: Structure, free: Sequence[bool] | None) -> list[int]:
    flags = [False] * len(slab) if free is None else list(free)
    return [2 * site.specie.Z + flag for site, flag in zip(slab, flags, strict=True)]


def _is_symmetric(slab: Structure, labels: list[int]) -> bool:
    cell = (slab.lattice.matrix.tolist(), slab.frac_coords.tolist(), labels)
    for precision in (SYMMETRY_TOLERANCE, SYMMETRY_TOLERANCE / 3, SYMMETRY_TOLERANCE / 10):
        rotations = _rotations(cell, precision)
        # c stands on a and b, so that an operation reverses the normal if it takes c to -c
        if any((rotation[2] == (0, 0, -1)).all() for rotation in rotations):
            return True
    return False


def _rotations(cell: Any, precision: float) -> NDArray[np.int64]:
    with warnings.catch_warnings():  # old versions of spglib return None, new ones raise
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry(cell, symprec=precision)
        except spglib.SpglibError:
            found = None
    return np.empty((0, 3, 3), dtype=np.int64) if found is None else np.asarray(found["rotations"])
