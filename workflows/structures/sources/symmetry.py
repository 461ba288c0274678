"""The primitive cell and the space group of a candidate, seen with a narrow and with a wide tolerance.

Databases relax to different accuracy, and one and the same crystal may come out as P1 from one and as cubic
from another. A candidate is therefore looked at twice, and two candidates may be the same crystal if one of
their views agrees. One search suffices where the atoms lie on their ideal positions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from workflows.structures.identity import ENANTIOMORPHS
from workflows.structures.space_group import deviation, search
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure


@dataclass(frozen=True)
class View:
    """A crystal as a symmetry search with one tolerance sees it.

    Attributes
    ----------
    spacegroup
        International number, of two enantiomorphic groups the lower.
    orbits
        Atomic number and number of atoms in the primitive cell of each set of equivalent atoms, sorted.
    lattice
        Rows: primitive vectors (A), as given up to the choice of cell, shape (3, 3).
    positions
        Cartesian positions of the atoms of that cell (A), as given, shape (n, 3).
    numbers
        Their atomic numbers, shape (n,).
    """

    spacegroup: int
    orbits: tuple[tuple[int, int], ...]
    lattice: NDArray[np.float64]
    positions: NDArray[np.float64]
    numbers: NDArray[np.int64]

    @property
    def structure(self) -> Structure:
        """The primitive cell, Niggli-reduced."""
        from pymatgen.core.periodic_table import Element
        from pymatgen.core.structure import Structure as PymatgenStructure

        reduced = spglib.niggli_reduce(self.lattice)
        return PymatgenStructure(
            self.lattice if reduced is None else reduced,
            [Element.from_Z(int(z)) for z in self.numbers],
            self.positions,
            coords_are_cartesian=True,
            to_unit_cell=True,
        )


def views_of(structure: Structure) -> list[View]:
    """Return how a structure looks with the wide and, where that may differ, with the narrow tolerance.

    Parameters
    ----------
    structure
        Any cell of an ordered crystal.

    Returns
    -------
    list of View
        The wide one first; none if no symmetry can be determined.
    """
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    wide = search(structure, LOOSE_SYMPREC)
    views = [] if wide is None else [_view(structure, numbers, wide)]
    if wide is None or not _is_ideal(structure, wide):
        narrow = search(structure, SYMPREC)
        if narrow is not None and (wide is None or _differ(narrow, wide)):
            views.append(_view(structure, numbers, narrow))
    return views


def primitive_size(structure: Structure) -> int:
    """Return the number of atoms of the primitive cell, with the wide tolerance."""
    found = search(structure, LOOSE_SYMPREC)
    return len(structure) if found is None else len(np.unique(found.mapping_to_primitive))


def _view(structure: Structure, numbers: NDArray[np.int64], dataset: Any) -> View:
    classes, first = np.unique(dataset.mapping_to_primitive, return_index=True)
    n_cells = len(numbers) // len(classes)
    members = Counter(int(i) for i in dataset.crystallographic_orbits)
    return View(
        spacegroup=ENANTIOMORPHS.get(int(dataset.number), int(dataset.number)),
        orbits=tuple(sorted((int(numbers[i]), n // n_cells) for i, n in members.items())),
        lattice=np.array(dataset.primitive_lattice, dtype=np.float64),
        positions=np.array(structure.cart_coords[first], dtype=np.float64),
        numbers=numbers[first],
    )


def _differ(narrow: Any, wide: Any) -> bool:
    """Tell whether two searches found another space group, or the same one with another primitive cell."""
    return bool(narrow.number != wide.number or len(narrow.std_types) != len(wide.std_types))


def _is_ideal(structure: Structure, dataset: Any) -> bool:
    """Tell whether atoms and cell lie so close to the idealised ones that a narrow search finds no less."""
    limit = SYMPREC / 2  # an operation moves an ideal atom onto an ideal one, so two deviations add up
    ideal_cell = dataset.std_lattice.T @ dataset.transformation_matrix
    cell = dataset.std_rotation_matrix @ structure.lattice.matrix.T
    if np.abs(ideal_cell - cell).max() > limit:
        return False
    return deviation(structure, dataset) < limit
