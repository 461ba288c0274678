"""A crystal in its conventional standard cell with its exact space-group operations, and its key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from stores.errors import InputError
from stores.records import content_hash
from stores.structures.reading import show_notes
from workflows.structures.naming import mg_first_formula
from workflows.structures.space_group import (
    axis_rotations,
    dataset_of,
    operations,
    order,
    preferred_rotation,
    search,
)
from workflows.structures.tolerances import LOOSE_SYMPREC, SYMPREC

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
    """Average every atom over the images that the operations send to it."""
    # after this, planes related by symmetry have equal heights to rounding error
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
    """Return a key of a crystal that any cell, orientation, origin, site order or handedness of it shares.

    Hashed are the reduced formula, the space group (of an enantiomorphic pair the lower number), each
    crystallographic orbit's element and number of atoms in the primitive cell, the cube root of the volume
    per atom, and pair sums of Gaussians of the distances in units of that length, for each pair of elements
    and two widths. Numbers are put in bins (0.02 A; 0.6 % of a pair sum), so noise far below the bins leaves
    the key as it is, except for a value that happens to lie on a border: of two files of one crystal whose
    lattice parameters differ by 0.0003 A about one pair in a hundred gets two keys.

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
        # logarithmic bins: a pair sum of distant atoms is small, yet distinguishes crystals as well
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


def with_symmetry(structure: Structure, name: str, symprec: float | None = None) -> Structure:
    """Return a crystal from the file `name` symmetrised within `symprec` (A), or as it is if None.

    A line is logged about what was moved, or that the crystal is more symmetric within a looser tolerance.
    """
    if symprec is None:
        show_notes(looser_symmetry(structure, name))
        return structure
    try:
        ideal, note = symmetrized(structure, symprec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    show_notes([f"{name}: {note}"])
    return ideal


def symmetrized(structure: Structure, symprec: float) -> tuple[Structure, str]:
    """Move atoms and cell edges of a crystal to where its symmetry within `symprec` (A) puts them.

    Returns the same atoms in the same cell, up to a rotation in space, without their deviations; and a line
    with the space groups before and after, the largest displacement of an atom and strain of an edge.
    """
    before, crystal = crystal_of(structure), crystal_of(structure, symprec)
    moved = structure.frac_coords @ crystal.transformation.T + crystal.origin_shift
    difference = crystal.positions[None, :, :] - moved[:, None, :]
    difference -= np.rint(difference)
    distance = np.linalg.norm(difference @ crystal.lattice, axis=2)
    species = np.array([site.specie.symbol for site in structure])
    distance[species[:, None] != np.array(crystal.species)[None, :]] = np.inf
    nearest = distance.argmin(axis=1)
    ideal = moved + difference[np.arange(len(moved)), nearest] - crystal.origin_shift
    positions = np.linalg.solve(crystal.transformation, ideal.T).T
    result = Structure(crystal.transformation.T @ crystal.lattice, species.tolist(), positions)
    lengths = np.array(structure.lattice.abc)
    strain = float(np.abs(np.array(result.lattice.abc) / lengths - 1).max())
    note = (
        f"symmetrised within {symprec:g} A from {before.spacegroup_symbol} to {crystal.spacegroup_symbol}; "
        f"atoms moved by up to {distance.min(axis=1).max():.4f} A, cell edges by {100 * strain:.2f} %"
    )
    return result, note


def looser_symmetry(structure: Structure, name: str) -> list[str]:
    """Return one line if a crystal is more symmetric within `LOOSE_SYMPREC`, none if it is not."""
    found, loose = dataset_of(structure), search(structure, LOOSE_SYMPREC)
    if found is None or loose is None or order(loose) <= order(found):
        return []
    return [
        f"{name}: space group {_named(found)} within {SYMPREC:g} A, but {_named(loose)} within "
        f"{LOOSE_SYMPREC:g} A; planes and slabs are those of {found.international}; to cut the more "
        f"symmetric crystal, give --symprec {LOOSE_SYMPREC:g} (in a campaign, `symprec: {LOOSE_SYMPREC:g}` "
        "beside the file)"
    ]


def _named(dataset: Any) -> str:
    return f"{dataset.international} (no. {dataset.number})"
