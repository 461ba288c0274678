"""A key of a crystal that does not depend on how it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stores.method import content_hash
from workflows.structures.crystal import crystal_of
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

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
