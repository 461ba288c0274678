"""The conventional standard cell of a crystal, and a key that does not depend on how it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError
from stores.method import content_hash
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

SYMPREC = 0.01
"""Distance within which atoms count as symmetric (A)."""

# Mirror images share a key, so of two enantiomorphic space groups the lower number stands for both.
_ENANTIOMORPHS = {
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip

# A value is put in a bin of the given width. The offset keeps the bins' borders off round numbers, where
# noise in the last digit would decide the bin.
_GRID_OFFSET = 0.337537
_LENGTH_GRID = 0.005  # A, of the cube root of the volume per atom
_SUM_GRID = 0.004  # of a pair sum relative to its size
_PAIR_WIDTHS = (1.3, 2.6)  # A: one width feels the nearest neighbours, the other the shells behind them
_PAIR_REACH = 4.2  # widths; exp(-4.2^2) = 2e-8, so the cut-off cannot be seen on the grid


@dataclass(frozen=True)
class StandardBulk:
    """A crystal in its conventional standard cell, with its symmetry in that cell.

    Attributes
    ----------
    structure
        spglib's standardised, idealised cell (International Tables axes; rhombohedral crystals on
        hexagonal axes, monoclinic ones with b unique); sites grouped by element.
    spacegroup_number, spacegroup_symbol
        Of the space group type, e.g. 194 and ``P6_3/mmc``.
    rotations
        Integer matrices on fractional column vectors of `structure`, shape (n, 3, 3).
    translations
        Fractional, shape (n, 3): x -> rotation x + translation maps the crystal onto itself.
    """

    structure: Structure
    spacegroup_number: int
    spacegroup_symbol: str
    rotations: NDArray[Any]
    translations: NDArray[Any]


def _spglib_cell(structure: Structure) -> tuple[Any, Any, list[int]]:
    try:
        numbers = [site.specie.Z for site in structure]
    except AttributeError as error:
        raise InputError(
            f"{structure.formula or 'empty structure'}: a site is partly occupied or has several species; "
            "give an ordered structure"
        ) from error
    if not numbers:
        raise InputError("the structure holds no atoms: give one with at least one site")
    return np.array(structure.lattice.matrix), np.array(structure.frac_coords), numbers


def _dataset(structure: Structure, symprec: float) -> Any:
    import spglib

    cell = _spglib_cell(structure)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception as error:  # spglib moved its error classes between versions
        raise _no_symmetry(structure, symprec) from error
    if dataset is None:
        raise _no_symmetry(structure, symprec)
    return dataset


def _no_symmetry(structure: Structure, symprec: float) -> InputError:
    return InputError(
        f"{mg_first_formula(structure.composition)} ({len(structure)} atoms): no space group found within "
        f"{symprec:g} A; look for atoms on top of each other or a flat cell, or change symprec"
    )


def _from_numbers(lattice: Any, numbers: Any, positions: Any) -> Structure:
    from pymatgen.core.periodic_table import Element
    from pymatgen.core.structure import Structure as PymatgenStructure

    species = [Element.from_Z(int(z)) for z in numbers]
    return PymatgenStructure(lattice, species, np.asarray(positions) % 1.0).get_sorted_structure()


def conventional_standard(structure: Structure, symprec: float = SYMPREC) -> StandardBulk:
    """Return a crystal in its conventional standard cell, to which Miller indices refer.

    Parameters
    ----------
    structure
        Any cell of an ordered crystal.
    symprec
        Distance within which atoms count as symmetric (A).

    Returns
    -------
    StandardBulk

    Raises
    ------
    InputError
        If the structure is empty or disordered, or no space group is found.
    """
    dataset = _dataset(structure, symprec)
    standard = _from_numbers(dataset.std_lattice, dataset.std_types, dataset.std_positions)
    # the idealised cell is symmetric to rounding errors, so the tolerance can be tight
    symmetry = _dataset(standard, min(symprec, 1e-3))
    if symmetry.number != dataset.number:
        symmetry = _dataset(standard, symprec)
    return StandardBulk(
        structure=standard,
        spacegroup_number=int(symmetry.number),
        spacegroup_symbol=str(symmetry.international),
        rotations=np.array(symmetry.rotations, dtype=int),
        translations=np.array(symmetry.translations, dtype=float),
    )


def primitive_standard(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """Return the primitive cell of the conventional standard cell; parameters as `conventional_standard`."""
    import spglib

    standard = conventional_standard(structure, symprec).structure
    primitive = spglib.standardize_cell(_spglib_cell(standard), to_primitive=True, symprec=symprec)
    if primitive is None:
        raise _no_symmetry(structure, symprec)
    lattice, positions, numbers = primitive
    return _from_numbers(lattice, numbers, positions)


def _bin(value: float, width: float) -> int:
    return int(np.floor(value / width + _GRID_OFFSET))


def _pair_sums(structure: Structure) -> dict[str, list[float]]:
    """Sum exp(-(r/w)^2) over all pairs of two elements, per atom, for each width w.

    Smooth in the positions, and free of any choice of cell, origin, orientation or order of sites.
    """
    centers, neighbors, _, distances = structure.get_neighbor_list(_PAIR_REACH * max(_PAIR_WIDTHS))
    symbols = np.array([site.specie.symbol for site in structure])
    sums: dict[str, list[float]] = {}
    elements = sorted(set(symbols))
    for i, first in enumerate(elements):
        for second in elements[i:]:
            chosen = (symbols[centers] == first) & (symbols[neighbors] == second)
            r = distances[chosen]
            sums[f"{first}-{second}"] = [
                float(np.sum(np.exp(-((r / width) ** 2))) / len(structure)) for width in _PAIR_WIDTHS
            ]
    return sums


def bulk_key(structure: Structure, symprec: float = SYMPREC) -> str:
    """Return a hash of a crystal that any cell, orientation, origin, site order or handedness of it shares.

    Hashed are the reduced formula, the space group (of an enantiomorphic pair the lower number), each
    crystallographic orbit's element and number of atoms in the primitive cell, the cube root of the volume
    per atom, and pair sums of Gaussians of the distances, for each pair of elements and two widths. Numbers
    are put in bins (0.005 A; 0.4 % of a pair sum), so noise far below the bins leaves the key as it is,
    except for a value that happens to lie on a border.

    Parameters
    ----------
    structure
        Any cell of an ordered crystal, before relaxation.
    symprec
        Distance within which atoms count as symmetric (A).

    Returns
    -------
    str
        24 hexadecimal digits.

    Raises
    ------
    InputError
        If the structure is empty or disordered, or no space group is found.
    """
    primitive = primitive_standard(structure, symprec)
    dataset = _dataset(primitive, symprec)
    orbits: dict[int, list[Any]] = {}
    for site, representative in zip(primitive, dataset.crystallographic_orbits, strict=True):
        entry = orbits.setdefault(int(representative), [site.specie.symbol, 0])
        entry[1] += 1
    number = int(dataset.number)
    pairs = {
        # logarithmic bins: a pair sum of distant atoms is small, yet tells crystals apart as well
        pair: [_bin(np.log(max(s, 1e-6)), _SUM_GRID) for s in sums]
        for pair, sums in _pair_sums(primitive).items()
    }
    return content_hash(
        {
            "formula": mg_first_formula(structure.composition),
            "spacegroup": _ENANTIOMORPHS.get(number, number),
            "orbits": sorted(orbits.values()),
            "length": _bin((primitive.volume / len(primitive)) ** (1 / 3), _LENGTH_GRID),
            "pairs": pairs,
        }
    )
