"""Named structure types decorated with any two elements; volumes estimated from those of the elements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.structures.elements import elements_with_ground_state, ground_state
from workflows.structures.naming import mg_first_formula

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core.structure import Structure


_Position = tuple[float, float, float]


@dataclass(frozen=True)
class Prototype:
    """A structure type with two kinds of sites."""

    name: str  # strukturbericht symbol
    formula: str  # compound that gave the type its name, elements in the order of slots A and B
    aliases: tuple[str, ...]  # other names it is known by, besides spellings of `name`
    # spacegroup_number, pearson: space group and Pearson symbol; the number in the latter counts atoms of the
    # conventional cell
    spacegroup_number: int
    pearson: str
    ratios: tuple[float, float]  # b/a and c/a of the conventional cell
    # slot, Wyckoff position and fractional coordinates of one atom of each orbit
    sites: tuple[tuple[str, str, _Position], ...]
    counts: tuple[int, int]  # atoms of slots A and B in the formula unit
    source: str  # where ratios and coordinates come from
    symmetric: bool = False  # True when exchanging the elements of A and B gives the same crystal


_T = 1 / 3

PROTOTYPES: tuple[Prototype, ...] = (
    Prototype(
        "B1", "NaCl", ("rocksalt", "halite"), 225, "cF8", (1, 1),
        (("A", "4a", (0, 0, 0)), ("B", "4b", (0.5, 0.5, 0.5))), (1, 1),
        "positions fixed by symmetry", symmetric=True,
    ),
    Prototype(
        "B2", "CsCl", (), 221, "cP2", (1, 1),
        (("A", "1a", (0, 0, 0)), ("B", "1b", (0.5, 0.5, 0.5))), (1, 1),
        "positions fixed by symmetry", symmetric=True,
    ),
    Prototype(
        "B3", "ZnS", ("zincblende", "sphalerite"), 216, "cF8", (1, 1),
        (("A", "4a", (0, 0, 0)), ("B", "4c", (0.25, 0.25, 0.25))), (1, 1),
        "positions fixed by symmetry", symmetric=True,
    ),
    Prototype(
        "B33", "CrB", ("B_f",), 63, "oC8", (2.6425, 0.9854),
        (("A", "4c", (0, 0.1453, 0.25)), ("B", "4c", (0, 0.4360, 0.25))), (1, 1),
        "S. Okada, T. Atoda, I. Higashi, J. Solid State Chem. 68, 61 (1987)",
    ),
    Prototype(
        "C1", "CaF2", ("fluorite", "antifluorite"), 225, "cF12", (1, 1),
        (("A", "4a", (0, 0, 0)), ("B", "8c", (0.25, 0.25, 0.25))), (1, 2),
        "positions fixed by symmetry",
    ),
    Prototype(
        "C14", "MgZn2", ("hexagonal Laves",), 194, "hP12", (1, 1.6400),
        (
            ("A", "4f", (_T, 2 * _T, 0.0629)),
            ("B", "2a", (0, 0, 0)),
            ("B", "6h", (0.8305, 1.6610, 0.25)),
        ), (1, 2),
        "T. Ohba et al., Acta Cryst. C 40, 1 (1984)",
    ),
    Prototype(
        "C15", "MgCu2", ("cubic Laves",), 227, "cF24", (1, 1),
        (("A", "8a", (0.125, 0.125, 0.125)), ("B", "16d", (0.5, 0.5, 0.5))), (1, 2),
        "positions fixed by symmetry",
    ),
    Prototype(
        "C16", "CuAl2", ("Al2Cu", "khatyrkite"), 140, "tI12", (1, 0.8046),
        (("A", "4a", (0, 0, 0.25)), ("B", "8h", (0.1581, 0.6581, 0))), (1, 2),
        "A. Meetsma, J. L. de Boer, S. van Smaalen, J. Solid State Chem. 83, 370 (1989)",
    ),
    Prototype(
        "C36", "MgNi2", ("dihexagonal Laves",), 194, "hP24", (1, 3.2807),
        (
            ("A", "4e", (0, 0, 0.0940)),
            ("A", "4f", (_T, 2 * _T, 0.8442)),
            ("B", "4f", (_T, 2 * _T, 0.1251)),
            ("B", "6g", (0.5, 0, 0)),
            ("B", "6h", (0.1643, 0.3286, 0.25)),
        ), (1, 2),
        "Y. Komura, K. Tokunaga, Acta Cryst. B 36, 1548 (1980)",
    ),
    Prototype(
        "C_b", "Mg2Cu", ("CuMg2",), 70, "oF48", (1.7145, 3.4745),
        (
            ("A", "16g", (0.125, 0.125, 0.0415)),
            ("A", "16f", (0.125, 0.4591, 0.125)),
            ("B", "16g", (0.125, 0.125, 0.4982)),
        ), (2, 1),
        "F. Gingl, P. Selvam, K. Yvon, Acta Cryst. B 49, 201 (1993)",
    ),
    Prototype(
        "C_a", "Mg2Ni", (), 180, "hP18", (1, 2.5430),
        (
            ("A", "6f", (0.5, 0, 0.1155)),
            ("A", "6i", (0.1628, 0.3256, 0)),
            ("B", "3b", (0, 0, 0.5)),
            ("B", "3d", (0.5, 0, 0.5)),
        ), (2, 1),
        "J. Schefer et al., J. Less-Common Met. 74, 65 (1980)",
    ),
    Prototype(
        "L1_0", "AuCu", ("CuAu", "tP4"), 123, "tP2", (1, 1.3100),
        (("A", "1a", (0, 0, 0)), ("B", "1d", (0.5, 0.5, 0.5))), (1, 1),
        "C. H. Johansson, J. O. Linde, Ann. Phys. 417, 1 (1936)", symmetric=True,
    ),
    Prototype(
        "L1_2", "AuCu3", ("Cu3Au",), 221, "cP4", (1, 1),
        (("A", "1a", (0, 0, 0)), ("B", "3c", (0, 0.5, 0.5))), (1, 3),
        "positions fixed by symmetry",
    ),
    Prototype(
        "D0_3", "BiF3", ("AlFe3", "Fe3Al"), 225, "cF16", (1, 1),
        (("A", "4a", (0, 0, 0)), ("B", "4b", (0.5, 0.5, 0.5)), ("B", "8c", (0.25, 0.25, 0.25))), (1, 3),
        "positions fixed by symmetry",
    ),
    Prototype(
        "D0_19", "SnNi3", ("Ni3Sn", "Mg3Cd"), 194, "hP8", (1, 0.8021),
        (("A", "2c", (_T, 2 * _T, 0.25)), ("B", "6h", (0.8390, 1.6780, 0.25))), (1, 3),
        "A. L. Lyubimtsev et al., J. Alloys Compd. 340, 167 (2002)",
    ),
    Prototype(
        "D0_22", "TiAl3", ("Al3Ti",), 139, "tI8", (1, 2.2275),
        (("A", "2a", (0, 0, 0)), ("B", "2b", (0, 0, 0.5)), ("B", "4d", (0, 0.5, 0.25))), (1, 3),
        "P. Norby, A. N. Christensen, Acta Chem. Scand. A 40, 157 (1986)",
    ),
    Prototype(
        "A12", "Mg17Al12", ("Al12Mg17", "gamma-Mg17Al12"), 217, "cI58", (1, 1),
        (
            ("A", "2a", (0, 0, 0)),
            ("A", "8c", (0.3240, 0.3240, 0.3240)),
            ("A", "24g", (0.3582, 0.3582, 0.0393)),
            ("B", "24g", (0.0954, 0.0954, 0.2725)),
        ), (17, 12),
        "P. Schobinger-Papamantellos, P. Fischer, Naturwissenschaften 57, 128 (1970)",
    ),
    Prototype(
        "D2_b", "ThMn12", ("Mn12Th",), 139, "tI26", (1, 0.5664),
        (
            ("A", "2a", (0, 0, 0)),
            ("B", "8f", (0.25, 0.25, 0.25)),
            ("B", "8i", (0.3610, 0, 0)),
            ("B", "8j", (0.2770, 0.5, 0)),
        ), (1, 12),
        "J. V. Florio, R. E. Rundle, A. I. Snow, Acta Cryst. 5, 449 (1952)",
    ),
    Prototype(
        "D8_8", "Mn5Si3", (), 193, "hP16", (1, 0.6967),
        (
            ("A", "4d", (_T, 2 * _T, 0)),
            ("A", "6g", (0.2358, 0, 0.25)),
            ("B", "6g", (0.5992, 0, 0.25)),
        ), (5, 3),
        "G. H. Lander, P. J. Brown, J. B. Forsyth, Proc. Phys. Soc. 91, 332 (1967)",
    ),
    Prototype(
        "D5_2", "La2O3", ("Mg3Sb2", "anti-La2O3"), 164, "hP5", (1, 1.5825),
        (
            ("A", "2d", (_T, 2 * _T, 0.228)),
            ("B", "1a", (0, 0, 0)),
            ("B", "2d", (_T, 2 * _T, 0.634)),
        ), (2, 3),
        "parameters of Mg3Sb2 (A = Sb): M. Martinez-Ripoll et al., Acta Cryst. B 30, 2006 (1974)",
    ),
)  # fmt: skip
"""Every structure type that `workflows.structures.prototypes` decorates."""


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
    """Return the volume of one atom (A^3): measured ground state, or an effective one for a non-metal."""
    if element in _IN_COMPOUNDS:
        return _IN_COMPOUNDS[element]
    if element not in elements_with_ground_state():
        raise InputError(
            f"no atomic volume is known for {element}: give a structure file instead of a prototype"
        )
    structure = ground_state(element)
    return float(structure.volume) / len(structure)


def compound_volume(composition: Mapping[str, float]) -> float:
    """Estimate the volume (A^3) of the atoms of a binary or higher compound.

    Zen's law (E. Zen, Am. Mineral. 41, 523, 1956), the sum of the atomic volumes, less a contraction that
    grows with charge transfer: V = sum_i N_i V_i [1 - k sum_(i<j) 4 c_i c_j |chi_i - chi_j|], with atomic
    fractions c, Pauling's electronegativities chi and k = 0.16 from measured Mg compounds.
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

    For example ``L1_0``, ``L10``, ``D0_19``, ``CsCl``, ``fluorite``; the `InputError` for another name lists
    those that exist.
    """
    if isinstance(name, Prototype):
        return name
    try:
        return _BY_NAME[_canonical(name)]
    except KeyError:
        known = ", ".join(p.name for p in PROTOTYPES)
        raise InputError(f"unknown prototype {name!r}: use one of {known}") from None


def decorate(name: str | Prototype, elements: tuple[str, str], *, swap: bool = False) -> Structure:
    """Put two elements on the sites of a structure type.

    Parameters
    ----------
    elements
        On slots A and B, in the order of the type's formula (C14 is MgZn2: ``("Mg", "Zn")``).

    Returns
    -------
    Structure
        Conventional cell (A), its volume from `workflows.structures.prototypes.compound_volume`, axial ratios
        and coordinates those of the type.

    Raises
    ------
    InputError
        If the type is unknown, the elements are equal, or a volume is not known.
    """
    from workflows.structures.elements import crystal

    kind = prototype(name)
    if elements[0] == elements[1]:
        raise InputError(
            f"prototype {kind.name} takes two different elements, got {', '.join(elements)}: name them in "
            f"the order of {kind.formula}"
        )
    slots = dict(zip("AB", reversed(elements) if swap else elements, strict=True))
    b_over_a, c_over_a = kind.ratios
    sites = [(slots[slot], position) for slot, _, position in kind.sites]
    structure = crystal(kind.spacegroup_number, (1.0, b_over_a, c_over_a), sites)
    structure.scale_lattice(compound_volume(structure.composition.get_el_amt_dict()))
    return structure


def structure_for(formula: str, name: str | Prototype, *, swap: bool = False) -> Structure:
    """Decorate a structure type, see `prototype`, so that a given formula results.

    The amounts decide which element takes which slot. Where they do not (1:1 types) the element written first
    takes slot A; `swap` exchanges them. That matters for B33 only: in the other 1:1 types both decorations
    are the same crystal. `InputError` if the formula is none, or does not fit the type.
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
