"""The contents of a cell that a CIF states, compared with its atoms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from stores.structures.symbols import exact_symbol, plain_symbol

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHARE = 0.005  # of an element; formulas are rounded to two or three decimals
_AMOUNT = 0.02  # relative, of the number of atoms
_DENSITY = 0.06  # relative; densities calculated for slightly different cells differ by a few per cent
_DALTON_PER_A3 = 1.66053907  # g/cm^3 (CODATA 2018)
_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")
_TOKEN = re.compile(r"([A-Za-z]{1,2})(\d*\.?\d*)")


@dataclass(slots=True)
class Stated:
    """Statements of a data block: its formula sum, "" if missing, Z and density (g/cm^3), None if missing."""

    formula: str = ""
    units: float | None = None
    density: float | None = None

    @property
    def formulas(self) -> tuple[dict[str, float], ...]:
        """Amounts by element, one for each way to read the formula; empty if it cannot be read."""
        return read_formula(self.formula)

    @property
    def elements(self) -> frozenset[str]:
        """Elements of the formula, by any way to read it."""
        return _elements(self.formula)


@lru_cache(maxsize=1024)
def _elements(text: str) -> frozenset[str]:
    return frozenset(element for formula in read_formula(text) for element in formula)


@lru_cache(maxsize=1024)
def read_formula(text: str) -> tuple[dict[str, float], ...]:
    """Return the amounts in a formula sum, for each way to read it.

    ``NI4 SN3`` is Ni4Sn3 if its words are elements, NI4SN3 if capitals are; isotopes count as hydrogen.
    """
    words = text.split()
    parts = [_PART.findall(word) for word in words]
    by_capitals = [pair for word in parts for pair in word]
    complete = all("".join(s + n for s, n in word) == given for word, given in zip(parts, words, strict=True))
    by_words = [match.groups() for word in words if (match := _TOKEN.fullmatch(word))]
    found: list[dict[str, float]] = []
    for pairs, whole in ((by_words, len(by_words) == len(words)), (by_capitals, complete)):
        amounts: dict[str, float] = {}
        for name, number in pairs:
            symbol = exact_symbol(name)
            if symbol is None or number == ".":
                whole = False
                break
            symbol = plain_symbol(symbol)
            amounts[symbol] = amounts.get(symbol, 0.0) + (float(number) if number else 1.0)
        amounts = {symbol: amount for symbol, amount in amounts.items() if amount > 0}
        if whole and amounts and amounts not in found:
            found.append(amounts)
    return tuple(found)


@dataclass(slots=True)
class Verdict:
    """Whether atoms agree with the statements of the file.

    `contradiction` names both sides; `confirmed`: the number of atoms in the cell is that which formula and
    Z, or the density, require; `doubt`: one of Z and density contradicts, but the other one confirms.
    """

    contradiction: str = ""
    confirmed: bool = False
    doubt: str = ""


def compare(counts: Mapping[str, int], volume: float, stated: Stated) -> Verdict:
    """Compare the atoms of a cell of some volume (A^3) with formula, Z and density in its file."""
    n_atoms = sum(counts.values())
    formulas = stated.formulas
    formula = next((f for f in formulas if _same_shares(counts, f)), None)
    if formulas and formula is None:
        return Verdict(f"{_atoms(counts)}, but _chemical_formula_sum is '{stated.formula}'")
    by_units = by_density = None
    if formula is not None and stated.units:
        expected = _expected(formula, stated.units)
        by_units = any(abs(n_atoms - n) <= _AMOUNT * n for n in expected)
    if stated.density:
        by_density = abs(density_of(counts, volume) / stated.density - 1) <= _DENSITY
    if by_units is False:
        text = (
            f"{_atoms(counts)}, but _cell_formula_units_Z {stated.units:g} times '{stated.formula}' are "
            f"{expected[0]:g} atoms"
        )
        return Verdict(doubt=text, confirmed=True) if by_density else Verdict(text)
    if by_density is False:
        text = (
            f"{_atoms(counts)}, whose density is {density_of(counts, volume):.3g} g/cm3, but "
            f"_exptl_crystal_density_diffrn is {stated.density:g}"
        )
        return Verdict(doubt=text, confirmed=True) if by_units else Verdict(text)
    return Verdict(confirmed=bool(by_units or by_density))


def _atoms(counts: Mapping[str, int]) -> str:
    return f"the atoms in the cell are {formula_text(counts)}"


def _same_shares(counts: Mapping[str, int], formula: Mapping[str, float]) -> bool:
    if counts.keys() != formula.keys():
        return False
    ratio = sum(formula.values()) / sum(counts.values())
    tolerance = _SHARE * sum(formula.values())
    return all(abs(count * ratio - formula[e]) <= tolerance for e, count in counts.items())


def _expected(formula: Mapping[str, float], units: float) -> list[float]:
    """Return the possible numbers of atoms: some programs write the formula of the whole cell beside Z."""
    total = sum(formula.values())
    amounts = list(formula.values())
    if units > 1 and all(a == int(a) for a in amounts) and gcd(*map(int, amounts)) == units:
        return [units * total, total]
    return [units * total]


def density_of(counts: Mapping[str, int], volume: float) -> float:
    """Return the density (g/cm^3) of atoms in a volume (A^3)."""
    from ase.data import atomic_masses, atomic_numbers

    mass = sum(float(atomic_masses[atomic_numbers[e]]) * n for e, n in counts.items())
    return mass * _DALTON_PER_A3 / volume


def formula_text(counts: Mapping[str, int]) -> str:
    """Return e.g. ``Mg8 Cu16``: Mg first, the others in alphabetical order."""
    return " ".join(f"{e}{counts[e]}" for e in sorted(counts, key=lambda e: (e != "Mg", e)))
