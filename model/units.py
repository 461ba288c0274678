"""Units of energies, energies per area and work functions, in any spelling.

Factors: CODATA 2018 (https://physics.nist.gov/cuu/Constants): e = 1.602176634e-19 C exactly, so that
1 eV/A^2 = 16.02176634 J/m^2; Hartree 27.211386245988 eV; Bohr radius 0.529177210903 A;
N_A = 6.02214076e23 / mol exactly.
"""

from __future__ import annotations

import re
import unicodedata

_JOULE = 1 / 1.602176634e-19
_HARTREE = 27.211386245988
_METRE = 1e10
_BOHR = 0.529177210903
J_PER_M2 = _JOULE / _METRE**2
"""In eV/A^2."""

_ENERGIES = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), (1.0, 0)),
    "mev": (1e-3, 0),
    **dict.fromkeys(("j", "joule", "joules"), (_JOULE, 0)),
    "mj": (1e-3 * _JOULE, 0),
    "kj": (1e3 * _JOULE, 0),
    "kcal": (4184 * _JOULE, 0),
    "erg": (1e-7 * _JOULE, 0),
    **dict.fromkeys(("hartree", "hartrees", "ha", "eh"), (_HARTREE, 0)),
    **dict.fromkeys(("ry", "ryd", "rydberg", "rydbergs"), (_HARTREE / 2, 0)),
    "n": (_JOULE / _METRE, 1),
    "mn": (1e-3 * _JOULE / _METRE, 1),
    **dict.fromkeys(("dyn", "dyne"), (1e-5 * _JOULE / _METRE, 1)),
}
"""Energies and forces in lower case: value in eV and A, and the lengths that they are divided by already."""
_DIVISORS = {
    **dict.fromkeys(("a", "å", "ang", "angstrom", "angstroms", "ångström"), (1.0, 1)),
    "nm": (10.0, 1),
    "cm": (1e-2 * _METRE, 1),
    "m": (_METRE, 1),
    **dict.fromkeys(("bohr", "a0"), (_BOHR, 1)),
    "mol": (6.02214076e23, 0),
}
"""What an energy is divided by: value in A, and whether it is a length."""
_TOKEN = re.compile(r"(a0|[^\W\d_]+)(?:[ ^*_{(+\-\N{MINUS SIGN}]*([12])(?!\d))?")


def unit_factor(unit: str, lengths: int) -> float | None:
    """Return how many eV/A^lengths a unit is; None if it is no energy per length of that power.

    Only the order of the symbols and their powers count: J/m2, J m^-2, J·m⁻² and j_m2 are one unit.
    """
    text = unicodedata.normalize("NFKC", unit).lower()
    tokens = [(name, int(power or 1)) for name, power in _TOKEN.findall(text) if name != "per"]
    if re.search(r"[^\W_]", _TOKEN.sub("", text)) or not tokens or tokens[0][0] not in _ENERGIES:
        return None
    factor, found = _ENERGIES[tokens[0][0]]
    for name, power in tokens[1:]:
        if name not in _DIVISORS:
            return None
        value, is_length = _DIVISORS[name]
        factor, found = factor / value**power, found + is_length * power
    return factor if found == lengths and tokens[0][1] == 1 else None
