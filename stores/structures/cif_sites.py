"""The rows of a CIF's list of atoms: elements, occupancies, coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.cif_values import MISSING, Tags, last_digit, parse_number
from stores.structures.symbols import ISOTOPES, isotope_note, plain_symbol, shortened, symbol_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_FULL = 1e-3 + 1e-9  # an occupancy this close to 1 is 1: refined, or rounded
_DUMMY = "dum"  # of _atom_site_calc_flag: a site without an atom


@dataclass(eq=False, slots=True)
class Sites:
    """Sites of a data block, one for each row.

    Attributes
    ----------
    names
        Their labels.
    rows
        Their places in the file's list, from 1.
    numbers
        [n] int64, atomic numbers.
    positions
        [n, 3], fractional coordinates as written.
    columns
        The same as text, by axis.
    """

    names: Sequence[str]
    rows: Sequence[int]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    columns: list[Sequence[str]]

    def label(self, index: int) -> str:
        """Return the name of a site for messages, e.g. ``Mg1 (row 1)``."""
        return f"{self.names[index]} (row {self.rows[index]})"

    def text(self, index: int) -> str:
        """Return the coordinates of a site as written."""
        return " ".join(column[index] for column in self.columns)

    def rounding(self) -> NDArray[np.float64]:
        """Return the largest error of each coordinate: one unit of its last digit, [n, 3]."""
        return np.array([[last_digit(text) for text in column] for column in self.columns]).T


def read_sites(tags: Tags, expected: frozenset[str], where: str, notes: list[str]) -> Sites:
    """Read the sites of a data block.

    Parameters
    ----------
    tags
        Of the block.
    expected
        Elements of its formula; empty if it states none.
    where
        File and block, for messages.
    notes
        Lines about isotopes and unknown occupancies are appended.

    Raises
    ------
    InputError
        If a site is no element or partly occupied, or a coordinate is no number.
    """
    columns: list[Sequence[str]] = [tags[key] for key in COORDINATES]
    n_rows = len(columns[0])
    names: Sequence[str] = tags.get("_atom_site_label") or tags.get("_atom_site_type_symbol") or [""] * n_rows
    types: Sequence[str] = tags.get("_atom_site_type_symbol") or names
    occupancies: Sequence[str] = tags.get("_atom_site_occupancy") or ["."] * n_rows
    if any(len(column) != n_rows for column in (*columns, names, types, occupancies)):
        raise InputError(f"{where}: the columns of _atom_site_ differ in length: write them in one loop")
    rows: Sequence[int] = range(1, n_rows + 1)
    if _DUMMY in (flags := tags.get("_atom_site_calc_flag", ())):
        rows = [row for row in rows if flags[row - 1] != _DUMMY]
        columns = [[column[row - 1] for row in rows] for column in columns]
        names, types, occupancies = ([of[row - 1] for row in rows] for of in (names, types, occupancies))
    if not set(MISSING).isdisjoint(types):
        types = [name if kind in MISSING else kind for name, kind in zip(names, types, strict=True)]
    by_type = {kind: _number(kind, expected) for kind in set(types)}
    numbers = [by_type[kind] for kind in types]
    positions, finite = _positions(columns)
    sites = Sites(names, rows, np.array(numbers, dtype=np.int64), positions, columns)
    if 0 in numbers:
        i = numbers.index(0)
        raise InputError(
            f"{where}: site {sites.label(i)} is no element ({types[i]}): correct its _atom_site_type_symbol"
        )
    _check_occupancies(sites, occupancies, where, notes)
    if not finite:
        i, axis = np.argwhere(~np.isfinite(sites.positions))[0]
        raise InputError(
            f"{where}: site {sites.label(i)} has the coordinate {columns[axis][i]}: write a number"
        )
    if 1 in numbers:
        heavy = {
            sites.label(i): symbol
            for i, kind in enumerate(types)
            if (symbol := symbol_in(kind, expected)) in ISOTOPES
        }
        if heavy:
            notes.append(f"{where}: {isotope_note(heavy)}")
    return sites


@lru_cache(maxsize=4096)
def _number(kind: str, expected: frozenset[str]) -> int:
    """Return the atomic number of a type symbol or label; 0 if it is no element."""
    from ase.data import atomic_numbers

    symbol = symbol_in(kind, expected)
    return 0 if symbol is None else int(atomic_numbers[plain_symbol(symbol)])


def _check_occupancies(sites: Sites, occupancies: Sequence[str], where: str, notes: list[str]) -> None:
    """Refuse occupancies other than 1; a missing one has the dictionary's default, 1."""
    wrong = {text for text in set(occupancies).difference(MISSING) if not _is_full(text)}
    if wrong:
        partial = [f"{sites.label(i)} {text}" for i, text in enumerate(occupancies) if text in wrong]
        raise InputError(
            f"{where} is disordered, occupancy of {shortened(partial)}: give an ordered structure, every "
            "site fully occupied by one element"
        )
    if "?" in occupancies:
        unknown = [sites.label(i) for i, text in enumerate(occupancies) if text == "?"]
        notes.append(f"{where}: unknown occupancy (?) read as 1: {shortened(unknown)}")


def _is_full(text: str) -> bool:
    try:
        return abs(parse_number(text) - 1) <= _FULL
    except ValueError:
        return False


def _positions(columns: list[Sequence[str]]) -> tuple[NDArray[np.float64], bool]:
    """Return coordinates, NaN where they are no numbers, and whether all are finite."""
    texts = [text for column in columns for text in column]
    try:
        values = list(map(float, texts))
    except ValueError:
        values = list(map(_coordinate, texts))
    return np.array(values, dtype=np.float64).reshape(3, -1).T, math.isfinite(sum(values))


def _coordinate(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError:
        return math.nan
