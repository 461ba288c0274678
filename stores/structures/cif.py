"""CIF files: syntax by gemmi; symmetry, sites and contents as stated, compared with each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.cell import lattice_matrix
from stores.structures.cif_choice import choose_atoms
from stores.structures.cif_sites import (
    COORDINATES,
    MISSING,
    Tags,
    first,
    optional_number,
    parse_number,
    read_sites,
    tags_of,
)
from stores.structures.contents import Stated
from stores.structures.space_groups import OperatorError, symmetry_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure

_CIF_2 = "#\\#CIF_2"  # its lists, tables and triple quotes are beyond gemmi
_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_OPERATORS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = (
    "_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)  # fmt: skip
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")


@dataclass(eq=False, slots=True)
class CifCrystal:
    """An ordered crystal: all atoms of the cell a, b, c (A), alpha, beta, gamma (degrees).

    `lattice` [3, 3] has vectors as rows (A), the first along x, the second in the xy plane; `numbers` [N] are
    atomic numbers, `fractional` [N, 3] coordinates.
    """

    cell: tuple[float, ...]
    lattice: NDArray[np.float64]
    numbers: NDArray[np.int64]
    fractional: NDArray[np.float64]

    def structure(self) -> Structure:
        """Return it for pymatgen, in pymatgen's axes, sites sorted by electronegativity, within the cell."""
        from ase.data import chemical_symbols
        from pymatgen.core import Element, Lattice, Structure

        symbols = [chemical_symbols[n] for n in self.numbers]
        negativity = {symbol: Element(symbol).X for symbol in set(symbols)}
        order = sorted(range(len(symbols)), key=lambda i: (negativity[symbols[i]], symbols[i]))
        wrapped = self.fractional - np.floor(self.fractional)
        lattice = Lattice.from_parameters(*self.cell)
        return Structure(lattice, [symbols[i] for i in order], wrapped[order])


def read_cif(text: str, where: str, notes: list[str]) -> list[CifCrystal]:
    """Read every crystal of a CIF, one for each data block that has atoms; the cell as written.

    Parameters
    ----------
    text
        Content of the file.
    where
        Its name, for messages.
    notes
        One line is appended for everything in which a crystal is not simply what the file has: rounded
        coordinates moved to a special position, isotopes, a choice of the origin, contradicting statements of
        which one was confirmed.

    Raises
    ------
    InputError
        If the text is no CIF, has no atoms, a site is no element or partly occupied, a coordinate is no
        number, the symmetry does not fit the cell, or the atoms contradict formula, Z or density.
    """
    import gemmi

    try:
        # level 0: of duplicates only those that matter here are refused, in tags_of
        blocks = [(block.name, tags_of(block, where)) for block in gemmi.cif.read_string(text, 0)]
    except (ValueError, RuntimeError) as error:
        remedy = "convert it from CIF 2.0 to CIF 1.1" if text.startswith(_CIF_2) else "check the file"
        raise InputError(f"{where} is not a readable CIF ({_syntax(error)}): {remedy}") from error
    with_atoms = [(name, tags) for name, tags in blocks if all(tags.get(key) for key in COORDINATES)]
    if not with_atoms:
        raise InputError(f"{where} holds no atoms (no _atom_site_fract_x): give a CIF of a crystal structure")
    return [
        _crystal(tags, where if len(with_atoms) == 1 else f"{where} (data_{name})", notes)
        for name, tags in with_atoms
    ]


def _syntax(error: Exception) -> str:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return re.sub(r"^string:(\d+)(?::\d+\(\d+\))?", r"line \1", text)


def _crystal(tags: Tags, where: str, notes: list[str]) -> CifCrystal:
    cell, lattice = _cell(tags, where)
    stated = Stated(
        " ".join(first(tags, "_chemical_formula_sum").split()),
        optional_number(first(tags, "_cell_formula_units_z")),
        optional_number(first(tags, "_exptl_crystal_density_diffrn")),
    )
    sites = read_sites(tags, stated.elements, where, notes)
    operators = next((tags[key] for key in _OPERATORS if first(tags, key)), [])
    names = [name for key in _NAMES if (name := first(tags, key))]
    try:
        symmetry = symmetry_of(tuple(operators), first(tags, *_HALL), tuple(names), first(tags, *_NUMBERS))
    except OperatorError as error:
        raise InputError(f"{where}: {error}") from None
    atoms = choose_atoms(sites, symmetry, cell, lattice, stated, where, notes)
    return CifCrystal(cell, lattice, sites.numbers[atoms.site], atoms.fractional)


def _cell(tags: Tags, where: str) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    values = []
    for name in _CELL:
        text = (tags.get(f"_cell_{name}") or ["."])[0]
        if text == "." and name.startswith("angle"):
            text = "90"  # the dictionary's default
        try:
            values.append(parse_number(text))
        except ValueError:
            problem = "is missing" if text in MISSING else f"is {text}, no number"
            raise InputError(f"{where}: _cell_{name} {problem}: write it (A, degrees)") from None
    try:
        return tuple(values), lattice_matrix(values)
    except ValueError:
        numbers = ", ".join(f"{value:g}" for value in values)
        raise InputError(
            f"{where}: the cell {numbers} has no volume: correct _cell_length and _cell_angle"
        ) from None
