"""Which space group a bulk crystal has: the one symmetry search of all bulk crystals."""

from __future__ import annotations

import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from workflows.structures.tolerances import ANGLE_TOLERANCE, SYMPREC

# spglib's C code writes to stderr where a search does not succeed, which callers answer
os.environ.setdefault("SPGLIB_WARNING", "OFF")

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

LAST_MONOCLINIC = 15
"""Space groups up to this one leave a choice between cells of one symmetry."""


def search(structure: Structure, symprec: float) -> Any:
    """Return spglib's dataset of an ordered structure, or None if no symmetry is found.

    Parameters
    ----------
    structure
        Any cell.
    symprec
        Distance tolerance (A). With that of mgsurf goes `ANGLE_TOLERANCE`; with others angles are compared
        by the distances that they make.
    """
    angle = ANGLE_TOLERANCE if symprec == SYMPREC else -1.0
    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    with warnings.catch_warnings():  # old versions of spglib return None, new ones raise
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return spglib.get_symmetry_dataset(cell, symprec=symprec, angle_tolerance=angle)
        except spglib.SpglibError:
            return None


def dataset_of(structure: Structure, symprec: float = SYMPREC) -> Any:
    """Return spglib's dataset of the space group found at `symprec`, or None if none is found.

    A wide tolerance can misplace the origin by as much, and then the idealised atoms too; and it leaves open
    which of two cell edges of nearly one length is the shorter (monoclinic, triclinic). Where a hundredth of
    the tolerance gives the same space group, that answer is the more accurate one.
    """
    loose = search(structure, symprec)
    if loose is None:
        return None
    if loose.number > LAST_MONOCLINIC and deviation(structure, loose) < symprec / 100:
        return loose
    tight = search(structure, symprec / 100)
    return tight if tight is not None and tight.number == loose.number else loose


def deviation(structure: Structure, dataset: Any) -> float:
    """Return how far the idealised cell of a dataset moved an atom of the input (A)."""
    moved = structure.frac_coords @ dataset.transformation_matrix.T + dataset.origin_shift
    difference = moved[:, None, :] - dataset.std_positions[None, :, :]
    difference -= np.rint(difference)
    distance = np.linalg.norm(difference @ dataset.std_lattice, axis=2)
    numbers = np.array([site.specie.Z for site in structure])
    distance[numbers[:, None] != dataset.std_types[None, :]] = np.inf
    return float(distance.min(axis=1).max())


@cache
def operations(hall_number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the operations of a setting from the space-group tables, so that translations are exact.

    Returns
    -------
    rotations, translations
        ``x -> W x + w`` of the conventional cell, centrings included; shapes (m, 3, 3) and (m, 3).
    """
    tables = spglib.get_symmetry_from_database(hall_number)
    assert tables is not None, "spglib returned a Hall number that is not in its own tables"
    return np.array(tables["rotations"], dtype=np.int64), np.array(tables["translations"], dtype=np.float64)


def order(dataset: Any) -> float:
    """Return the number of point operations over that of atoms in the primitive cell."""
    return len(operations(int(dataset.hall_number))[0]) / len(dataset.std_types)
