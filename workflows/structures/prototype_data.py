"""Structure types of binary compounds: space group, axial ratios, occupied Wyckoff positions, source.

Positions are in the International Tables' standard setting (origin choice 2, hexagonal axes). Slot A is
the element named first in `Prototype.formula`, slot B the second, both in the compound the type is named
after. Parameters are those of that compound. Sources: the papers given with each type, as collected in
P. Villars, Pearson's Handbook (ASM, 1997) and in the AFLOW Library of Crystallographic Prototypes
(M. J. Mehl et al., Comput. Mater. Sci. 136, S1, 2017), whose values for Mg2Ni and MgNi2 were not used:
they put Mg atoms 2.1 and 1.5 A apart.
"""

from __future__ import annotations

from dataclasses import dataclass

_Position = tuple[float, float, float]


@dataclass(frozen=True)
class Prototype:
    """A structure type with two kinds of sites.

    Attributes
    ----------
    name
        Strukturbericht symbol.
    formula
        Compound that gave the type its name, elements in the order of slots A and B.
    aliases
        Other names it is known by, besides spellings of `name`.
    spacegroup_number, pearson
        Space group and Pearson symbol; the number in the latter counts atoms of the conventional cell.
    ratios
        b/a and c/a of the conventional cell.
    sites
        Slot, Wyckoff position and fractional coordinates of one atom of each orbit.
    counts
        Atoms of slots A and B in the formula unit.
    symmetric
        True when exchanging the elements of A and B gives the same crystal.
    source
        Where ratios and coordinates come from.
    """

    name: str
    formula: str
    aliases: tuple[str, ...]
    spacegroup_number: int
    pearson: str
    ratios: tuple[float, float]
    sites: tuple[tuple[str, str, _Position], ...]
    counts: tuple[int, int]
    source: str
    symmetric: bool = False


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
