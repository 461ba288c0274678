"""Volumes of compounds from those of their elements, to start a relaxation from."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.structures.elements import elements_with_ground_state, ground_state

if TYPE_CHECKING:
    from collections.abc import Mapping

# Non-metals whose elements are gases, liquids or molecular solids: mean volume of one atom in crystals,
# A^3, from D. W. M. Hofmann, Acta Cryst. B 58, 489 (2002); C and P too, whose layered elements are bulky.
_IN_COMPOUNDS = {
    "H": 5.08, "C": 13.87, "N": 11.8, "O": 11.39, "F": 11.17, "S": 25.2, "Cl": 25.8, "Br": 32.7, "I": 46.2,
}  # fmt: skip

# Share of volume lost per unit of electronegativity difference in a 1:1 compound; fitted to measured
# volumes of Mg with Ag, Au, Cu, Ni, Pd, Rh and Zn (0.11 to 0.20, Au lowest).
_CONTRACTION = 0.16


@lru_cache(maxsize=128)
def atomic_volume(element: str) -> float:
    """Return the volume of one atom (A^3): measured ground state, or an effective one for a non-metal.

    Raises
    ------
    InputError
        If neither is known.
    """
    if element in _IN_COMPOUNDS:
        return _IN_COMPOUNDS[element]
    if element not in elements_with_ground_state():
        raise InputError(
            f"no atomic volume is known for {element}: give a structure file instead of a prototype"
        )
    structure = ground_state(element)
    return float(structure.volume) / len(structure)


def compound_volume(composition: Mapping[str, float]) -> float:
    """Estimate the volume of a binary or higher compound.

    Zen's law (E. Zen, Am. Mineral. 41, 523, 1956), the sum of the atomic volumes, less a contraction that
    grows with charge transfer: V = sum_i N_i V_i [1 - k sum_(i<j) 4 c_i c_j |chi_i - chi_j|], with atomic
    fractions c, Pauling's electronegativities chi and k = 0.16 from measured Mg compounds.

    Parameters
    ----------
    composition
        Atoms by element symbol.

    Returns
    -------
    float
        Volume of that many atoms (A^3).

    Raises
    ------
    InputError
        If an element's volume is not known.
    """
    from pymatgen.core.periodic_table import Element

    total = sum(composition.values())
    zen = sum(n * atomic_volume(element) for element, n in composition.items())
    elements = sorted(composition)
    transfer = sum(
        4 * composition[a] * composition[b] / total**2 * abs(Element(a).X - Element(b).X)
        for i, a in enumerate(elements)
        for b in elements[i + 1 :]
    )
    return zen * (1 - _CONTRACTION * transfer)
