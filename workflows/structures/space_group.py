"""The space group of a bulk crystal, and which of its equally standard settings names the facets.

Where the lattice has more rotations than the crystal (Laue classes 4/m, -3, -3m on a hexagonal lattice, 6/m
and m-3), turning the axes by one of them gives another standard setting in which (101) and (011), or (210)
and (120), have swapped their names. Which setting a standardisation returns then depends on how the input
was written. As in the indexing of twins by merohedry, the reflections decide: the setting is taken in which
the facet that is named first has the weaker structure factor. That is how the La2O3 type is described
(Mg3Sb2: origin on the octahedral Mg, Sb at 1/3, 2/3, 0.23, strongest line 011), so (101) and (10-1) of such
compounds keep their usual names.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from workflows.structures.tolerances import ANGLE_TOLERANCE, SYMPREC

# spglib's C code writes to stderr where a search does not succeed, which callers handle
os.environ.setdefault("SPGLIB_WARNING", "OFF")

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pymatgen.core import Structure

LAST_MONOCLINIC = 15  # space groups up to this one leave a choice between cells of one symmetry


def search(structure: Structure, symprec: float) -> Any:
    """Return spglib's dataset of an ordered structure, or None if no symmetry is found within `symprec` (A).

    With mgsurf's own `symprec` goes `ANGLE_TOLERANCE`; with others spglib compares angles by the distances
    that they make.
    """
    angle = ANGLE_TOLERANCE if symprec == SYMPREC else -1.0
    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    return found_by(spglib.get_symmetry_dataset, cell, symprec=symprec, angle_tolerance=angle)


def found_by(search: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a search of spglib finds, None if nothing: old versions return None, new ones raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return search(*arguments, **options)
        except spglib.SpglibError:
            return None


def dataset_of(structure: Structure, symprec: float = SYMPREC) -> Any:
    """Return spglib's dataset of the space group found at `symprec`, or None if none is found.

    A wide tolerance can misplace the origin by as much, and then the idealised atoms too; and it leaves open
    which of two cell edges of nearly one length is the shorter (monoclinic, triclinic). Where a hundredth of
    the tolerance gives the same space group, that one is the more accurate.
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
    """Return rotations and translations of a setting from the space-group tables, translations exact.

    ``x -> W x + w`` of the conventional cell, centrings included; shapes (m, 3, 3) and (m, 3).
    """
    tables = spglib.get_symmetry_from_database(hall_number)
    assert tables is not None, "spglib returned a Hall number that is not in its own tables"
    return np.array(tables["rotations"], dtype=np.int64), np.array(tables["translations"], dtype=np.float64)


def order(dataset: Any) -> float:
    """Return the number of point operations over that of atoms in the primitive cell."""
    return len(operations(int(dataset.hall_number))[0]) / len(dataset.std_types)


TWO_ALONG_A = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
TWO_ALONG_C = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
TWO_ALONG_AB = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
FOUR_ALONG_C = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]

PA3 = 205  # the only group concerned whose standard setting is unique: turned by 90 degrees it would be Pb-3

REFLECTIONS = np.array(
    sorted(
        (h for h in product(range(-3, 4), repeat=3) if any(h)),
        key=lambda h: (max(map(abs, h)), sum(map(abs, h)), sum(i < 0 for i in h), tuple(-i for i in h)),
    )
)
"""Small indices first, few minus signs first: the order in which facets are named."""

TIE = 1e-9  # relative difference below which two settings are the same; rounding is far smaller


def axis_rotations(spacegroup_number: int, symbol: str) -> list[NDArray[np.int64]]:
    """Return the rotations ``x -> Q x`` between standard settings of a space group, besides the identity.

    Rotations that belong to the Laue class do no harm, as they rename nothing; other than these, the list is
    complete for every space group on a lattice without accidental symmetry (checked against the Euclidean
    normalisers, International Tables A, 3.5.2). The first letter of `symbol` is the centring.
    """
    if 75 <= spacegroup_number <= 88:
        names = [TWO_ALONG_A]
    elif spacegroup_number in (146, 148):
        names = [TWO_ALONG_AB]
    elif 143 <= spacegroup_number <= 165 and symbol[0] == "P":
        names = [TWO_ALONG_C, TWO_ALONG_AB, (np.array(TWO_ALONG_C) @ TWO_ALONG_AB).tolist()]
    elif 168 <= spacegroup_number <= 176:
        names = [TWO_ALONG_AB]
    elif 195 <= spacegroup_number <= 206 and spacegroup_number != PA3:
        names = [FOUR_ALONG_C]
    else:
        names = []
    return [np.array(q, dtype=np.int64) for q in names]


def preferred_rotation(
    positions: NDArray[np.float64], atomic_numbers: NDArray[np.int64], rotations: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Return the rotation of the axes after which the reflections named first are the weakest.

    Compares ``sum_i |F(h_i)|^2 / i`` over the reflections in the order of `REFLECTIONS`, with the structure
    factor ``F(h) = sum_j Z_j exp(2 pi i h.x_j)``: independent of the origin, and equal for h and -h.
    Positions are fractional, shape (n, 3), atomic numbers have shape (n,); the identity is a candidate beside
    `rotations`.
    """
    best: NDArray[np.int64] = np.eye(3, dtype=np.int64)
    if not rotations:
        return best
    weights = 1.0 / np.arange(1, len(REFLECTIONS) + 1)

    def strength(rotation: NDArray[np.int64]) -> float:
        phases = np.exp(2j * np.pi * (REFLECTIONS @ rotation) @ positions.T)
        return float(weights @ np.abs(phases @ atomic_numbers) ** 2)

    weakest = strength(best)
    for rotation in rotations:
        s = strength(rotation)
        if s < weakest * (1 - TIE):
            best, weakest = rotation, s
    return best
