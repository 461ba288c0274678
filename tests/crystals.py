"""Crystals of tests, and the same crystals in other settings."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from workflows.structures.crystal import crystal_of
from workflows.structures.elements import crystal


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

LOW_SYMMETRY = {
    "triclinic": Structure(
        Lattice.from_parameters(4.1, 5.3, 6.2, 82.0, 77.0, 69.0),
        ["Mg", "Mg", "Ag"],
        [[0, 0, 0], [0.31, 0.42, 0.57], [0.66, 0.13, 0.21]],
    ),
    "monoclinic": Structure(
        Lattice.monoclinic(5.1, 6.3, 4.4, 101.0),
        ["Mg", "Mg", "Ag", "Ag"],
        [[0.1, 0.2, 0.3], [0.9, 0.7, 0.7], [0.4, 0.05, 0.8], [0.6, 0.55, 0.2]],
    ),
    "orthorhombic": crystal(62, (7.1, 4.4, 8.3), [("Mg", (0.02, 0.25, 0.67)), ("Ag", (0.21, 0.25, 0.1))]),
}


@st.composite
def cells(draw):
    """A small supercell or another choice of cell, of either handedness."""
    matrix = np.array(draw(st.lists(st.integers(-1, 1), min_size=9, max_size=9))).reshape(3, 3)
    matrix = matrix + np.diag(draw(st.tuples(*[st.integers(0, 1)] * 3)))
    return matrix if 0 < abs(round(np.linalg.det(matrix))) <= 3 else np.eye(3, dtype=int)


def in_another_setting(
    structure: Structure, matrix, seed: int, noise: float = 0.0, scale: float = 1.0, primitive: bool = False
) -> Structure:
    """The crystal in a supercell, turned or mirrored, shifted, shuffled, scaled, with noise (A)."""
    rng = np.random.default_rng(seed)
    other = crystal_of(structure).primitive_structure if primitive else structure.copy()
    other.make_supercell(matrix, to_unit_cell=True)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # proper or improper: mirror images merge
    other.apply_operation(SymmOp.from_rotation_and_translation(rotation, [0, 0, 0]))
    other.translate_sites(range(len(other)), rng.random(3), frac_coords=True)
    strain = scale * (np.eye(3) + noise / 10 * rng.uniform(-1, 1, (3, 3)))
    shaken = (other.cart_coords + noise * rng.uniform(-1, 1, (len(other), 3))) @ strain
    order = rng.permutation(len(other))
    return Structure(
        Lattice(other.lattice.matrix @ strain),
        [other[i].specie for i in order],
        shaken[order],
        coords_are_cartesian=True,
        to_unit_cell=True,
    )
