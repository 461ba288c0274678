"""The 92 categories by which CGCNN describes an element, computed from pymatgen's table of elements.

Properties, ranges and numbers of categories: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018),
supplementary table 1.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pymatgen.core import Element

MAX_NUMBER = 100  # elements 1 to 100, as in CGCNN


def elements_of_table() -> list[Element]:
    """Return elements 1 to `MAX_NUMBER`."""
    from pymatgen.core import Element

    return [Element.from_Z(number) for number in range(1, MAX_NUMBER + 1)]


def property_of(element: Element, name: str) -> float:
    """Return a property of pymatgen's table as a number, NaN where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(getattr(element, name))
        except (AttributeError, TypeError, ValueError):
            return float("nan")


def covalent_radius(element: Element) -> float:
    """Return the covalent radius (A), NaN where it is not known."""
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

    return float(CovalentRadius.radius.get(element.symbol, float("nan")))


def positive(value: float) -> float:
    """Return a value, NaN unless it is positive."""
    return value if value > 0 else float("nan")


def _log_of(element: Element, name: str) -> float:
    return float(np.log(positive(property_of(element, name))))


def valence_shells(element: Element) -> dict[str, int]:
    """Count the electrons outside closed shells by their angular momentum.

    s and p electrons of the outermost shell; d electrons unless their shell is full and the element has p
    electrons (Ga); f electrons unless their shell is full (Yb, Hf).
    """
    shells = element.full_electronic_structure
    outermost = max(n for n, _, _ in shells)
    count = dict.fromkeys("spdf", 0)
    behind = {"s": 0, "p": 0, "d": 1, "f": 2}  # shells outside that of the same period
    for n, letter, electrons in shells:
        if n == outermost - behind[letter]:
            count[letter] = electrons
    if element.symbol == "Pd":  # 4d10 and no 5s
        count = {"s": 0, "p": 0, "d": 10, "f": 0}
    if count["p"] and count["d"] == 10:
        count["d"] = 0
    if count["f"] == 14:
        count["f"] = 0
    return count


def _valence_electrons(element: Element) -> float:
    # open f shells have up to 15 electrons; CGCNN's last category is 12
    return float(min(sum(valence_shells(element).values()), 12))


@cache
def cgcnn_categories() -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.bool_]]:
    """Return names [92], table [101, 92] of zeros and ones, and where a property is known [101, 92].

    Rows are atomic numbers, row 0 is empty. Continuous properties fall in equal intervals; a value beyond a
    range falls in the nearest one, and an unknown value in none. The source lists 9 periods, one more than
    fit in 92 features; 8 are kept, of which the elements up to 100 fill 7.
    """
    columns: list[tuple[str, NDArray[np.float64], int]] = []
    elements = elements_of_table()

    def whole(name: str, of: Callable[[Element], float], count: int) -> None:
        columns.append((name, np.array([of(e) for e in elements]) - 1, count))

    def ranged(name: str, of: Callable[[Element], float], low: float, high: float) -> None:
        values = np.array([of(e) for e in elements])
        columns.append((name, np.clip((values - low) / (high - low) * 10, 0, 10 - 1e-9), 10))

    whole("group", lambda e: float(e.group), 18)
    whole("period", lambda e: float(e.row), 8)
    ranged("electronegativity", lambda e: property_of(e, "X"), 0.5, 4.0)
    ranged("covalent radius", lambda e: 100 * covalent_radius(e), 25, 250)
    whole("valence electrons", _valence_electrons, 12)
    ranged("ionisation energy", lambda e: _log_of(e, "ionization_energy"), 1.3, 3.3)
    ranged("electron affinity", lambda e: property_of(e, "electron_affinity"), -3.0, 3.7)
    whole("block", lambda e: 1.0 + "spdf".index(e.block), 4)
    ranged("atomic volume", lambda e: _log_of(e, "molar_volume"), 1.5, 4.3)

    names: list[str] = []
    blocks, known = [], []
    for name, values, count in columns:
        present = ~np.isnan(values)
        block = np.zeros((MAX_NUMBER + 1, count), dtype=np.float32)
        numbers = np.flatnonzero(present) + 1
        block[numbers, values[present].astype(int)] = 1.0
        names += [f"{name} {i + 1}" for i in range(count)]
        blocks.append(block)
        known.append(np.repeat(np.concatenate([[False], present])[:, None], count, axis=1))
    return tuple(names), np.hstack(blocks), np.hstack(known)


def atom_init() -> dict[str, list[int]]:
    """Return the content of CGCNN's ``atom_init.json``: 92 zeros and ones by atomic number."""
    table = cgcnn_categories()[1].astype(int)
    return {str(number): table[number].tolist() for number in range(1, MAX_NUMBER + 1)}
