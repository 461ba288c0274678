"""Element symbols as structure files spell them: any case, charges, site labels, hydrogen isotopes."""

from __future__ import annotations

import re
from functools import lru_cache

ISOTOPES = {"D": "deuterium", "T": "tritium"}
"""Symbols of hydrogen isotopes: read as hydrogen, since energies and potentials do not depend on the mass."""

_LETTERS = re.compile(r"[A-Za-z]+")


@lru_cache(maxsize=1)
def _elements() -> frozenset[str]:
    from ase.data import chemical_symbols

    return frozenset(chemical_symbols[1:])


def is_symbol(text: str) -> bool:
    """Whether a correctly capitalised text names an element or a hydrogen isotope."""
    return text in _elements() or text in ISOTOPES


@lru_cache(maxsize=4096)
def exact_symbol(text: str) -> str | None:
    """Return the element that a whole text names in any case (``MG`` is Mg), or None; D and T stay so."""
    symbol = text.strip().capitalize()
    return symbol if is_symbol(symbol) else None


@lru_cache(maxsize=4096)
def symbol_in(label: str, expected: frozenset[str] = frozenset()) -> str | None:
    """Return the element, ``D`` or ``T`` that a type symbol or site label begins with, else None.

    Of ``NI1`` both Ni and N with a suffix are possible: the longer one is taken, unless only the shorter one
    is among the expected elements, those of the file's formula. What follows the symbol (``Ni2+``, ``Mg1A``,
    ``O_w``) is ignored.
    """
    match = _LETTERS.match(label.strip())
    if match is None:
        return None
    letters = match[0]
    candidates = []
    if len(letters) > 1 and letters[:2].capitalize() in _elements():
        candidates.append(letters[:2].capitalize())
    first = letters[0].upper()
    suffix = letters[1:]
    if is_symbol(first) and (not suffix or suffix[0].isupper() or first in expected):
        candidates.append(first)
    if expected:
        # sites called T or D in a compound without hydrogen are no isotopes
        candidates = [c for c in candidates if c not in ISOTOPES or "H" in expected]
    named = [c for c in candidates if c in expected]
    return next(iter(named or candidates), None)


def plain_symbol(symbol: str) -> str:
    """Return H for its isotopes, every other symbol as it is."""
    return "H" if symbol in ISOTOPES else symbol


def isotope_note(names: dict[str, str]) -> str:
    """Return the line about isotopes read as hydrogen; `names` has ``D`` or ``T`` by site."""
    kinds = " and ".join(f"{ISOTOPES[kind]} ({kind})" for kind in sorted(set(names.values())))
    return f"{kinds} read as hydrogen (H): {shortened(list(names))}"


def shortened(names: list[str], most: int = 6) -> str:
    """Join names with commas; beyond so many only their number is given."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
