"""Twenty crystals of all seven crystal systems, from the literature, on which slab generators are compared.

Lattice parameters (A) and positions are those of Villars & Calvert, Pearson's Handbook of Crystallographic
Data, or of the AFLOW Encyclopedia of Crystallographic Prototypes, rounded.
"""

from __future__ import annotations

from pymatgen.core import Lattice, Structure

_cubic, _hexagonal, _tetragonal = Lattice.cubic, Lattice.hexagonal, Lattice.tetragonal
_THIRD = [1 / 3, 2 / 3]

CRYSTALS: dict[str, tuple[str, Lattice, list[tuple[str, list[float]]]]] = {
    # cubic
    "MgAg B2": ("Pm-3m", _cubic(3.314), [("Mg", [0, 0, 0]), ("Ag", [0.5, 0.5, 0.5])]),
    "Mg2Si C1": ("Fm-3m", _cubic(6.351), [("Si", [0, 0, 0]), ("Mg", [0.25, 0.25, 0.25])]),
    "Mg3Y D0_3": (
        "Fm-3m",
        _cubic(7.35),
        [("Y", [0, 0, 0]), ("Mg", [0.5, 0.5, 0.5]), ("Mg", [0.25, 0.25, 0.25])],
    ),
    "MgCu2 C15": ("Fd-3m", _cubic(7.034), [("Mg", [0, 0, 0]), ("Cu", [0.625, 0.625, 0.625])]),
    "Mg17Al12 A12": (
        "I-43m",
        _cubic(10.544),
        [
            ("Mg", [0, 0, 0]),
            ("Mg", [0.324, 0.324, 0.324]),
            ("Mg", [0.3582, 0.3582, 0.0393]),
            ("Al", [0.0954, 0.0954, 0.2725]),
        ],
    ),
    # hexagonal
    "Mg A3": ("P6_3/mmc", _hexagonal(3.209, 5.211), [("Mg", [*_THIRD, 0.25])]),
    "MgZn2 C14": (
        "P6_3/mmc",
        _hexagonal(5.22, 8.57),
        [("Mg", [*_THIRD, 0.062]), ("Zn", [0, 0, 0]), ("Zn", [0.830, 0.660, 0.25])],
    ),
    "Mg2Ni C_a": (
        "P6_222",
        _hexagonal(5.216, 13.20),
        [
            ("Mg", [0.5, 0, 0.1187]),
            ("Mg", [0.1635, 0.327, 0]),
            ("Ni", [0, 0, 0.5]),
            ("Ni", [0.5, 0, 0.5]),
        ],
    ),
    "Mg3Cd D0_19": (
        "P6_3/mmc",
        _hexagonal(6.31, 5.08),
        [("Cd", [*_THIRD, 0.25]), ("Mg", [5 / 6, 2 / 3, 0.25])],
    ),
    # trigonal
    "Mg3Sb2 D5_2": (
        "P-3m1",
        _hexagonal(4.568, 7.229),
        [("Mg", [0, 0, 0]), ("Mg", [*_THIRD, 0.634]), ("Sb", [*_THIRD, 0.2287])],
    ),
    "MgCl2 C19": ("R-3m", _hexagonal(3.636, 17.667), [("Mg", [0, 0, 0]), ("Cl", [0, 0, 0.2578])]),
    "Bi A7": ("R-3m", _hexagonal(4.546, 11.863), [("Bi", [0, 0, 0.2339])]),
    # tetragonal
    "MgIn L1_0": ("P4/mmm", _tetragonal(3.25, 4.39), [("Mg", [0, 0, 0]), ("In", [0.5, 0.5, 0.5])]),
    "MgF2 C4": ("P4_2/mnm", _tetragonal(4.621, 3.052), [("Mg", [0, 0, 0]), ("F", [0.303, 0.303, 0])]),
    "Sn A5": ("I4_1/amd", _tetragonal(5.831, 3.182), [("Sn", [0, 0, 0])]),
    # orthorhombic
    "MgCd B19": (
        "Pmma",
        Lattice.orthorhombic(5.005, 3.222, 5.270),
        [("Mg", [0.25, 0, 0.818]), ("Cd", [0.25, 0.5, 0.323])],
    ),
    "Ga A11": ("Cmce", Lattice.orthorhombic(4.5192, 7.6586, 4.5258), [("Ga", [0, 0.1539, 0.081])]),
    # monoclinic
    "CuO B26": (
        "C2/c",
        Lattice.monoclinic(4.6837, 3.4226, 5.1288, 99.54),
        [("Cu", [0.25, 0.25, 0]), ("O", [0, 0.4184, 0.25])],
    ),
    "ZrO2 C43": (
        "P2_1/c",
        Lattice.monoclinic(5.1505, 5.2116, 5.3173, 99.23),
        [("Zr", [0.2754, 0.0395, 0.2083]), ("O", [0.07, 0.3317, 0.3447]), ("O", [0.4496, 0.7569, 0.4792])],
    ),
    # triclinic
    "P2I4": (
        "P-1",
        Lattice.from_parameters(4.56, 7.06, 7.40, 80.2, 106.967, 98.2),
        [("I", [0.557, 0.73, 0.165]), ("I", [0.82, 0.803, 0.695]), ("P", [0.397, 0.639, 0.463])],
    ),
}


def compounds() -> dict[str, Structure]:
    """Return the conventional cells by name."""
    return {
        name: Structure.from_spacegroup(group, lattice, [s for s, _ in sites], [x for _, x in sites])
        for name, (group, lattice, sites) in CRYSTALS.items()
    }
