"""Tables of compositions: a column of formulas, or a column for each element, beside columns of numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from model.compositions.formulas import parse_composition
from model.data.csv_table import read_headed_table
from model.data.import_formats import Problem
from model.data.label_units import split_heading
from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model.data.csv_table import Table

Unit = Literal["at%", "wt%"]
UNITS: tuple[Unit, ...] = ("at%", "wt%")

USUAL_COLUMNS = ("composition", "formula", "alloy", "alloys", "alloy formula", "alloy_formula")
"""Names of a column of formulas, in lower case, that need not be named."""

_SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class CompositionColumns:
    """Which columns of a table give a composition."""

    names: tuple[str, ...] = ()  # one column of formulas, or one for each element
    unit: Unit | None = None  # of the amounts; None: as the headings state, else of atoms in formulas
    balance: str | None = None  # element that makes up the rest to 100 %, with columns of elements


@dataclass(frozen=True)
class CompositionRow:
    """A line of a table."""

    line: int
    text: str  # the composition as its line has it
    fractions: dict[str, float]  # share of the atoms by element
    note: str  # what was done to amounts whose sum is neither 1 nor 100; empty if nothing
    cells: list[str]


class CompositionTable:
    """A table of compositions, read line by line.

    Attributes
    ----------
    headings
        Names of its columns.
    places
        Of the columns that give the composition.
    unit
        Of its amounts.
    stated
        Whether the unit was stated by the user or by the headings.

    Raises
    ------
    InputError
        If the file cannot be read, a column does not exist, or the unit of columns of elements is not known.
    """

    def __init__(self, path: Path, columns: CompositionColumns) -> None:
        try:
            table, headings = read_headed_table(path, columns.names)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}); check the path.") from error
        self.path, self.headings, self._table = path, headings, table
        names = columns.names or tuple(h for h in headings if h.lower() in USUAL_COLUMNS)[:1]
        if not names:
            raise InputError(
                f"{path}: name its column of formulas, or its columns of elements, with "
                f"--composition-column; it has {self._listed()}"
            )
        places = [self.column(name) for name in names]
        self._elements = [_element(headings[place]) for place in places]
        self.places = places
        self._balance = columns.balance
        self.of_elements = len(places) > 1 or (
            self._elements[0] is not None and _has_numbers(table, places[0])
        )
        if self.of_elements:
            if odd := [headings[p] for p, e in zip(places, self._elements, strict=True) if e is None]:
                raise InputError(
                    f"{path}: the column {odd[0]} is named after no element; --composition-column takes one "
                    "column of formulas, or columns of elements such as C,Si,Mn"
                )
            if len(set(self._elements)) < len(places) or columns.balance in self._elements:
                raise InputError(
                    f"{path}: an element has two columns, or a column and the balance; name each once"
                )
        elif columns.balance is not None:
            raise InputError("--balance goes with columns of elements, not with formulas; leave it out")
        if columns.balance is not None and _element(columns.balance) is None:
            raise InputError(f"--balance {columns.balance}: is no element; write Fe")
        by_heading = {unit for place in places if (unit := _unit(headings[place])) is not None}
        if len(by_heading) > 1:
            raise InputError(f"{path}: its columns of elements are in at% and in wt%; convert one of them")
        stated = columns.unit or (by_heading.pop() if by_heading else None)
        if stated is None and self.of_elements:
            raise InputError(
                f"{path}: whether its columns of elements are shares of atoms or of mass cannot be known; "
                "state it with --composition-unit at% or wt%"
            )
        self.stated, self.unit = stated is not None, stated or "at%"

    def __len__(self) -> int:
        return len(self._table.lines)

    def column(self, name: str) -> int:
        """Return the place of a column, by its heading or a spelling of it; InputError if there is none."""
        for spelling in (str, _word, lambda heading: _word(split_heading(heading)[0])):
            fitting = [i for i, heading in enumerate(self.headings) if spelling(heading) == spelling(name)]
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise InputError(f"{self.path}: {len(fitting)} columns are named {name}; rename all but one")
        near = get_close_matches(name, self.headings, n=1)
        meant = f" (meant {near[0]}?)" if near else ""
        raise InputError(f"{self.path} has no column {name}{meant}; it has {self._listed()}")

    def _listed(self) -> str:
        shown = [heading or "one without a name" for heading in self.headings[:_SHOWN_COLUMNS]]
        more = len(self.headings) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

    def number(self, row: CompositionRow, place: int) -> float | None:
        """Return the number in a cell, None if it is empty or marks a missing value; InputError else."""
        cell = row.cells[place]
        return None if is_missing(cell) else self._table.number(cell)

    def column_cells(self, place: int) -> list[str]:
        """Return the cells of a column that hold something."""
        return [
            cells[place]
            for _, cells in self._table.lines
            if place < len(cells) and not is_missing(cells[place])
        ]

    def is_numeric(self, place: int) -> bool:
        """Whether a column holds at least one number."""
        return _has_numbers(self._table, place)

    def rows(self) -> Iterator[CompositionRow | Problem]:
        """Yield the lines in order; one that cannot be used is described."""
        unit = "wt" if self.unit == "wt%" else "at"
        for line, cells in self._table.lines:
            try:
                if len(cells) != len(self.headings):
                    raise InputError(f"{len(cells)} cells, not {len(self.headings)}; left out")
                if self.of_elements:
                    pairs = zip(self._elements, self.places, strict=True)
                    given = {str(symbol): self._amount(cells[place]) for symbol, place in pairs}
                    text = " ".join(f"{symbol}{amount}" for symbol, amount in given.items() if amount)
                    parsed = parse_composition(given, unit=unit, balance=self._balance)
                else:
                    text = cells[self.places[0]]
                    parsed = parse_composition(text, unit=unit)
            except InputError as error:
                yield Problem(f"{self.path}, line {line}: {error}")
                continue
            yield CompositionRow(line, text, dict(parsed.amounts), parsed.note, cells)

    def _amount(self, cell: str) -> float | str:
        """Return the number in a cell of an element, or the word for the balance."""
        if cell.lower().startswith("bal"):
            return cell
        return 0.0 if is_missing(cell) else self._table.number(cell) or 0.0


def is_missing(cell: str) -> bool:
    """Whether a cell stands for no value."""
    return cell.lower() in ("", "na", "n/a", "nan", "none", "null", "-")


def _has_numbers(table: Table, place: int) -> bool:
    for _, cells in table.lines:
        if place < len(cells) and cells[place]:
            try:
                table.number(cells[place])
            except InputError:
                continue
            return True
    return False


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_").lower()


def _element(heading: str) -> str | None:
    """Return the element that a heading names: C, mn, Fe (wt%)."""
    from ase.data import atomic_numbers

    symbol = split_heading(heading)[0].split("_")[0].strip().capitalize()
    return symbol if symbol in atomic_numbers and symbol != "X" else None


def _unit(heading: str) -> Unit | None:
    unit = (split_heading(heading)[1] or heading.partition("_")[2]).replace(" ", "").replace(".", "").lower()
    if unit in ("at%", "mol%", "at", "atomic%", "atomic"):
        return "at%"
    return "wt%" if unit in ("wt%", "wt", "mass%", "weight%", "w%") else None
