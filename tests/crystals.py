"""Crystals that tests cut slabs of."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure


def mg3sb2(z_mg: float = 0.634) -> Structure:
    return Structure.from_spacegroup(
        "P-3m1",
        Lattice.hexagonal(4.568, 7.229),
        ["Mg", "Mg", "Sb"],
        [[0, 0, 0], [1 / 3, 2 / 3, z_mg], [1 / 3, 2 / 3, 0.2287]],
    )


CRYSTALS = {
    "MgAg": Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.314), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3]),
    "MgZn2": Structure.from_spacegroup(
        "P6_3/mmc",
        Lattice.hexagonal(5.22, 8.57),
        ["Mg", "Zn", "Zn"],
        [[1 / 3, 2 / 3, 0.062], [0, 0, 0], [0.830, 0.660, 0.25]],
    ),
    "Mg2Ni": Structure.from_spacegroup(
        "P6_222",
        Lattice.hexagonal(5.216, 13.20),
        ["Mg", "Mg", "Ni", "Ni"],
        [[0.5, 0, 0.1187], [0.1635, 0.327, 0], [0, 0, 0.5], [0.5, 0, 0.5]],
    ),
    "Mg3Sb2": mg3sb2(),
    "Mg": Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]]
    ),
    "Ag": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.086), ["Ag"], [[0, 0, 0]]),
}
