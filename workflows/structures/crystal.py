"""A crystal in its conventional standard cell with its exact space-group operations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import InputError
from workflows.structures.indexing import axis_rotations, preferred_rotation
from workflows.structures.space_group import dataset_of, operations
from workflows.structures.tolerances import SYMPREC

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

    The same crystal gives the same cell, up to the origin, in whatever cell it was written.

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
    orbits
        Element and number of atoms in the primitive cell of each set of equivalent atoms, sorted.
    transformation, origin_shift
        ``x -> M x + p`` takes fractional coordinates of the cell as given to those of this one; M is exact,
        shape (3, 3), p has shape (3,).
    """

    lattice: NDArray[np.float64]
    positions: NDArray[np.float64]
    species: tuple[str, ...]
    spacegroup_number: int
    spacegroup_symbol: str
    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]
    orbits: tuple[tuple[str, int], ...]
    transformation: NDArray[np.float64]
    origin_shift: NDArray[np.float64]

    @property
    def structure(self) -> Structure:
        """The conventional standard cell as a pymatgen structure."""
        return Structure(self.lattice, list(self.species), self.positions)

    @cached_property
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

    @cached_property
    def primitive_positions(self) -> NDArray[np.float64]:
        """Atoms of the primitive cell in conventional coordinates, shape (n_primitive, 3)."""
        return self.positions[self._primitive_sites]

    @property
    def primitive_structure(self) -> Structure:
        """The primitive cell as a pymatgen structure."""
        inverse = np.linalg.inv(self.primitive_basis)
        return Structure(
            self.primitive_basis @ self.lattice,
            list(self.primitive_species),
            self.primitive_positions @ inverse % 1.0,
        )

    @cached_property
    def primitive_species(self) -> tuple[str, ...]:
        """Element of each atom of the primitive cell."""
        return tuple(self.species[i] for i in self._primitive_sites)

    @cached_property
    def point_group(self) -> NDArray[np.int64]:
        """Distinct rotation parts, shape (m, 3, 3)."""
        return np.unique(self.rotations, axis=0)


def crystal_of(structure: Structure, symprec: float = SYMPREC) -> Crystal:
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
    if not len(structure):
        raise InputError("the structure has no atoms; give a crystal with at least one")
    name = structure.composition.reduced_formula
    if not structure.is_ordered:
        raise InputError(
            f"{name}: disordered sites cannot be cut into slabs; "
            "give an ordered structure (pymatgen's OrderDisorderedStructureTransformation makes one)"
        )
    numbers = [site.specie.Z for site in structure]
    symbol_of = {site.specie.Z: site.specie.symbol for site in structure}
    dataset = dataset_of(structure, symprec)
    if dataset is None:
        raise InputError(
            f"{name}: spglib found no symmetry at symprec={symprec:g} A; "
            "check the structure for overlapping atoms or a degenerate cell, or give another symprec"
        )
    rotations, translations = operations(int(dataset.hall_number))
    types = np.array(dataset.std_types, dtype=np.int64)
    positions = _symmetrised(
        np.array(dataset.std_positions, dtype=np.float64), types, rotations, translations
    )
    number, symbol = int(dataset.number), str(dataset.international)
    turn = preferred_rotation(positions, types, axis_rotations(number, symbol))
    back = np.rint(np.linalg.inv(turn)).astype(np.int64)
    return Crystal(
        lattice=np.array(dataset.std_lattice, dtype=np.float64),
        positions=(positions @ turn.T) % 1.0,
        species=tuple(symbol_of[int(z)] for z in types),
        spacegroup_number=number,
        spacegroup_symbol=symbol,
        rotations=turn @ rotations @ back,
        translations=(translations @ turn.T) % 1.0,
        orbits=_orbits(numbers, dataset, symbol_of),
        # between lattices of one crystal: centrings have halves and thirds, supercells whole numbers
        transformation=turn @ np.rint(dataset.transformation_matrix * 6) / 6,
        origin_shift=turn @ dataset.origin_shift,
    )


def _orbits(numbers: list[int], dataset: Any, symbol_of: dict[int, str]) -> tuple[tuple[str, int], ...]:
    """Count the atoms of each set of equivalent atoms in the primitive cell."""
    members = Counter(int(i) for i in dataset.crystallographic_orbits)
    n_cells = len(numbers) // len(set(dataset.mapping_to_primitive.tolist()))
    return tuple(sorted((symbol_of[numbers[i]], n // n_cells) for i, n in members.items()))


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
