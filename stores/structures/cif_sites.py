"""Tags and values of a CIF's data block, and the rows of its list of atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stores.errors import InputError
from stores.structures.symbols import ISOTOPES, isotope_note, plain_symbol, shortened, symbol_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import gemmi
    from numpy.typing import NDArray


Tags = dict[str, list[str]]
"""Values by tag in small letters, ``.`` in it as ``_``; one value where the tag stands in no loop."""

MISSING = ("", "?", ".")
_ATOMS = ("fract_x", "fract_y", "fract_z", "label", "type_symbol", "occupancy", "calc_flag")
_USED = frozenset(
    [f"_atom_site_{name}" for name in _ATOMS]
    + [f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "formula_units_z")]
    + [f"_cell_angle_{name}" for name in ("alpha", "beta", "gamma")]
    + ["_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz"]
    + ["_space_group_name_hall", "_symmetry_space_group_name_hall", "_symmetry_space_group_name_h-m"]
    + [f"_space_group_name_h-m_{name}" for name in ("alt", "full", "ref")]
    + ["_space_group_it_number", "_symmetry_int_tables_number"]
    + ["_chemical_formula_sum", "_exptl_crystal_density_diffrn"]
)


def tags_of(block: gemmi.cif.Block, where: str) -> Tags:
    """Return the values of a block that matter for its structure; `InputError` if two differ."""
    found: Tags = {}
    for item in cast("Iterable[gemmi.cif.Item]", block):
        pair: Any = item.pair
        if pair is not None:
            name, value = pair
            if (key := _key(name)) in _USED:
                _add(found, key, [_text(value) if value[:1] in "'\";" else value], where)
        elif (loop := item.loop) is not None:
            keys = [_key(name) for name in loop.tags]
            if not _USED.isdisjoint(keys):
                values = loop.values
                text = "".join(values)
                if "'" in text or '"' in text or ";" in text:
                    values = [_text(value) if value[:1] in "'\";" else value for value in values]
                for column, key in enumerate(keys):
                    if key in _USED:
                        _add(found, key, values[column :: len(keys)], where)
    return found


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    return name.lower().replace(".", "_")


def _add(found: Tags, key: str, values: list[str], where: str) -> None:
    if found.setdefault(key, values) != values:
        one, other = (next(iter(column), "nothing") for column in (found[key], values))
        raise InputError(f"{where} has {key} twice ({one} ... and {other} ...): keep one of them")


def _text(value: str) -> str:
    import gemmi

    return str(gemmi.cif.as_string(value)).strip()


def first(tags: Tags, *names: str) -> str:
    """Return the first value of the first of several tags that has one; "" if none has."""
    for name in names:
        if tags.get(name) and tags[name][0] not in MISSING:
            return tags[name][0]
    return ""


def parse_number(text: str) -> float:
    """Read a CIF number, whose last digits' uncertainty may follow in parentheses: 0.1628(3); also 1/3."""
    try:
        return float(text)
    except ValueError:
        value, divided, divisor = text.partition("(")[0].partition("/")
    if not divided:
        return float(value)
    if not float(divisor):
        raise ValueError(text)
    return float(value) / float(divisor)


def optional_number(text: str) -> float | None:
    """Return a positive number, or None if the text is none."""
    try:
        value = parse_number(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def last_digit(text: str) -> float:
    """Return one unit of a coordinate's last digit; 0 if it is exact: a multiple of 1/24, one digit, 1/3."""
    digits = text.partition("(")[0].partition(".")[2]
    if len(digits) < 2 or not digits.isdigit():
        return 0.0
    steps = 24 * float(text.partition("(")[0])
    return 0.0 if abs(steps - round(steps)) < 1e-9 else float(10.0 ** -len(digits))


COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_FULL = 1e-3 + 1e-9  # an occupancy this close to 1 is 1: refined, or rounded
_DUMMY = "dum"  # of _atom_site_calc_flag: a site without an atom


@dataclass(eq=False, slots=True)
class Sites:
    """Sites of a data block: labels, places in the file's list from 1, and atomic numbers [n].

    `positions` [n, 3] are fractional coordinates as written, `columns` the same as text, by axis.
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
    """Read the sites of a data block; `expected` are the elements of its formula, if it states one.

    Lines about isotopes and unknown occupancies are appended to `notes`.

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
