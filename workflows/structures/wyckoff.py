"""Crystals from a space group, lattice parameters and occupied Wyckoff positions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

_N_HALL = 530
_SAME_POSITION = 1e-4
"""Fractional coordinates closer than this are the same position."""
# of two origins the one on an inversion centre, of two rhombohedral settings the hexagonal one, b unique
_PREFERRED_CHOICES = ("", "2", "H", "b", "b1")


@lru_cache(maxsize=64)
def _operations(spacegroup_number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    import spglib

    halls: dict[str, int] = {}
    for hall_number in range(1, _N_HALL + 1):
        group = spglib.get_spacegroup_type(hall_number)
        if group is not None and group.number == spacegroup_number:
            halls.setdefault(group.choice, hall_number)
    hall = next(halls[choice] for choice in _PREFERRED_CHOICES if choice in halls)
    database = spglib.get_symmetry_from_database(hall)
    if database is None:
        raise ValueError(f"spglib knows no space group number {spacegroup_number}")
    return np.asarray(database["rotations"]), np.asarray(database["translations"])


def orbit(spacegroup_number: int, position: Sequence[float]) -> NDArray[Any]:
    """Return every position equivalent to one, in the International Tables' standard setting.

    Parameters
    ----------
    spacegroup_number
        1 to 230; origin choice 2, hexagonal axes and unique axis b where there is a choice.
    position
        Fractional coordinates, shape (3,).

    Returns
    -------
    ndarray, shape (multiplicity, 3)
        Fractional coordinates in [0, 1).
    """
    return _orbit(spacegroup_number, tuple(float(x) for x in position)).copy()


@lru_cache(maxsize=256)
def _orbit(spacegroup_number: int, position: tuple[float, ...]) -> NDArray[Any]:
    rotations, translations = _operations(spacegroup_number)
    images = (rotations @ np.array(position) + translations) % 1.0
    offsets = images[:, None] - images[None]
    same = np.all(np.abs(offsets - np.round(offsets)) < _SAME_POSITION, axis=2)
    return np.asarray(images[np.unique(same.argmax(axis=1))])  # the first image of each position


def crystal(
    spacegroup_number: int,
    lattice_parameters: tuple[float, float, float],
    sites: Sequence[tuple[str, Sequence[float]]],
) -> Structure:
    """Build the conventional cell of an orthorhombic, tetragonal, hexagonal or cubic crystal.

    Parameters
    ----------
    spacegroup_number
        16 to 230; trigonal groups on hexagonal axes.
    lattice_parameters
        a, b, c (A); b is ignored from tetragonal upwards, c in cubic groups.
    sites
        Element and fractional coordinates of one atom of each orbit.

    Returns
    -------
    Structure
        Conventional cell, sites in the order given.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure as PymatgenStructure

    a, b, c = lattice_parameters
    if spacegroup_number >= 195:
        lattice = Lattice.cubic(a)
    elif spacegroup_number >= 143:
        lattice = Lattice.hexagonal(a, c)
    elif spacegroup_number >= 75:
        lattice = Lattice.tetragonal(a, c)
    elif spacegroup_number >= 16:
        lattice = Lattice.orthorhombic(a, b, c)
    else:
        raise ValueError(
            f"space group {spacegroup_number} is monoclinic or triclinic: give a full cell instead"
        )
    species: list[str] = []
    positions: list[NDArray[Any]] = []
    for element, position in sites:
        images = orbit(spacegroup_number, position)
        species += [element] * len(images)
        positions.extend(images)
    return PymatgenStructure(lattice, species, positions)
