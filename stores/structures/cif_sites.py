"""The rows of a CIF's list of atoms: elements, occupancies, coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stores.errors import InputError
from stores.structures.cif_values import MISSING, Tags, last_digit, parse_number
from stores.structures.symbols import ISOTOPES, isotope_note, plain_symbol, shortened, symbol_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_OCCUPANCY = "_atom_site_occupancy"
_FULL = 1e-3  # an occupancy this close to 1 is 1: refined, or rounded
_DUMMY = "dum"  # of _atom_site_calc_flag: a site without an atom


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of a data block, one for each row.

    Attributes
    ----------
    labels
        For messages, with the number of the row.
    numbers
        [n] int64, atomic numbers.
    positions
        [n, 3], fractional coordinates as written.
    texts
        The three coordinates of each row as written.
    """

    labels: list[str]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    texts: list[tuple[str, str, str]]

    def rounding(self) -> NDArray[np.float64]:
        """Return the largest error of each coordinate: one unit of its last digit, [n, 3]."""
        return np.array([[last_digit(text) for text in row] for row in self.texts])


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
    from ase.data import atomic_numbers

    columns = [tags[key] for key in COORDINATES]
    names = tags.get("_atom_site_label") or tags.get("_atom_site_type_symbol") or [""] * len(columns[0])
    labels = [f"{name} (row {i})" for i, name in enumerate(names, start=1)]
    texts = list(zip(*columns, strict=True))
    types = tags.get("_atom_site_type_symbol") or names
    kept = range(len(labels))
    if _DUMMY in (flags := tags.get("_atom_site_calc_flag", [])):
        kept = [i for i in kept if flags[i] != _DUMMY]
        labels, texts, types, names = ([of[i] for i in kept] for of in (labels, texts, types, names))
    _check_occupancies(labels, [tags[_OCCUPANCY][i] for i in kept] if _OCCUPANCY in tags else [], where, notes)
    symbols = []
    for label, kind, name in zip(labels, types, names, strict=True):
        symbol = symbol_in(name if kind in MISSING else kind, expected)
        if symbol is None:
            raise InputError(
                f"{where}: site {label} is no element ({kind}): correct its _atom_site_type_symbol"
            )
        symbols.append(symbol)
    if any(symbol in ISOTOPES for symbol in symbols):
        heavy = {label: s for label, s in zip(labels, symbols, strict=True) if s in ISOTOPES}
        notes.append(f"{where}: {isotope_note(heavy)}")
        symbols = [plain_symbol(symbol) for symbol in symbols]
    return Sites(labels, np.array([atomic_numbers[s] for s in symbols]), _positions(labels, texts, where), texts)


def _check_occupancies(labels: list[str], occupancies: list[str], where: str, notes: list[str]) -> None:
    """Refuse occupancies other than 1; a missing one has the dictionary's default, 1."""
    values = {}
    for text in set(occupancies) - set(MISSING):
        try:
            values[text] = parse_number(text)
        except ValueError:
            label = labels[occupancies.index(text)]
            raise InputError(f"{where}: the occupancy of site {label} is {text}: write a number") from None
    wrong = {text for text, value in values.items() if not abs(value - 1) <= _FULL + 1e-9}
    if wrong:
        partial = [f"{at} {text}" for at, text in zip(labels, occupancies, strict=True) if text in wrong]
        raise InputError(
            f"{where} is disordered, occupancy of {shortened(partial)}: give an ordered structure, every site "
            "fully occupied by one element"
        )
    if "?" in occupancies:
        unknown = [at for at, text in zip(labels, occupancies, strict=True) if text == "?"]
        notes.append(f"{where}: unknown occupancy (?) read as 1: {shortened(unknown)}")


def _positions(labels: list[str], texts: list[tuple[str, str, str]], where: str) -> NDArray[np.float64]:
    try:
        positions = np.array(texts, dtype=np.float64)
    except ValueError:
        positions = np.array([[_coordinate(text) for text in row] for row in texts])
    if not np.isfinite(positions).all():
        row, column = np.argwhere(~np.isfinite(positions))[0]
        raise InputError(
            f"{where}: site {labels[row]} has the coordinate {texts[row][column]}: write a number"
        )
    return positions


def _coordinate(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError:
        return math.nan
