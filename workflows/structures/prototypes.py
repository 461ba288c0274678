"""Named structure types decorated with any two elements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import gcd
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.structures.naming import mg_first_formula
from workflows.structures.prototype_data import PROTOTYPES, Prototype
from workflows.structures.volumes import compound_volume

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


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
        Conventional cell (A), its volume from `workflows.structures.volumes.compound_volume`, axial ratios
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
