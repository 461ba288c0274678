"""Whether a compound is a semiconductor, by its band gap or by the charges of closed shells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OCTET_CHARGE = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 2),
    **dict.fromkeys(("Al", "Ga", "In", "Sc", "Y", "La"), 3),
    **dict.fromkeys(("C", "Si", "Ge", "Sn"), -4),
    **dict.fromkeys(("N", "P", "As", "Sb"), -3),
    **dict.fromkeys(("O", "S", "Se", "Te"), -2),
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
}
"""Charges of closed shells: a compound whose charges sum to zero is taken for a semiconductor (Zintl and
Klemm), unless a band gap is known. Pb and Bi are absent: their compounds with Mg have no gap."""


def semiconductor(amounts: Mapping[str, float], band_gap: float | None) -> str:
    """Return why a compound is taken for a semiconductor or insulator; empty if it is not."""
    if band_gap is not None:
        return f"band gap {band_gap:.2f} eV" if band_gap > 0.1 else ""
    if len(amounts) > 1 and set(amounts) <= set(OCTET_CHARGE):
        charge = sum(n * OCTET_CHARGE[element] for element, n in amounts.items())
        if abs(charge) < 1e-6:
            return "closed shells"
    return ""
