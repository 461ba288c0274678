"""Key of the compound of a slab: its reduced formula, or its chemical system where that is not known."""

from __future__ import annotations

import re
from collections import defaultdict
from math import gcd

_TERM = re.compile(r"([A-Z][a-z]?)(\d*)(?:\.(\d+))?")


def formula_key(formula: str, chemsys: str, compound: str | None) -> str:
    """Return the key that decides whether a slab trains, validates or is held out.

    Parameters
    ----------
    formula
        Of the compound, for a slab that was cut here.
    chemsys
        Elements in alphabetical order, e.g. Ag-Mg.
    compound
        Of an imported slab, see `stores.labelled.LabelRecord.compound`; None for a slab that was cut here.

    Returns
    -------
    str
        The formula, elements in alphabetical order, e.g. Ag1Mg3; for an imported slab that does not show its
        crystal the chemical system, for its own formula would tell the terminations of one crystal apart.
    """
    if compound is None:
        return _reduced(formula)
    known, _, volume = compound.partition(" ")
    return _reduced(known) if volume else chemsys


def _reduced(formula: str) -> str:
    """Return a formula with its elements in alphabetical order and no common divisor: MgAg is Ag1Mg1."""
    # decimals become integers: Fe71.2B28.8 is B36Fe89
    amounts: dict[str, int] = defaultdict(int)
    terms = _TERM.findall(formula)
    digits = max((len(decimals) for _, _, decimals in terms), default=0)
    for symbol, count, decimals in terms:
        amounts[symbol] += int((count or ("0" if decimals else "1")) + decimals.ljust(digits, "0"))
    if not amounts:
        return formula
    divisor = gcd(*amounts.values()) or 1
    return "".join(f"{symbol}{amounts[symbol] // divisor}" for symbol in sorted(amounts))
