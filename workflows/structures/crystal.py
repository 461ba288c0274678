"""A crystal in its conventional standard cell with its exact space-group operations.

A key of a crystal that does not depend on how it was given.

Which of several equally standard settings names the facets of a crystal.

Where the lattice has more rotations than the crystal (Laue classes 4/m, -3, -3m on a hexagonal lattice, 6/m
and m-3), turning the axes by one of them gives another standard setting in which (101) and (011), or (210)
and (120), have swapped their names. Which setting a standardisation returns then depends on how the input
was written. As in the indexing of twins by merohedry, the reflections decide: the setting is taken in which
the facet that is named first has the weaker structure factor. That is how the La2O3 type is described
(Mg3Sb2: origin on the octahedral Mg, Sb at 1/3, 2/3, 0.23, strongest line 011), so (101) and (10-1) of such
compounds keep their usual names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import InputError
from stores.records import content_hash
from workflows.structures.naming import mg_first_formula
from workflows.structures.space_group import dataset_of, operations
from workflows.structures.tolerances import SYMPREC

if TYPE_CHECKING:
    from numpy.typing import NDArray


TWO_ALONG_A = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
TWO_ALONG_C = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
TWO_ALONG_AB = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
FOUR_ALONG_C = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]

PA3 = 205
"""The only group concerned whose standard setting is unique: turned by 90 degrees it would be Pb-3."""

REFLECTIONS = np.array(
    sorted(
        (h for h in product(range(-3, 4), repeat=3) if any(h)),
        key=lambda h: (max(map(abs, h)), sum(map(abs, h)), sum(i < 0 for i in h), tuple(-i for i in h)),
    )
)
"""Small indices first, few minus signs first: the order in which facets are named."""

TIE = 1e-9
"""Relative difference below which two settings are the same; rounding is far smaller."""


def axis_rotations(spacegroup_number: int, symbol: str) -> list[NDArray[np.int64]]:
    """Return the rotations between the standard settings of a space group, besides the identity.

    Rotations that belong to the Laue class do no harm, as they rename nothing; other than these, the list is
    complete for every space group on a lattice without accidental symmetry (checked against the Euclidean
    normalisers, International Tables A, 3.5.2).

    Parameters
    ----------
    spacegroup_number
        International number.
    symbol
        Hermann-Mauguin symbol, for the centring.

    Returns
    -------
    list of arrays of shape (3, 3)
        ``x -> Q x`` in fractional coordinates of the conventional cell.
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

    Parameters
    ----------
    positions
        Fractional coordinates, shape (n, 3).
    atomic_numbers
        Z of each atom, shape (n,).
    rotations
        Candidates besides the identity, from `axis_rotations`.
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


ENANTIOMORPHS = {
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip
"""Of two enantiomorphic space groups the lower number stands for both, as mirror images share a key."""

# A value is put in a bin of the given width. The offset keeps the bins' borders off round numbers, where
# noise in the last digit would decide the bin.
_GRID_OFFSET = 0.337537
_LENGTH_GRID = 0.02  # A, of the cube root of the volume per atom
_SUM_GRID = 0.006  # of a pair sum relative to its size
# Widths in units of the cube root of the volume per atom, so that the lattice's scale enters one bin alone:
# the narrow one feels the nearest neighbours, the wide one the shells behind them.
_PAIR_WIDTHS = (0.45, 0.9)
_PAIR_REACH = 4.2  # widths; exp(-4.2^2) = 2e-8, so the cut-off cannot be seen on the grid


def _bin(value: float, width: float) -> int:
    return int(np.floor(value / width + _GRID_OFFSET))


def _length(structure: Structure) -> float:
    """Cube root of the volume per atom (A)."""
    return float((structure.volume / len(structure)) ** (1 / 3))


def pair_sums(structure: Structure) -> dict[str, list[float]]:
    """Sum exp(-(r/w)^2) over all pairs of two elements, per atom, for each width w.

    Smooth in the positions, and free of any choice of cell, origin, orientation or order of sites.
    """
    length = _length(structure)
    reach = _PAIR_REACH * max(_PAIR_WIDTHS) * length
    centers, neighbors, _, distances = structure.get_neighbor_list(reach)
    symbols = np.array([site.specie.symbol for site in structure])
    sums: dict[str, list[float]] = {}
    elements = sorted(set(symbols))
    for i, first in enumerate(elements):
        for second in elements[i:]:
            chosen = (symbols[centers] == first) & (symbols[neighbors] == second)
            r = distances[chosen] / length
            sums[f"{first}-{second}"] = [
                float(np.sum(np.exp(-((r / width) ** 2))) / len(structure)) for width in _PAIR_WIDTHS
            ]
    return sums


def bulk_key(structure: Structure) -> str:
    """Return a hash of a crystal that any cell, orientation, origin, site order or handedness of it shares.

    Hashed are the reduced formula, the space group (of an enantiomorphic pair the lower number), each
    crystallographic orbit's element and number of atoms in the primitive cell, the cube root of the volume
    per atom, and pair sums of Gaussians of the distances in units of that length, for each pair of elements
    and two widths. Numbers are put in bins (0.02 A; 0.6 % of a pair sum), so noise far below the bins leaves
    the key as it is, except for a value that happens to lie on a border: of two files of one crystal whose
    lattice parameters differ by 0.0003 A about one pair in a hundred gets two keys.

    Parameters
    ----------
    structure
        Any cell of an ordered crystal, before relaxation.

    Returns
    -------
    str
        24 hexadecimal digits.

    Raises
    ------
    InputError
        If the structure is empty or disordered, or no space group is found.
    """
    crystal = crystal_of(structure)
    primitive, number = crystal.primitive_structure, crystal.spacegroup_number
    pairs = {
        # logarithmic bins: a pair sum of distant atoms is small, yet tells crystals apart as well
        pair: [_bin(np.log(max(s, 1e-6)), _SUM_GRID) for s in sums]
        for pair, sums in pair_sums(primitive).items()
    }
    return content_hash(
        {
            "formula": mg_first_formula(structure.composition),
            "spacegroup": ENANTIOMORPHS.get(number, number),
            "orbits": [list(orbit) for orbit in crystal.orbits],
            "length": _bin(_length(primitive), _LENGTH_GRID),
            "pairs": pairs,
        }
    )
