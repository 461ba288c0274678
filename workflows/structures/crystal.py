"""A crystal in its conventional standard cell with its exact space-group operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import spglib
from pymatgen.core import Structure

from stores.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows: primitive vectors in terms of the conventional cell, by centring (International Tables A, 1.5.1).
PRIMITIVE_BASES = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]],
    "B": [[1 / 2, 0, -1 / 2], [0, 1, 0], [1 / 2, 0, 1 / 2]],
    "C": [[1 / 2, 1 / 2, 0], [-1 / 2, 1 / 2, 0], [0, 0, 1]],
    "I": [[-1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [1 / 2, 1 / 2, -1 / 2]],
    "F": [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
    "R": [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
}


@dataclass(frozen=True)
class Crystal:
    """Conventional standard cell (International Tables setting; hexagonal axes if rhombohedral).

    Attributes
    ----------
    lattice
        Rows a, b, c (A), shape (3, 3).
    positions
        Fractional coordinates, shape (n, 3), symmetrised.
    species
        Element of each atom, length n.
    spacegroup_number, spacegroup_symbol
        International number and short Hermann-Mauguin symbol.
    rotations, translations
        All operations ``x -> W x + w`` of the conventional cell, centrings included; shapes (m, 3, 3) and
        (m, 3). They come from the space-group tables, so that translations are exact.
    """

    lattice: NDArray[np.float64]
    positions: NDArray[np.float64]
    species: tuple[str, ...]
    spacegroup_number: int
    spacegroup_symbol: str
    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]

    @property
    def structure(self) -> Structure:
        """The conventional standard cell as a pymatgen structure."""
        return Structure(self.lattice, list(self.species), self.positions)

    @property
    def primitive_basis(self) -> NDArray[np.float64]:
        """Rows: primitive lattice vectors in conventional coordinates, shape (3, 3)."""
        return np.array(PRIMITIVE_BASES[self.spacegroup_symbol[0]], dtype=float)

    @cached_property
    def _primitive_sites(self) -> list[int]:
        """Indices of one atom of each lattice-translation class."""
        inverse = np.linalg.inv(self.primitive_basis)
        reduced = self.positions @ inverse
        kept: list[int] = []
        for i, x in enumerate(reduced):
            difference = reduced[kept] - x
            difference -= np.rint(difference)
            if not bool((np.abs(difference) < 1e-3).all(axis=1).any()):
                kept.append(i)
        return kept

    @property
    def primitive_positions(self) -> NDArray[np.float64]:
        """Atoms of the primitive cell in conventional coordinates, shape (n_primitive, 3)."""
        return self.positions[self._primitive_sites]

    @property
    def primitive_species(self) -> tuple[str, ...]:
        """Element of each atom of the primitive cell."""
        return tuple(self.species[i] for i in self._primitive_sites)

    @property
    def point_group(self) -> NDArray[np.int64]:
        """Distinct rotation parts, shape (m, 3, 3)."""
        return np.unique(self.rotations, axis=0)


def crystal_of(structure: Structure, symprec: float = 0.01) -> Crystal:
    """Standardise a structure and look up its symmetry.

    Parameters
    ----------
    structure
        Ordered crystal in any setting.
    symprec
        Distance tolerance of the symmetry search (A).

    Raises
    ------
    InputError
        If no symmetry can be determined (overlapping atoms, degenerate cell) or sites are disordered.
    """
    if not structure.is_ordered:
        raise InputError(
            f"{structure.composition.reduced_formula}: disordered sites cannot be cut into slabs; "
            "give an ordered structure (pymatgen's OrderDisorderedStructureTransformation makes one)"
        )
    numbers = [site.specie.Z for site in structure]
    symbol_of = {site.specie.Z: site.specie.symbol for site in structure}
    try:
        dataset = spglib.get_symmetry_dataset(
            (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers), symprec=symprec
        )
    except spglib.SpglibError:
        dataset = None
    if dataset is None:
        raise InputError(
            f"{structure.composition.reduced_formula}: spglib found no symmetry at symprec={symprec:g} A; "
            "check the structure for overlapping atoms or a degenerate cell, or give another symprec"
        )
    tables = spglib.get_symmetry_from_database(dataset.hall_number)
    assert tables is not None, "spglib returned a Hall number that is not in its own tables"
    rotations = np.array(tables["rotations"], dtype=np.int64)
    translations = np.array(tables["translations"], dtype=np.float64)
    return Crystal(
        lattice=np.array(dataset.std_lattice, dtype=np.float64),
        positions=_symmetrised(
            np.array(dataset.std_positions, dtype=np.float64),
            np.array(dataset.std_types, dtype=np.int64),
            rotations,
            translations,
        ),
        species=tuple(symbol_of[int(z)] for z in dataset.std_types),
        spacegroup_number=int(dataset.number),
        spacegroup_symbol=str(dataset.international),
        rotations=rotations,
        translations=translations,
    )


def _symmetrised(
    positions: NDArray[np.float64],
    types: NDArray[np.int64],
    rotations: NDArray[np.int64],
    translations: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Average every atom over the images that the operations send to it.

    After this, planes related by symmetry have equal heights to rounding error.
    """
    total = np.zeros_like(positions)
    for rotation, translation in zip(rotations, translations, strict=True):
        images = positions @ rotation.T + translation
        difference = images[None, :, :] - positions[:, None, :]
        difference -= np.rint(difference)
        distance = np.where(types[:, None] == types[None, :], (difference**2).sum(axis=2), np.inf)
        nearest = distance.argmin(axis=1)
        total += difference[np.arange(len(positions)), nearest]
    averaged: NDArray[np.float64] = positions + total / len(rotations)
    return averaged % 1.0
