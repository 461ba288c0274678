"""Elemental ground states, the zeros of the chemical potentials, and crystals from Wyckoff positions.

The structure of each element is the one it has at 0 K, or, where that is a matter of tenths of a meV
and hard to compute, the usual stand-in; every such choice is a comment in the table. Lattice parameters are
measured ones: J. Donohue, The Structures of the Elements (Wiley, 1974); W. B. Pearson, A Handbook of
Lattice Spacings and Structures of Metals and Alloys (Pergamon, 1958 and 1967); internal parameters from
the same and from R. W. G. Wyckoff, Crystal Structures (Interscience, 1963). They start a relaxation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stores.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core.structure import Structure


_N_HALL = 530
_SAME_POSITION = 1e-4  # fractional coordinates closer than this are the same position
# of two origins the one on an inversion centre, of two rhombohedral settings the hexagonal one, b unique
_PREFERRED_CHOICES = ("", "2", "H", "b", "b1")


@lru_cache(maxsize=64)
def _standard_setting(spacegroup_number: int) -> int:
    """Return the Hall number of the International Tables' standard setting."""
    import spglib

    groups = {hall: spglib.get_spacegroup_type(hall) for hall in range(1, _N_HALL + 1)}
    halls = {g.choice: hall for hall, g in groups.items() if g is not None and g.number == spacegroup_number}
    return next(halls[choice] for choice in _PREFERRED_CHOICES if choice in halls)


def orbit(spacegroup_number: int, position: Sequence[float]) -> NDArray[Any]:
    """Return every position equivalent to one, in the International Tables' standard setting.

    Fractional coordinates in [0, 1), shape (multiplicity, 3); origin choice 2, hexagonal axes and unique axis
    b where there is a choice.
    """
    return _orbit(spacegroup_number, tuple(float(x) for x in position)).copy()


@lru_cache(maxsize=256)
def _orbit(spacegroup_number: int, position: tuple[float, ...]) -> NDArray[Any]:
    from workflows.structures.space_group import operations

    rotations, translations = operations(_standard_setting(spacegroup_number))
    images = (rotations @ np.array(position) + translations) % 1.0
    offsets = images[:, None] - images[None]
    same = np.all(np.abs(offsets - np.round(offsets)) < _SAME_POSITION, axis=2)
    return np.asarray(images[np.unique(same.argmax(axis=1))])  # the first image of each position


def crystal(
    spacegroup_number: int,
    lattice_parameters: tuple[float, float, float],
    sites: Sequence[tuple[str, Sequence[float]]],
) -> Structure:
    """Build the conventional cell of an orthorhombic, tetragonal, hexagonal or cubic crystal.

    Trigonal groups are on hexagonal axes. Of a, b, c (A) b is ignored from tetragonal upwards, c in cubic
    groups. `sites` has element and fractional coordinates of one atom of each orbit.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure as PymatgenStructure

    a, b, c = lattice_parameters
    if spacegroup_number >= 195:
        lattice = Lattice.cubic(a)
    elif spacegroup_number >= 143:
        lattice = Lattice.hexagonal(a, c)
    elif spacegroup_number >= 75:
        lattice = Lattice.tetragonal(a, c)
    elif spacegroup_number >= 16:
        lattice = Lattice.orthorhombic(a, b, c)
    else:
        raise ValueError(
            f"space group {spacegroup_number} is monoclinic or triclinic: give a full cell instead"
        )
    species: list[str] = []
    positions: list[NDArray[Any]] = []
    for element, position in sites:
        images = orbit(spacegroup_number, position)
        species += [element] * len(images)
        positions.extend(images)
    return PymatgenStructure(lattice, species, positions)


_Orbits = tuple[tuple[float, float, float], ...]

# Space group and one atom of each orbit; axial ratios come with the lattice parameters below.
_STRUCTURE_TYPES: dict[str, tuple[int, _Orbits]] = {
    "A1": (225, ((0, 0, 0),)),  # fcc
    "A2": (229, ((0, 0, 0),)),  # bcc
    "A3": (194, ((1 / 3, 2 / 3, 1 / 4),)),  # hcp
    "A3'": (194, ((0, 0, 0), (1 / 3, 2 / 3, 1 / 4))),  # double hcp, alpha-La
    "A4": (227, ((1 / 8, 1 / 8, 1 / 8),)),  # diamond
    "A6": (139, ((0, 0, 0),)),  # In
    "A9": (194, ((0, 0, 1 / 4), (1 / 3, 2 / 3, 1 / 4))),  # graphite
    "A_a": (139, ((0, 0, 0),)),  # alpha-Pa: as A6, with c/a < 1
    "A_h": (221, ((0, 0, 0),)),  # alpha-Po, simple cubic
    "A10": (166, ((0, 0, 0),)),  # alpha-Hg
    "C19": (166, ((0, 0, 0), (0, 0, 0.2222))),  # alpha-Sm
    # free parameters of the one element that has the type
    "A11": (64, ((0, 0.1539, 0.0810),)),  # alpha-Ga
    "A12": (217, ((0, 0, 0), (0.3170, 0.3170, 0.3170), (0.3570, 0.3570, 0.0346), (0.0896, 0.0896, 0.2820))),
    "A17": (64, ((0, 0.10168, 0.08056),)),  # black P
    "A20": (63, ((0, 0.1025, 1 / 4),)),  # alpha-U
    "B12": (166, ((0.1177, -0.1177, -0.1073), (0.1961, -0.1961, 0.0245))),  # alpha-B
}
# the free parameter of A7 and A8 differs from element to element
_A7_Z = {"As": 0.2271, "Sb": 0.2335, "Bi": 0.2339}
_A8_X = {"Se": 0.2254, "Te": 0.2636}

# Element: structure type and a, b, c (A) of the conventional cell (hexagonal axes where rhombohedral).
_MEASURED: dict[str, tuple[str, tuple[float, ...]]] = {
    # bcc stands for the close-packed low-temperature phases (fcc, 9R), which lie within a few meV
    "Li": ("A2", (3.5093,)),
    "Be": ("A3", (2.2857, 3.5839)),
    # alpha-B12; beta-rhombohedral boron has the same energy within a few meV and partial occupancies
    "B": ("B12", (4.908, 12.567)),
    "C": ("A9", (2.464, 6.711)),  # graphite; PBE hardly binds its layers, so expect c to grow on relaxing
    "Na": ("A2", (4.2906,)),  # bcc stands for the low-temperature 9R phase, which lies within a few meV
    "Mg": ("A3", (3.2094, 5.2107)),
    "Al": ("A1", (4.0496,)),
    "Si": ("A4", (5.4310,)),
    "P": ("A17", (3.3136, 10.478, 4.3763)),  # black phosphorus; PBE overestimates the distance of its layers
    "K": ("A2", (5.321,)),
    "Ca": ("A1", (5.5884,)),
    "Sc": ("A3", (3.3088, 5.2680)),
    "Ti": ("A3", (2.9503, 4.6836)),
    "V": ("A2", (3.0240,)),
    # bcc; the antiferromagnetic order appears only if the engine starts with moments
    "Cr": ("A2", (2.8847,)),
    # alpha-Mn without its non-collinear antiferromagnetic order, unless the engine starts with moments
    "Mn": ("A12", (8.9125,)),
    "Fe": ("A2", (2.8665,)),  # bcc, ferromagnetic: the engine must start with moments
    "Co": ("A3", (2.5071, 4.0694)),  # hcp, ferromagnetic: the engine must start with moments
    "Ni": ("A1", (3.5241,)),  # fcc, ferromagnetic: the engine must start with moments
    "Cu": ("A1", (3.6148,)),
    "Zn": ("A3", (2.6650, 4.9470)),
    "Ga": ("A11", (4.5192, 7.6586, 4.5258)),
    "Ge": ("A4", (5.6574,)),
    "As": ("A7", (3.7598, 10.5475)),
    "Se": ("A8", (4.3662, 4.9536)),  # trigonal Se; PBE underestimates the distance of its chains
    "Rb": ("A2", (5.703,)),
    "Sr": ("A1", (6.084,)),
    "Y": ("A3", (3.6482, 5.7318)),
    "Zr": ("A3", (3.2316, 5.1475)),
    "Nb": ("A2", (3.3007,)),
    "Mo": ("A2", (3.1470,)),
    "Tc": ("A3", (2.738, 4.394)),
    "Ru": ("A3", (2.7058, 4.2816)),
    "Rh": ("A1", (3.8032,)),
    "Pd": ("A1", (3.8903,)),
    "Ag": ("A1", (4.0861,)),
    "Cd": ("A3", (2.9793, 5.6196)),
    "In": ("A6", (3.2530, 4.9470)),
    "Sn": ("A4", (6.4892,)),  # alpha-Sn (diamond), the stable form below 286 K
    "Sb": ("A7", (4.3084, 11.274)),
    "Te": ("A8", (4.4566, 5.9264)),
    "Cs": ("A2", (6.141,)),
    "Ba": ("A2", (5.0227,)),
    "La": ("A3'", (3.7740, 12.171)),
    "Ce": ("A1", (4.85,)),  # alpha-Ce, the collapsed fcc phase below 100 K
    "Pr": ("A3'", (3.6721, 11.8326)),
    "Nd": ("A3'", (3.6582, 11.7966)),
    "Pm": ("A3'", (3.65, 11.65)),
    "Sm": ("C19", (3.6290, 26.207)),
    "Eu": ("A2", (4.5827,)),
    "Gd": ("A3", (3.6336, 5.7810)),
    "Tb": ("A3", (3.6055, 5.6966)),
    "Dy": ("A3", (3.5915, 5.6501)),
    "Ho": ("A3", (3.5778, 5.6178)),
    "Er": ("A3", (3.5592, 5.5850)),
    "Tm": ("A3", (3.5375, 5.5540)),
    "Yb": ("A1", (5.4848,)),
    "Lu": ("A3", (3.5052, 5.5494)),
    "Hf": ("A3", (3.1946, 5.0511)),
    "Ta": ("A2", (3.3030,)),
    "W": ("A2", (3.1652,)),
    "Re": ("A3", (2.7609, 4.4580)),
    "Os": ("A3", (2.7348, 4.3193)),
    "Ir": ("A1", (3.8391,)),
    "Pt": ("A1", (3.9236,)),
    "Au": ("A1", (4.0782,)),
    "Hg": ("A10", (3.470, 6.719)),  # rhombohedral alpha-Hg; PBE hardly binds it
    "Tl": ("A3", (3.4563, 5.5263)),
    "Pb": ("A1", (4.9502,)),
    "Bi": ("A7", (4.5460, 11.862)),
    "Po": ("A_h", (3.359,)),
    "Ra": ("A2", (5.148,)),
    "Ac": ("A1", (5.311,)),
    "Th": ("A1", (5.0843,)),
    "Pa": ("A_a", (3.925, 3.238)),
    "U": ("A20", (2.8537, 5.8695, 4.9548)),
}


_MOLECULAR = {"H", "N", "O", "F", "S", "Cl", "Br", "I"}
_NOBLE_GASES = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}


def elements_with_ground_state() -> tuple[str, ...]:
    """Return the symbols of all elements for which `ground_state` builds a structure."""
    return tuple(_MEASURED)


def ground_state_prototype(element: str) -> str:
    """Return the Strukturbericht symbol of an element's ground state, e.g. ``A3`` for Mg.

    ``A3'`` is double hcp, ``C19`` alpha-Sm, ``B12`` alpha-boron (neither of the last two has an A symbol).

    Raises
    ------
    InputError
        If the element has no reference here (molecular, noble gas, or a structure not kept), or the
        symbol is no element.
    """
    if element in _MEASURED:
        return _MEASURED[element][0]
    if element in _MOLECULAR:
        why = "its solid is made of molecules; the chemical potential at its end of the window stays unknown"
    elif element in _NOBLE_GASES:
        why = "a noble gas forms no intermetallics"
    else:
        from pymatgen.core.periodic_table import Element

        if not Element.is_valid_symbol(element):
            raise InputError(f"{element!r} is no element symbol: write it like Mg or Ag")
        why = "its crystal structure is not among those kept; elements kept: see elements_with_ground_state()"
    raise InputError(f"no elemental reference for {element}: {why}")


def ground_state(element: str) -> Structure:
    """Build an element's ground state with measured lattice parameters.

    Returns
    -------
    Structure
        Conventional cell (A; hexagonal axes where rhombohedral).
    """
    prototype, parameters = ground_state_prototype(element), _MEASURED[element][1]
    if prototype == "A7":
        number, orbits = 166, ((0.0, 0.0, _A7_Z[element]),)
    elif prototype == "A8":
        number, orbits = 152, ((_A8_X[element], 0.0, 1 / 3),)
    else:
        number, orbits = _STRUCTURE_TYPES[prototype]  # type: ignore[assignment]
    a, c = parameters[0], parameters[-1]
    b = parameters[1] if len(parameters) == 3 else a
    return crystal(number, (a, b, c), [(element, position) for position in orbits])
