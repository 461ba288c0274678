"""58 properties of the elements 1 to 100, read from a table that never changes under a stored model.

``element_properties.csv`` holds a row for each property: name, kind, unit, source, and a value for each
element. It was made once, by ``docs/make_element_properties.py``, from pymatgen's table of elements and
from mendeleev's database (both MIT licence). It is not the table of XenonPy, which is on no package index.

Values that a source lacks carry ``~``: estimates of a kernel ridge regression on the 14 properties that are
known of all elements, within the range of the known values (docs/compositions.md has the error of each). Four
values of the sources that disagree with other properties of the same element are taken as unknown as well.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ElementProperties:
    """Properties of the elements 1 to 100."""

    # names, kinds, units, sources: of the 58 properties; properties of one kind stand side by side
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    units: tuple[str, ...]
    sources: tuple[str, ...]
    symbols: tuple[str, ...]  # of the elements: ``symbols[number]``; that of number 0 is empty
    values: NDArray[np.float64]  # [101, 58] by atomic number, in the properties' units; row 0 is NaN
    known: NDArray[np.bool_]  # [101, 58] False where a value is an estimate

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one property by atomic number: [101]."""
        return self.values[:, self.names.index(name)]


@cache
def element_properties() -> ElementProperties:
    """Read the table."""
    text = files("model.compositions").joinpath("element_properties.csv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    cells = np.array([row[4:] for row in rows]).T  # [100, 58]
    estimated = np.char.startswith(cells, "~")
    values = np.full((len(cells) + 1, len(rows)), np.nan)
    values[1:] = np.char.lstrip(cells, "~").astype(float)
    known = np.zeros(values.shape, dtype=bool)
    known[1:] = ~estimated
    for array in (values, known):
        array.flags.writeable = False
    names, kinds, units, sources = (tuple(row[i] for row in rows) for i in range(4))
    return ElementProperties(names, kinds, units, sources, ("", *header[4:]), values, known)


@cache
def atomic_numbers() -> dict[str, int]:
    """Return the atomic numbers 1 to 100 by symbol."""
    return {symbol: number for number, symbol in enumerate(element_properties().symbols) if number}
