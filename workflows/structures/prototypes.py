"""Named structure types decorated with any two elements.

Volumes of compounds from those of their elements, to start a relaxation from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.structures.elements import elements_with_ground_state, ground_state
from workflows.structures.naming import mg_first_formula
from workflows.structures.prototype_data import PROTOTYPES, Prototype

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


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


def _canonical(name: str) -> str:
    return re.sub(r"[\s_{}$-]", "", name).lower()


_BY_NAME: dict[str, Prototype] = {
    _canonical(alias): p for p in PROTOTYPES for alias in (*p.aliases, p.formula, p.name)
}


def prototype(name: str | Prototype) -> Prototype:
    """Look a structure type up by Strukturbericht symbol, compound or common name.

    Parameters
    ----------
    name
        For example ``L1_0``, ``L10``, ``D0_19``, ``CsCl``, ``fluorite``.

    Raises
    ------
    InputError
        If no type has that name; the message lists those that exist.
    """
    if isinstance(name, Prototype):
        return name
    try:
        return _BY_NAME[_canonical(name)]
    except KeyError:
        known = ", ".join(p.name for p in PROTOTYPES)
        raise InputError(f"unknown prototype {name!r}: use one of {known}") from None


def decorate(
    name: str | Prototype, elements: Sequence[str] | Mapping[str, str], *, swap: bool = False
) -> Structure:
    """Put two elements on the sites of a structure type.

    Parameters
    ----------
    name
        Structure type, see `prototype`.
    elements
        Elements on slots A and B, in the order of the type's formula (C14 is MgZn2: ``("Mg", "Zn")``), or
        a mapping ``{"A": "Mg", "B": "Zn"}``.
    swap
        Put the first element on B and the second on A.

    Returns
    -------
    Structure
        Conventional cell (A), its volume from `workflows.structures.prototypes.compound_volume`, axial ratios
        and coordinates those of the type.

    Raises
    ------
    InputError
        If the type is unknown, there are not exactly two different elements, or a volume is not known.
    """
    from workflows.structures.wyckoff import crystal

    kind = prototype(name)
    if isinstance(elements, Mapping):
        if set(elements) != {"A", "B"}:
            raise InputError(f"prototype {kind.name} has the slots A and B, not {', '.join(elements)}")
        pair = [elements["A"], elements["B"]]
    else:
        pair = list(elements)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise InputError(
            f"prototype {kind.name} takes two different elements, got {', '.join(pair) or 'none'}: "
            f"name them in the order of {kind.formula}"
        )
    slots = dict(zip("AB", reversed(pair) if swap else pair, strict=True))
    b_over_a, c_over_a = kind.ratios
    sites = [(slots[slot], position) for slot, _, position in kind.sites]
    structure = crystal(kind.spacegroup_number, (1.0, b_over_a, c_over_a), sites)
    structure.scale_lattice(compound_volume(structure.composition.get_el_amt_dict()))
    return structure


def structure_for(formula: str, name: str | Prototype, *, swap: bool = False) -> Structure:
    """Decorate a structure type so that a given formula results.

    The amounts decide which element takes which slot. Where they do not (1:1 types) the element written
    first takes slot A; `swap` exchanges them. That matters for B33 only: in the other 1:1 types both
    decorations are the same crystal.

    Parameters
    ----------
    formula
        For example ``MgZn2``.
    name
        Structure type, see `prototype`.
    swap
        Exchange the elements of a 1:1 type.

    Returns
    -------
    Structure
        As `decorate`.

    Raises
    ------
    InputError
        If the formula is no formula, or does not fit the type.
    """
    from pymatgen.core.composition import Composition

    kind = prototype(name)
    reduced = mg_first_formula(formula)  # refuses what is no formula
    amounts = Composition(formula).get_el_amt_dict()
    a_count, b_count = kind.counts
    fits = f"prototype {kind.name} ({kind.formula}) needs two elements in the ratio {a_count}:{b_count}"
    if len(amounts) != 2 or any(abs(n - round(n)) > 1e-8 for n in amounts.values()):
        raise InputError(f"{formula}: {fits}; choose another prototype or correct the formula")
    (first, n_first), (second, n_second) = ((s, round(n)) for s, n in amounts.items())
    divisor = gcd(n_first, n_second)
    counts = (n_first // divisor, n_second // divisor)
    if counts == kind.counts:
        return decorate(kind, (first, second), swap=swap and a_count == b_count)
    if counts == (b_count, a_count):
        return decorate(kind, (second, first))
    raise InputError(f"{reduced}: {fits}; choose another prototype or correct the formula")
