"""Which compounds are taken for semiconductors where no band gap is known: the rule of Zintl and Klemm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Structure

OCTET_CHARGE = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 2),
    **dict.fromkeys(("Al", "Ga", "In", "Sc", "Y", "La"), 3),
    **dict.fromkeys(("C", "Si", "Ge", "Sn"), -4),
    **dict.fromkeys(("N", "P", "As", "Sb"), -3),
    **dict.fromkeys(("O", "S", "Se", "Te"), -2),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
}
"""Charges of closed shells. Pb and Bi are absent: their compounds with Mg have no gap."""

BONDING = frozenset({"N", "P", "As", "Sb", "O", "S", "Se", "Te"})
"""Anions whose bonds among each other count; those of C, Si, Ge and Sn are often in metals (CaGe, SrSi2)."""

BOND = 1.15  # bonds are shorter than this times the sum of the covalent radii
GAP = 0.1  # band gap above which a compound is a semiconductor (eV)


def semiconductor(
    amounts: Mapping[str, float], band_gap: float | None, structure: Structure | None = None
) -> str:
    """Return why a compound is taken for a semiconductor or insulator; empty if it is not.

    Charges of closed shells sum to zero, where each bond between two anions makes the charge of both smaller
    by one (Zintl and Klemm; the 8-N rule): a formula of MgSe2 has one, one of MgAs4 five.

    Parameters
    ----------
    amounts
        Atoms by element.
    band_gap
        If known, it decides (eV).
    structure
        Shows the bonds between anions; without it none are assumed.
    """
    if band_gap is not None:
        return f"band gap {band_gap:.2f} eV" if band_gap > GAP else ""
    if len(amounts) < 2 or not set(amounts) <= set(OCTET_CHARGE):
        return ""
    charge = sum(n * OCTET_CHARGE[element] for element, n in amounts.items())
    if abs(charge) < 1e-6:
        return "closed shells"
    if charge < 0 and structure is not None and BONDING & set(amounts):
        share = sum(amounts.values()) / len(structure)
        if abs(charge + share * _ends_of_bonds(structure)) < 1e-6:
            return "closed shells, bonds between anions"
    return ""


def _ends_of_bonds(structure: Structure) -> int:
    """Count the bonds of each anion to other anions, each bond of a cell twice."""
    from pymatgen.analysis.local_env import CovalentRadius

    radius = {element: CovalentRadius.radius[element] for element in BONDING}
    longest = 2 * BOND * max(radius.values())
    return sum(
        site.specie.symbol in BONDING
        and other.specie.symbol in BONDING
        and other.nn_distance < BOND * (radius[site.specie.symbol] + radius[other.specie.symbol])
        for site, others in zip(structure, structure.get_all_neighbors(longest), strict=True)
        for other in others
    )
